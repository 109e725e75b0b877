"""What words are worth: read once for each state of an index, and the sum of all words is what FTS5 says of them."""

from __future__ import annotations

import numpy as np
import pytest

from mose.search.ranking import word_scores
from mose.search.ranking.candidates import best_by_words
from mose.search.ranking.word_scores import WordScores

WEIGHTS = (1.0, 2.0, 2.0)


class CountingStore:
    """A store that notes the words that are read of it."""

    def __init__(self, store):
        self.store = store
        self.read: list[str] = []
        self.counted: list[str] = []

    def lexical(self, match, weights):
        self.read.append(match)
        return self.store.lexical(match, weights)

    def document_frequencies(self, words):
        self.counted += words
        return self.store.document_frequencies(words)


@pytest.mark.parametrize("words", [("date", "dates", "proxy"), ("return",), ("nowhere", "iso"), ('a"b',), ()])
def test_sums_are_what_the_database_says_of_all_words_together(store, words):
    table = store.chunk_table()
    expected = np.zeros(len(table))
    if words:
        ids, scores = store.lexical(" OR ".join('"' + word.replace('"', '""') + '"' for word in words), WEIGHTS)
        expected[table.rows_of(ids)] = scores
    assert WordScores(table).sums(store, words, WEIGHTS).tolist() == expected.tolist()


def test_each_word_is_read_once(store):
    counting = CountingStore(store)
    scores = WordScores(store.chunk_table())
    first = scores.sums(counting, ["date", "proxy"], WEIGHTS)
    assert scores.counts(counting, ["date", "nowhere"]) == store.document_frequencies(["date", "nowhere"])
    assert scores.sums(counting, ["date", "iso", "proxy"], WEIGHTS).sum() > first.sum()
    assert scores.counts(counting, ["iso", "date"]) == store.document_frequencies(["iso", "date"])
    assert counting.read == ['"date"', '"proxy"', '"iso"']
    assert counting.counted == ["date", "nowhere", "iso"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_the_best_by_words_are_those_of_a_whole_sort_and_ties_go_to_the_first(count):
    scores = np.array([0.0, 2.0, 5.0, 2.0, 0.0, 2.0, 1.0])
    assert best_by_words(scores, count, None).tolist() == [2, 1, 3, 5, 6][:count]
    assert best_by_words(scores, count, np.array([1, 0, 0, 1, 1, 1, 1], dtype=np.bool_)).tolist() == [3, 5, 6][:count]


def test_weights_of_the_columns_are_kept_apart(store):
    scores = WordScores(store.chunk_table())
    assert (scores.sums(store, ["date"], WEIGHTS) != scores.sums(store, ["date"], (1.0, 1.0, 1.0))).any()


def test_what_is_kept_has_a_bound(store, monkeypatch):
    monkeypatch.setattr(word_scores, "MAX_KEPT", 100)
    counting = CountingStore(store)
    scores = WordScores(store.chunk_table())
    for _ in range(2):
        for word in ("date", "proxy", "iso", "return", "text", "open", "value"):
            scores.sums(counting, [word], WEIGHTS)
            assert sum(16 + len(rows) for rows, _ in scores._scores.values()) <= 100
    assert len(counting.read) == 14


def test_words_that_occur_nowhere_take_no_memory_for_scores(store):
    scores = WordScores(store.chunk_table())
    assert not scores.sums(store, ["nowhere", "neither"], WEIGHTS).any()
    assert scores._scores == {}
