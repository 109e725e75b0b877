"""The few lines of a hit that show why it was found."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from mose.search.query import read_query
from mose.search.ranking.matching import related
from mose.words import split_words

if TYPE_CHECKING:
    from mose.search.hits import Hit

MIN_DIVIDER_CHARS = 8
_WORD = re.compile(r"[^\W_]+")


def snippet(hit: Hit, query: str, *, num_lines: int = 5) -> list[tuple[int, str]]:
    """Numbered lines of the hit where most of the query's words occur; its first lines if none occurs.

    Lines end where editors end them: at a line feed, nowhere else. They come as they are in the source, without the
    indentation that all have.

    Args:
        hit: The hit.
        query: What was asked, "" for none.
        num_lines: At most this many lines.
    """
    words = _words_of(query)
    lines = [line.removesuffix("\r") for line in hit.text.split("\n")]
    weights = [_num_related(line, words) for line in lines]
    filled = [row for row, line in enumerate(lines) if line.strip()] or [0]
    first = next((row for row in filled if not _is_divider(lines[row])), filled[0])
    start = first
    if hit.line is not None:
        start = max(first, hit.line - hit.start_line)
    elif words and len(lines) - first > num_lines:
        sums = [sum(weights[row : row + num_lines]) for row in range(first, len(lines) - num_lines + 1)]
        best = max(sums)
        if best > sums[0] + 1:  # the beginning, where the name is, unless other lines say clearly more
            ties = [row for row, total in enumerate(sums, first) if total == best and lines[row].strip()]
            start = min(ties or [first], key=lambda row: len(lines[row]) - len(lines[row].lstrip()))
    shown = lines[start : start + num_lines]
    while shown and not shown[-1].strip():
        shown.pop()
    indent = min((len(line) - len(line.lstrip(" \t")) for line in shown if line.strip()), default=0)
    return [(number, line[indent:]) for number, line in enumerate(shown, hit.start_line + start)]


def _is_divider(line: str) -> bool:
    """True for a line of slashes, dashes or the like, which says nothing."""
    return len(line.strip()) >= MIN_DIVIDER_CHARS and not _WORD.search(line)


def split_at_matches(line: str, query: str) -> list[tuple[str, bool]]:
    """The line in pieces, and whether each stands for a word of the query.

    Example:
        >>> split_at_matches("open_connections(url)", "a connection")
        [('open_', False), ('connections', True), ('(url)', False)]
    """
    words = _words_of(query)
    pieces: list[tuple[str, bool]] = []
    end = 0
    for match in _WORD.finditer(line) if words else ():
        if any(_related_words(part, words) for part in split_words(match[0])):
            pieces += [(line[end : match.start()], False), (match[0], True)]
            end = match.end()
    pieces.append((line[end:], False))
    return [piece for piece in pieces if piece[0]]


@lru_cache(maxsize=4)
def _words_of(query: str) -> dict[str, list[str]]:
    """The query's words by their first three letters, which `related` words share."""
    words: dict[str, list[str]] = {}
    for word in read_query(query).words if query.strip() else ():
        words.setdefault(word[:3], []).append(word)
    return words


def _related_words(part: str, words: dict[str, list[str]]) -> list[str]:
    return [word for word in words.get(part[:3], ()) if related(word, part)]


def _num_related(line: str, words: dict[str, list[str]]) -> int:
    return len({word for part in set(split_words(line)) for word in _related_words(part, words)})
