"""Near copies: codes that share most of their shingles of five words.

A text is its set of hashed shingles. Its sixteen smallest hashes are kept in a posting table (the bottom-k sketch of
Broder, "On the resemblance and containment of documents", 1997); texts that share a hash are compared exactly.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Shingles: TypeAlias = NDArray[np.uint64]
"""Distinct hashes of a text's shingles, ascending."""

_WORD = re.compile(r"\w+")
_LENGTH = 5
_SKETCH = 16
_MOST_POSTINGS = 100
_MOST_CANDIDATES = 50
_MIN_CONTAINED = 12
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def shingles(text: str) -> Shingles:
    """Hashes of all runs of five words, ignoring case and punctuation; of the whole text if it is shorter.

    Example:
        >>> len(shingles("a b c d e f")), len(shingles("a b"))
        (2, 1)
    """
    words = np.array([crc32(word.encode("utf8", "replace")) for word in _WORD.findall(text.lower())], dtype=np.uint64)
    return np.unique(hash_runs(words))


def hash_runs(items: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash of each run of five items; of all items if they are fewer.

    Example:
        >>> len(hash_runs(np.arange(7, dtype=np.uint64))), len(hash_runs(np.arange(2, dtype=np.uint64)))
        (3, 1)
    """
    num_runs = max(1, len(items) - _LENGTH + 1)
    hashes = np.zeros(num_runs, dtype=np.uint64)
    for offset in range(min(_LENGTH, len(items))):
        hashes = (hashes ^ items[offset : offset + num_runs]) * _FACTOR
        hashes ^= hashes >> np.uint64(29)
    return hashes


class NearCopies:
    """Texts to compare with.

    Args:
        threshold: Similarity from which two texts are near copies, 0 to 1.
        contained: Compare the shared part with the smaller text (so that a copy inside a longer text is found),
            not with both together (Jaccard).
        sketch: Of longer texts only so many of the smallest hashes are given, which bounds the memory of each; their
            similarity is then estimated. 0: texts are given whole.
    """

    def __init__(self, threshold: float, *, contained: bool = False, sketch: int = 0) -> None:
        self.threshold = threshold
        self.contained = contained
        self._sketch = sketch
        self._texts: list[Shingles] = []
        self._postings: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: Shingles) -> None:
        """Add a text."""
        number = len(self._texts)
        self._texts.append(text)
        for value in text[:_SKETCH].tolist():
            numbers = self._postings.setdefault(value, [])
            if len(numbers) < _MOST_POSTINGS:
                numbers.append(number)

    def has_near(self, text: Shingles) -> bool:
        """True if one of the texts is a near copy."""
        shared: Counter[int] = Counter()
        for value in text[:_SKETCH].tolist():
            shared.update(self._postings.get(value, ()))
        return any(self._is_near(text, self._texts[number]) for number, _ in shared.most_common(_MOST_CANDIDATES))

    def _is_near(self, text: Shingles, other: Shingles) -> bool:
        # Of a longer text, hashes above its last one are not known: both are compared up to there.
        if edges := [one[-1] for one in (text, other) if len(one) == self._sketch > 0]:
            text, other = (one[: np.searchsorted(one, min(edges), side="right")] for one in (text, other))
        common = len(np.intersect1d(text, other, assume_unique=True))
        smaller = min(len(text), len(other))
        union = len(text) + len(other) - common
        if self.contained and smaller >= _MIN_CONTAINED and common >= self.threshold * smaller:
            return True
        return common >= self.threshold * union
