"""Lines of texts that match. Imports next to nothing, for a process of its own waits for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

Position = tuple[int, int]
"""A line of a text and a column of that line, both from 0."""


def find_regex(texts: Sequence[str], pattern: str) -> list[Position | None]:
    """Where a regular expression first matches within a line of each text, None where it does not.

    It may take endless time: call it under a limit.
    """
    search = re.compile(pattern).search
    found: list[Position | None] = []
    for text in texts:
        matches = ((row, search(line.removesuffix("\r"))) for row, line in enumerate(text.split("\n")))
        found.append(next(((row, match.start()) for row, match in matches if match), None))
    return found


def find_text(texts: Sequence[str], wanted: str) -> list[Position | None]:
    r"""Where each text first holds another one within a line, None where it does not.

    Example:
        >>> find_text(["a = 1\nb = a", "c"], "= a")
        [(1, 2), None]
    """
    found: list[Position | None] = []
    for text in texts:
        at = text.find(wanted)
        found.append(None if at < 0 else (text.count("\n", 0, at), at - text.rfind("\n", 0, at) - 1))
    return found
