"""Sequences of many lengths in groups of bounded size."""

from __future__ import annotations

from collections.abc import Sequence


def pack(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Row numbers in few groups of at most ``budget`` tokens: longest first, each into the fullest that has room.

    Example:
        >>> pack([2, 9, 3, 8], budget=12)
        [[1, 2], [3, 0]]
    """
    groups: list[list[int]] = []
    room: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        fits = [group for group, left in enumerate(room) if left >= lengths[row]]
        if fits:
            group = min(fits, key=lambda group: room[group])
        else:
            group = len(groups)
            groups.append([])
            room.append(budget)
        groups[group].append(row)
        room[group] -= lengths[row]
    return groups


def spread(groups: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The same rows in at least ``count`` groups: those with most rows are halved.

    Example:
        >>> spread([[1, 2, 3], [0]], 3)
        [[1], [0], [2, 3]]
    """
    found = [list(group) for group in groups]
    while len(found) < count:
        largest = max(range(len(found)), key=lambda number: len(found[number]))
        half = len(found[largest]) // 2
        assert half > 0, "no more rows than groups"
        found.append(found[largest][half:])
        found[largest] = found[largest][:half]
    return found
