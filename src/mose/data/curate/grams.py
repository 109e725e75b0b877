"""Texts as sets of hashed runs of five characters, of few in memory and of many on the disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mose.data.near_copies import hash_runs
from mose.data.tables.disk_items import DiskItems
from mose.storage import home

Grams: TypeAlias = NDArray[np.uint32]
"""Distinct hashes of a text's runs of five characters, ascending."""


def grams(text: str) -> Grams:
    """Hashes of all runs of five characters, white space folded; of the whole text if it is shorter.

    Example:
        >>> len(grams("a  = b + c")), len(grams("abc"))
        (5, 1)
    """
    letters = np.frombuffer(" ".join(text.split()).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return np.unique((hash_runs(letters) >> np.uint64(32)).astype(np.uint32))


def jaccard(first: Grams, second: Grams) -> float:
    """Shared share of two sets, 0 to 1."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


class GramTable:
    """Grams of many texts, on the disk; where each begins is in memory (8 bytes a text).

    Args:
        texts: Taken one by one, as ``grams`` gives them.

    Raises:
        OutputError: The disk is full, or cannot be written.
    """

    def __init__(self, texts: Iterable[Grams]) -> None:
        self._items = DiskItems((text.tobytes() for text in texts), home())

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Grams]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Grams:
        return np.frombuffer(self._items[number], np.uint32)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of grams of each text."""
        return np.diff(self._items.ends) // np.dtype(np.uint32).itemsize

    def batches(self, *, max_texts: int, max_grams: int) -> Iterator[tuple[Grams, NDArray[np.int64]]]:
        """Grams of texts in a row, and where each begins and the last one ends; one text at least."""
        ends = np.r_[0, np.cumsum(self.sizes)]
        first = 0
        while first < len(self):
            end = int(np.searchsorted(ends, ends[first] + max_grams, side="right")) - 1
            end = max(first + 1, min(end, first + max_texts))
            yield np.frombuffer(self._items.span(first, end), np.uint32), ends[first : end + 1] - ends[first]
            first = end
