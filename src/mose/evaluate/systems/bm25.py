"""BM25 over words with identifiers split: the baseline that an embedding has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.systems.foreign import missing
from mose.evaluate.systems.protocol import Card
from mose.evaluate.tasks.values import Texts
from mose.words import STOP_WORDS, identifiers, parts

# Chosen on validation splits.
K1 = 1.6
"""Saturation of repeated words."""
B = 1.0
"""Share of the length normalisation."""


class Bm25:
    """BM25 (Lucene's form) by the package bm25s."""

    card = Card(
        name="bm25",
        source="bm25s (MIT), Lucene's BM25 (Kamphuis et al., 2020)",
        prompt="identifiers split, and whole; English stems; stop words removed from sentence queries",
        runtime=f"bm25s on one thread, k1 {K1:g}, b {B:g}",
        training="none; settings chosen on validation splits",
    )

    def index(self, corpus: Texts) -> Bm25Index:
        """The corpus of a task, indexed."""
        return Bm25Index(corpus.texts)


class Bm25Index:
    """Texts, ready to be scored."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self._index = bm25s.BM25(k1=K1, b=B, method="lucene")
        words = [stems(text) for text in texts]
        # The package does not take texts without any word; no query has the empty one.
        self._index.index(words if any(words) else [[""] for _ in words], show_progress=False)
        self._num_texts = len(texts)

    @property
    def size_bytes(self) -> int:
        """Of the score matrix and the vocabulary's words."""
        arrays = (self._index.scores[name] for name in ("data", "indices", "indptr"))
        return sum(int(array.nbytes) for array in arrays) + sum(len(word) for word in self._index.vocab_dict)

    def scores(self, query: str, language: str) -> NDArray[np.float32]:
        """float32 [C]; zeros where no word is shared. A word of the query counts once, however often it occurs."""
        words = stems(query, is_sentence=language == "text")
        known = [word for word in sorted(set(words)) if word in self._index.vocab_dict]
        if not known:
            return np.zeros(self._num_texts, dtype=np.float32)
        scores: NDArray[np.float32] = self._index.get_scores(known)
        return scores


def stems(text: str, *, is_sentence: bool = False) -> list[str]:
    """Stems (Snowball, English) of a text's words, and its identifiers of several words whole.

    A sentence loses its stop words, unless it has no others.

    Example:
        >>> stems("how does parseDate read dates", is_sentence=True)
        ['pars', 'date', 'parsedate', 'read', 'date']
    """
    words: list[str] = []
    for identifier in identifiers(text):
        own = parts(identifier)
        if is_sentence and len(own) == 1 and own[0] in STOP_WORDS:
            continue
        words.extend(_stemmer().stemWords(own))
        if len(own) > 1:
            words.append(identifier.lower())
    return words if words or not is_sentence else stems(text)


def require_bm25() -> None:
    """Raise `MissingExtraError` unless bm25s and its stemmer are installed."""
    for package, distribution in (("bm25s", "bm25s"), ("Stemmer", "PyStemmer")):
        if find_spec(package) is None:
            raise missing(distribution)


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")
