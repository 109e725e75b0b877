"""An endless walk over rows: all of them in a new random order for each pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Passes:
    """The rows of an endless sequence of passes, by position.

    Args:
        num_rows: Rows of a pass.
        seed: Decides the order of each pass.

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
