"""An answer for a budget: the chunks that cover most files and definitions within so many tokens."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Sequence

CHARS_PER_TOKEN = 4
REPEATED = 0.9
"""What a further chunk of a file counts, compared with one more before: first the breadth, then the depth."""


def cover(scores: Sequence[float], files: Sequence[Hashable], sizes: Sequence[int], max_size: int) -> list[int]:
    """Positions of the chosen chunks, in the order of their choice: always the one that counts most and still fits.

    No chunk is cut, so that every definition is whole.

    Args:
        scores: Of the chunks.
        files: The file of each.
        sizes: Of each.
        max_size: Of all that are chosen together.

    Example:
        >>> cover([0.9, 0.8, 0.75, 0.5], files=[1, 1, 2, 3], sizes=[10, 10, 10, 10], max_size=30)
        [0, 2, 1]
    """
    chosen: list[int] = []
    num_of_file: Counter[Hashable] = Counter()
    waiting = [(-score, position, 0) for position, score in enumerate(scores) if score > 0]
    heapq.heapify(waiting)
    while waiting:
        _, position, num_before = heapq.heappop(waiting)
        if sizes[position] > max_size:
            continue
        num_chosen = num_of_file[files[position]]
        if num_chosen > num_before:  # it counts less by now
            heapq.heappush(waiting, (-scores[position] * REPEATED**num_chosen, position, num_chosen))
            continue
        chosen.append(position)
        num_of_file[files[position]] += 1
        max_size -= sizes[position]
    return chosen
