"""Files of repositories cut into snippets, whether they are in memory or in shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mose.errors import DataError

Snippet: TypeAlias = "str | NDArray[Any]"
"""A text, or token ids."""
Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippets:
    """Snippets by number, those of one file and of one repository in a row."""

    count: int
    file_starts: Numbers
    """Number of the first snippet of each file."""
    repository_starts: Numbers
    names: Sequence[str]
    """Of the repositories."""
    read: Callable[[int], Snippet]
    """Returns the snippet of a number."""

    def repository(self, row: int) -> int:
        """Number of the repository that a snippet is of."""
        return int(np.searchsorted(self.repository_starts, row, side="right")) - 1


def span(starts: Numbers, row: int, end: int) -> tuple[int, int]:
    """First row of the group that holds ``row``, and the first row after it."""
    after = int(np.searchsorted(starts, row, side="right"))
    return int(starts[after - 1]), int(starts[after]) if after < len(starts) else end


def cut_text(text: str, chars: int) -> list[str]:
    r"""A text in pieces of about ``chars`` characters that begin and end with lines; a longer line is a piece.

    Example:
        >>> cut_text("a\nbb\nccc\n", 5)
        ['a\nbb\n', 'ccc\n']
    """
    pieces: list[str] = []
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        if lines and size + len(line) > chars:
            pieces.append("".join(lines))
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    pieces.append("".join(lines))
    return [piece for piece in pieces if piece.strip()]


def choose_held_out(count: int, share: float, *, seed: int) -> NDArray[np.bool_]:
    """For each repository, True if it is held out; at least two are.

    Raises:
        DataError: There are fewer than four repositories.
    """
    if count < 4:
        raise DataError(
            "repositories with two source files or more", got=count, allowed="4 or more, two of them held out",
            remedy="Add folders or archives to data.sources.",
        )  # fmt: skip
    num_held = min(max(2, round(share * count)), count - 2)
    held = np.zeros(count, np.bool_)
    held[np.random.default_rng([seed, 11]).permutation(count)[:num_held]] = True
    return held
