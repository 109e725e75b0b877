"""BM25 over words with identifiers split: the floor that an embedding has to rise above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.systems.foreign import missing
from mose.evaluate.systems.protocol import Card
from mose.evaluate.tasks.values import Texts
from mose.words import identifiers, parts

# English function words, and the words with which people address a search engine. Closed classes only.
_STOP_WORDS = """
a an and any are as at be been by can could do does each every for from had has have how i if in into is it
its may me my of on or our should so such than that the their then there these they this those to was we were
what when where which while who whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bm25:
    """BM25 (Lucene's form) by the package bm25s. The defaults were chosen on validation splits."""

    k1: float = 1.6
    """Saturation of repeated words."""
    b: float = 1.0
    """Share of the length normalisation."""
    stemmed: bool = True
    """Words without their endings (Snowball, English)."""
    whole_names: bool = True
    """Identifiers of several words, whole, too, besides their words."""
    each_once: bool = True
    """A word of the query counts once, however often it stands there."""
    stop_words: frozenset[str] = STOP_WORDS
    """Left out of queries that are sentences."""

    @property
    def card(self) -> Card:
        """What to know of it."""
        return Card(
            name="bm25",
            source="bm25s (MIT), Lucene's BM25 (Kamphuis et al., 2020)",
            prompt="identifiers split, and whole; English stems; stop words removed from sentence queries",
            runtime=f"bm25s on one thread, k1 {self.k1:g}, b {self.b:g}",
            training="none; settings chosen on validation splits",
        )

    def index(self, corpus: Texts) -> Bm25Index:
        """The corpus of a task, indexed."""
        return Bm25Index(self, corpus.texts)

    def words(self, text: str, *, sentence: bool = False) -> list[str]:
        """Words of a text; of a sentence without its stop words, unless nothing else is in it.

        Example:
            >>> Bm25(stemmed=False).words("how does parseDate read dates", sentence=True)
            ['parse', 'date', 'parsedate', 'read', 'dates']
        """
        words: list[str] = []
        for identifier in identifiers(text):
            own = parts(identifier)
            if sentence and len(own) == 1 and own[0] in self.stop_words:
                continue
            words.extend(_stemmer().stemWords(own) if self.stemmed else own)
            if self.whole_names and len(own) > 1:
                words.append(identifier.lower())
        return words if words or not sentence else self.words(text)


class Bm25Index:
    """Texts, ready to be scored."""

    def __init__(self, settings: Bm25, texts: Sequence[str]) -> None:
        import bm25s

        self._settings = settings
        self._index = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene")
        self._index.index([settings.words(text) for text in texts], show_progress=False)
        self._num_texts = len(texts)

    @property
    def size_bytes(self) -> int:
        """Of the score matrix and the vocabulary's words."""
        arrays = (self._index.scores[name] for name in ("data", "indices", "indptr"))
        return sum(int(array.nbytes) for array in arrays) + sum(len(word) for word in self._index.vocab_dict)

    def scores(self, query: str, language: str) -> NDArray[np.float32]:
        """float32 [C]; zeros where no word is shared."""
        words = self._settings.words(query, sentence=language == "text")
        if self._settings.each_once:
            words = sorted(set(words))
        known = [word for word in words if word in self._index.vocab_dict]
        if not known:
            return np.zeros(self._num_texts, dtype=np.float32)
        scores: NDArray[np.float32] = self._index.get_scores(known)
        return scores


def require() -> None:
    """Nothing if bm25s and its stemmer are installed.

    Raises:
        MissingExtraError: One is not.
    """
    for package, distribution in (("bm25s", "bm25s"), ("Stemmer", "PyStemmer")):
        if find_spec(package) is None:
            raise missing(distribution)


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")
