"""Equal rows of a table whose columns are hashes or numbers: found by sorting, without a set of all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def first_of_equal(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """For each row, the number of the first row that has the same values.

    Args:
        columns: One or more of equal length.

    Example:
        >>> first_of_equal(np.array([7, 8, 7, 7]), np.array([1, 1, 1, 2])).tolist()
        [0, 1, 0, 3]
    """
    order = np.lexsort(columns)  # stable: of equal rows the first one comes first
    is_first = np.zeros(len(order), bool)
    is_first[:1] = True
    for column in columns:
        is_first[1:] |= column[order[1:]] != column[order[:-1]]
    first = np.zeros(len(order), np.int64)
    first[order] = order[is_first][np.cumsum(is_first) - 1]
    return first
