"""Lines to show, from the index alone: the few of a hit that say why it was found, or all of a definition."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.search.query import read_query
from mose.search.ranking.matching import related
from mose.syntax.comments import indent_of
from mose.words import split_words

if TYPE_CHECKING:
    from mose.search.hits import Hit
    from mose.search.loaded import View
    from mose.search.store.records import ChunkTable, StoredChunk

MIN_DIVIDER_CHARS = 8
MOST_LINES = 3_000
"""Lines of a file that are read on either side of one, when all are asked for."""
_WORD = re.compile(r"[^\W_]+")


def snippet(hit: Hit, query: str, *, num_lines: int = 5) -> list[tuple[int, str]]:
    """Numbered lines of the hit where most of the query's words occur; its first lines if none occurs.

    They come as they are in the source, without the indentation that all have.

    Args:
        hit: The hit.
        query: What was asked, "" for none.
        num_lines: At most this many lines.
    """
    words = _words_of(query)
    lines = source_lines(hit.text)
    filled = [row for row, line in enumerate(lines) if line.strip()] or [0]
    first = next((row for row in filled if not _is_divider(lines[row])), filled[0])
    start = first
    if hit.line is not None:
        start = max(first if hit.column is None else 0, hit.line - hit.start_line)
    elif words and len(lines) - first > num_lines:
        weights = [_num_related(line, words) for line in lines]
        sums = [sum(weights[row : row + num_lines]) for row in range(first, len(lines) - num_lines + 1)]
        best = max(sums)
        if best > sums[0] + 1:  # the beginning, where the name is, unless other lines say clearly more
            ties = [row for row, total in enumerate(sums, first) if total == best and lines[row].strip()]
            start = min(ties or [first], key=lambda row: indent_of(lines[row]))
    shown = lines[start : start + num_lines]
    while shown and not shown[-1].strip():
        shown.pop()
    indent = min((len(line) - len(line.lstrip(" \t")) for line in shown if line.strip()), default=0)
    return [(number, line[indent:]) for number, line in enumerate(shown, hit.start_line + start)]


def source_lines(text: str) -> list[str]:
    """The lines of a text, ended where editors end them: at a line feed, nowhere else."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def all_lines(hit: Hit) -> list[tuple[int, str]]:
    """All lines of the hit, numbered, as they are in the source."""
    return list(enumerate(source_lines(hit.text), start=hit.start_line))


def location(hit: Hit, query: str) -> tuple[int, int, str]:
    """Number, column and text of the line to open a hit at.

    It is the one asked for, else the first line of the snippet with a word of the query, else its first. The column is
    that of the first match, else of the first character that is not blank, in characters from 1.
    """
    lines = dict(all_lines(hit))
    shown = [number for number, _ in snippet(hit, query)] or [hit.start_line]
    if hit.line is not None:
        shown = shown[:1]
    for number in shown:
        pieces = split_at_matches(lines[number], query)
        if hit.column is not None or any(matches for _, matches in pieces):
            before = sum(len(piece) for piece, _ in takewhile(lambda piece: not piece[1], pieces))
            return number, hit.column or before + 1, lines[number]
    text = lines[shown[0]]
    return shown[0], indent_of(text) + 1, text


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines ``first_line..last_line`` (1-based, inclusive) of one file."""

    path: str
    first_line: int
    last_line: int
    symbol: str
    kind: str
    language: str
    text: str


def read_lines(view: View, path: str, line: int, last_line: int | None = None) -> Lines | None:
    """Lines of an indexed file; None if the index has no such line.

    Args:
        view: The index.
        path: The file, relative to the tree.
        line: The first line, counted from 1.
        last_line: The last line; None for all of the definition that holds ``line``, in however many chunks.
    """
    table = view.table
    row = table.row_at(path, line)
    if row is None:
        return None
    rows = table.rows_of_file(int(table.file_row[row]))
    rows = rows[np.lexsort((rows, table.first_line[rows]))]
    if last_line is None:
        rows = _definition(table, rows, int(np.flatnonzero(rows == row)[0]))
    else:
        rows = rows[(table.last_line[rows] >= line) & (table.first_line[rows] <= last_line)]
    chunks = view.chunks(rows)
    if not chunks:
        return None
    first, last, text = chunks[0].first_line, chunks[-1].last_line, _joined(chunks)
    if last_line is not None:
        kept = text.split("\n")[line - first : last_line - first + 1]
        first, text = line, "\n".join(kept)
        last = first + len(kept) - 1
    named = chunks[0]
    return Lines(
        path=path,
        first_line=first,
        last_line=last,
        symbol=named.symbol,
        kind=named.kind,
        language=named.language,
        text=text,
    )


def read_file(view: View, path: str, around: int) -> Lines | None:
    """The lines of an indexed file, at most `MOST_LINES` before and after one of them; None if it has none there."""
    table = view.table
    if path not in table.paths:
        return None
    rows = table.rows_of_file(table.paths.index(path))
    low, high = max(1, around - MOST_LINES), around + MOST_LINES
    rows = rows[(table.last_line[rows] >= low) & (table.first_line[rows] <= high)]
    chunks = view.chunks(rows[np.lexsort((rows, table.first_line[rows]))])
    if not chunks:
        return None
    return Lines(
        path=path,
        first_line=chunks[0].first_line,
        last_line=chunks[-1].last_line,
        symbol="",
        kind="",
        language=chunks[0].language,
        text=_joined(chunks),
    )


def _definition(table: ChunkTable, rows: NDArray[np.int64], position: int) -> NDArray[np.int64]:
    """The rows of a file around one of them that are parts of the same definition."""
    first = last = position
    symbol = table.symbol[rows[position]]
    if symbol:
        while first > 0 and table.symbol[rows[first - 1]] == symbol:
            first -= 1
        while last + 1 < len(rows) and table.symbol[rows[last + 1]] == symbol:
            last += 1
    return rows[first : last + 1]


def _joined(chunks: list[StoredChunk]) -> str:
    """The text of consecutive chunks; parts of one overlong line share its number."""
    parts = [chunks[0].text]
    for before, chunk in pairwise(chunks):
        parts += [
            "" if chunk.first_line == before.last_line else "\n" * (chunk.first_line - before.last_line),
            chunk.text,
        ]
    return "".join(parts)
