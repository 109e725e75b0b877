"""BM25 of single words over the chunks of an index, read once and kept: a search adds up those of its words.

Shapes: N chunks, K chunks that hold a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mose.search.store.reader import Reader
from mose.search.store.records import ChunkTable

MAX_KEPT = 2_000_000
"""Occurrences that are kept, of all words together; 12 bytes each."""
_WORD_SIZE = 16
"""What a word itself takes, in occurrences."""

Doubles = NDArray[np.float64]
ColumnWeights = tuple[float, float, float]


class WordScores:
    """What the words of one state of an index are worth; several threads may ask at once."""

    def __init__(self, table: ChunkTable) -> None:
        self._table = table
        self._lock = Lock()
        self._counts: dict[str, int] = {}
        self._scores: dict[tuple[str, ColumnWeights], tuple[NDArray[np.int32], Doubles]] = {}
        self._num_kept = 0

    def counts(self, store: Reader, words: Sequence[str]) -> dict[str, int]:
        """How many chunks hold each word; see `Reader.document_frequencies`."""
        known = {word: self._counts[word] for word in words if word in self._counts}
        missing = [word for word in words if word not in known]
        if missing:
            fresh = store.document_frequencies(missing)
            with self._lock:
                self._make_room(_WORD_SIZE * len(fresh))
                self._counts.update(fresh)
            known.update(fresh)
        return known

    def sums(self, store: Reader, words: Sequence[str], weights: ColumnWeights) -> Doubles:
        """BM25 of every chunk [N] for all words together, 0 where none occurs.

        Args:
            store: A connection to the index.
            words: Each for itself; what they are worth is added up in this order.
            weights: Of body, symbol and path.
        """
        sums = np.zeros(len(self._table), dtype=np.float64)
        for word in words:
            rows, scores = self._scores.get((word, weights)) or self._read(store, word, weights)
            sums[rows] += scores
        return sums

    def _read(self, store: Reader, word: str, weights: ColumnWeights) -> tuple[NDArray[np.int32], Doubles]:
        quoted = '"' + word.replace('"', '""') + '"'
        ids, scores = store.lexical(quoted, weights)
        rows = self._table.rows_of(ids)
        known = rows >= 0
        found = rows[known].astype(np.int32), scores[known]
        if len(ids):  # else it is found as quickly again, and of such words there is no end
            with self._lock:
                self._make_room(_WORD_SIZE + len(ids))
                self._scores[word, weights] = found
        return found

    def _make_room(self, size: int) -> None:
        self._num_kept += size
        if self._num_kept > MAX_KEPT:
            self._counts, self._scores, self._num_kept = {}, {}, size
