"""An order that puts similar rows next to each other, so that a batch holds hard negatives at no cost.

Random rows are easily distinguished after a few thousand pairs. Here a source is read in small groups of rows with
similar vectors; the order of groups is random.
Shapes: U rows, D width of the vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_POOL = 4096
"""Rows among which neighbours are searched: few enough for the matrix of their products."""


def neighbour_order(vectors_UD: NDArray[np.floating[Any]], *, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A permutation of the rows in groups of ``size`` similar rows, different for each state of ``rng``.

    Rows are split into pools at random. In a pool, a random row is grouped with the most similar rows among those
    left, and so on; the last groups of a pool are no more similar than random rows.

    Args:
        vectors_UD: One unit vector for each row.
        size: Rows of a group.
        rng: Shuffles rows and groups.

    Returns:
        Row numbers, each once.

    Example:
        >>> vectors = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0], [1.0, 0.1]])
        >>> order = neighbour_order(vectors, size=2, rng=np.random.default_rng(0))
        >>> sorted(sorted(pair) for pair in order.reshape(2, 2).tolist())
        [[0, 2], [1, 3]]
    """
    groups: list[NDArray[np.int64]] = []
    shuffled = rng.permutation(len(vectors_UD))
    for start in range(0, len(shuffled), _POOL):
        pool = shuffled[start : start + _POOL]
        cosines = vectors_UD[pool] @ vectors_UD[pool].T
        np.fill_diagonal(cosines, np.inf)
        left = np.arange(len(pool))
        while len(left):
            nearest = np.argsort(-cosines[left[0], left], kind="stable")[:size]
            groups.append(pool[left[nearest]])
            left = np.delete(left, nearest)
    order = [groups[number] for number in rng.permutation(len(groups))]
    return np.concatenate(order) if order else shuffled
