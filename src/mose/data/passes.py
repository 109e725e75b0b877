"""Endless passes over rows: all of them in a new random order for each pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mose.errors import DataError


class Passes:
    """The rows of an endless sequence of passes, by position.

    Args:
        num_rows: Rows of a pass.
        seed: Fixes the order of each pass.

    Example:
        >>> passes = Passes(3, seed=0)
        >>> sorted(passes.row(position) for position in range(3, 6))
        [0, 1, 2]
    """

    def __init__(self, num_rows: int, *, seed: int) -> None:
        self._num_rows, self._seed = num_rows, seed
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def row(self, position: int) -> int:
        """The row at a position, from 0."""
        number, within = divmod(position, self._num_rows)
        if self._order[0] != number:
            self._order = (number, np.random.default_rng([self._seed, 2, number]).permutation(self._num_rows))
        return int(self._order[1][within])


def changed_data(what: str, got: object, stored: str) -> DataError:
    """The error for a stored position in data that has changed since."""
    remedy = "Restore the old files, or start a new run from the checkpoint's model folder."
    return DataError(f"the {what} has changed since the checkpoint", got=got, allowed=stored, remedy=remedy)
