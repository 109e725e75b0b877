"""The few lines of a hit that show why it was found."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from mose.search.intent import read_query
from mose.search.rank import related
from mose.words import split_words

if TYPE_CHECKING:
    from mose.search.hits import Hit

_WORD = re.compile(r"[^\W_]+")
MAX_COLUMNS = 110


def snippet(hit: Hit, query: str, *, num_lines: int = 5, mark: Callable[[str], str] = str) -> list[tuple[int, str]]:
    """Numbered lines of the hit where the query's words are thickest; its first lines if none occurs.

    Args:
        hit: The hit.
        query: What was asked, "" for none.
        num_lines: At most this many lines.
        mark: Applied to words that stand for a word of the query.
    """
    words = read_query(query).words if query.strip() else ()
    lines = hit.text.splitlines()
    weights = [_num_related(line, words) for line in lines]
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    start = first
    if words and len(lines) - first > num_lines:
        sums = [sum(weights[place : place + num_lines]) for place in range(first, len(lines) - num_lines + 1)]
        best = max(sums)
        if best > sums[0] + 1:  # the beginning, where the name stands, unless another place says clearly more
            ties = [first + place for place, total in enumerate(sums) if total == best and lines[first + place].strip()]
            start = min(ties or [first], key=lambda place: len(lines[place]) - len(lines[place].lstrip()))
    shown = lines[start : start + num_lines]
    while shown and not shown[-1].strip():
        shown.pop()
    indent = min((len(line) - len(line.lstrip()) for line in shown if line.strip()), default=0)
    return [
        (hit.start_line + start + place, _marked(_clipped(line[indent:].expandtabs(4)), words, mark))
        for place, line in enumerate(shown)
    ]


def _num_related(line: str, words: tuple[str, ...]) -> int:
    found = set(split_words(line))
    return sum(any(related(word, other) for other in found) for word in words)


def _clipped(line: str) -> str:
    return line if len(line) <= MAX_COLUMNS else line[: MAX_COLUMNS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _marked(line: str, words: tuple[str, ...], mark: Callable[[str], str]) -> str:
    if not words:
        return line
    return _WORD.sub(
        lambda match: (
            mark(match[0]) if any(related(word, part) for part in split_words(match[0]) for word in words) else match[0]
        ),
        line,
    )
