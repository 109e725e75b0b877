"""Cut source into chunks that follow its definitions.

A definition that fits is one chunk. A longer one is opened: its members become chunks, and the lines between them
stay with it. Long runs of lines are split where the indentation is lowest, preferably at blank lines. Small
neighbours are merged. Chunks are whole lines; only a line longer than the largest chunk is broken.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from mose.errors import ConfigError
from mose.search.chunking.chunk import Chunk
from mose.search.chunking.names import defined_names
from mose.search.chunking.sections import SECTION, sections
from mose.search.chunking.splitting import break_line, split_lines
from mose.syntax import Definition, ParsingError, find_definitions
from mose.syntax.definitions import CONTAINERS

MODULE = "module"
"""Kind of code outside definitions."""
TEXT = "text"
"""Kind of text without a known structure."""
_OPENED = CONTAINERS | {SECTION}
_SMALL = frozenset({"constant", "type", "property", "macro"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkerConfig:
    """Sizes in characters, line ends included."""

    version: int = 4
    """Raised when the same text would be cut or read differently; stored in the index."""
    target_chars: int = 1_000
    """Approximate size of the parts of long definitions; merged neighbours stay below it."""
    whole_chars: int = 1_200
    """A definition up to this size stays whole."""
    max_chars: int = 1_600
    """No chunk is larger."""
    min_chars: int = 250
    """Smaller pieces are merged with their neighbours."""

    def __post_init__(self) -> None:
        if not 0 < self.min_chars <= self.target_chars <= self.whole_chars <= self.max_chars:
            raise ConfigError(
                "chunk sizes",
                got=(self.min_chars, self.target_chars, self.whole_chars, self.max_chars),
                allowed="0 < min_chars <= target_chars <= whole_chars <= max_chars",
            )


class Cut(NamedTuple):
    """Chunks of one file, and why they are cut by lines although their language has a grammar ("" if they are not)."""

    chunks: list[Chunk]
    trouble: str


def cut_text(text: str, language: str, config: ChunkerConfig | None = None) -> Cut:
    r"""Chunks in order; every line belongs to one, and only an overlong line to several.

    Args:
        text: Source with ``\n`` line ends.
        language: As in ``SourceFile.language``; cut by lines if it has no grammar.
        config: Sizes; the defaults if None.
    """
    try:
        found = find_definitions(text, language)
    except ParsingError as error:
        return cut_by_lines(text, language, config, str(error))
    lines = _lines(text)
    if found is None:
        return Cut(_Cutter(lines, language, sections(lines, language), config).chunks(TEXT), "")
    return Cut(_Cutter(lines, language, found, config).chunks(MODULE), "")


def cut_by_lines(text: str, language: str, config: ChunkerConfig | None, trouble: str) -> Cut:
    """Chunks of about equal size, whatever the lines say."""
    return Cut(_Cutter(_lines(text), language, [], config).chunks(TEXT), trouble)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


@dataclass(slots=True)
class _Piece:
    """Lines that stay together. ``owner`` is the definition they show, None outside definitions."""

    first: int
    last: int
    owner: int | None
    scope: int | None  # the definition around it; only pieces of one scope are merged
    is_gap: bool  # whether it lies between the members of its scope
    primary_size: int  # size of the part that the owner comes from


class _Cutter:
    def __init__(self, lines: list[str], language: str, found: list[Definition], config: ChunkerConfig | None) -> None:
        self.lines = lines
        self.language = language
        self.found = found
        self.config = config or ChunkerConfig()
        self.offsets = [0, *accumulate(len(line) + 1 for line in lines)]
        self.children: dict[int | None, list[int]] = {}
        for position, definition in enumerate(found):
            self.children.setdefault(definition.parent, []).append(position)
        self.named = sorted(
            (item.line, item.name, position) for position, item in enumerate(found) if item.kind != SECTION
        )

    def chunks(self, fallback: str) -> list[Chunk]:
        if not self.lines:
            return []
        merged = self._merge(self._merge(self._pieces(), self._joins), self._takes_rest)
        return [chunk for piece in merged for chunk in self._make_chunks(piece, fallback)]

    def _size(self, first: int, last: int) -> int:
        return self.offsets[last] - self.offsets[first - 1]

    def _pieces(self) -> list[_Piece]:
        """All lines in order; definitions are opened until their pieces fit."""
        pieces: list[_Piece] = []
        todo = self._open(1, len(self.lines), None)
        todo.reverse()
        while todo:
            piece = todo.pop()
            if not piece.is_gap and self._size(piece.first, piece.last) > self.config.whole_chars:
                inside = self._open(piece.first, piece.last, piece.owner)
                if len(inside) > 1:
                    todo.extend(reversed(inside))
                    continue
            pieces.append(piece)
        return pieces

    def _open(self, first: int, last: int, owner: int | None) -> list[_Piece]:
        """Members of a definition that become pieces, and the gaps between them."""
        opened = owner is None or self.found[owner].kind in _OPENED
        inside: list[_Piece] = []
        at = first
        for child in self.children.get(owner, ()):
            definition = self.found[child]
            begin, end = max(at, definition.first_line), min(last, definition.last_line)
            if begin > end:
                continue
            size = self._size(begin, end)
            if definition.kind in _SMALL and size < self.config.min_chars:
                continue
            if not opened and size * 2 < self.config.target_chars:
                continue  # a small function inside a function: better split by statements
            end = self._with_blank_lines(end, last)
            if begin > at:
                inside.append(self._piece(at, begin - 1, owner, owner, is_gap=True))
            inside.append(self._piece(begin, end, child, owner, is_gap=False))
            at = end + 1
        if at <= last:
            inside.append(self._piece(at, last, owner, owner, is_gap=True))
        return inside

    def _with_blank_lines(self, line: int, last: int) -> int:
        while line < last and not self.lines[line].strip():
            line += 1
        return line

    def _piece(self, first: int, last: int, owner: int | None, scope: int | None, *, is_gap: bool) -> _Piece:
        return _Piece(first, last, owner, scope, is_gap, self._size(first, last))

    def _merge(self, pieces: list[_Piece], joins: Callable[[_Piece, _Piece], bool]) -> list[_Piece]:
        """Merge neighbours for which ``joins`` is true, greedily from the top."""
        merged: list[_Piece] = []
        for piece in pieces:
            if merged and joins(merged[-1], piece):
                last = merged[-1]
                last.last = piece.last
                if self._shows_more(piece, last):
                    last.owner, last.primary_size = piece.owner, piece.primary_size
                last.is_gap = last.is_gap and piece.is_gap
                last.scope = piece.scope if last.scope != piece.scope and not last.is_gap else last.scope
            else:
                merged.append(piece)
        return merged

    def _shows_more(self, piece: _Piece, last: _Piece) -> bool:
        """True if the owner of the second of two merged pieces describes both better."""
        if piece.owner is None or last.owner is None:
            return piece.owner is not None
        holds_head = last.first <= self.found[last.owner].line <= last.last
        if holds_head and piece.scope == last.owner:
            return False  # the head of a class names the members beside it
        return piece.primary_size > last.primary_size

    def _takes_rest(self, before: _Piece, piece: _Piece) -> bool:
        """True for a small rest of the code around definitions without a neighbour in its own scope."""
        if self._size(before.first, piece.last) > self.config.whole_chars:
            return False
        return self._is_rest_around(before, piece) or self._is_rest_around(piece, before)

    def _is_rest_around(self, rest: _Piece, other: _Piece) -> bool:
        if not rest.is_gap or self._size(rest.first, rest.last) >= self.config.min_chars:
            return False
        scope = other.scope
        while scope is not None and scope != rest.scope:
            scope = self.found[scope].parent
        return scope == rest.scope

    def _joins(self, before: _Piece, piece: _Piece) -> bool:
        """True for small neighbours of one scope, for code around definitions, and for closing brackets."""
        piece_size = self._size(piece.first, piece.last)
        if piece_size < self.config.min_chars and not any(
            any(map(str.isalnum, line)) for line in self.lines[piece.first - 1 : piece.last]
        ):
            return True  # nothing but closing brackets and blank lines
        if before.scope != piece.scope or self._size(before.first, piece.last) > self.config.target_chars:
            return False
        smaller = min(self._size(before.first, before.last), piece_size)
        return smaller < self.config.min_chars or (before.is_gap and piece.is_gap)

    def _make_chunks(self, piece: _Piece, fallback: str) -> list[Chunk]:
        """Chunks of one piece, split if it is too long."""
        config = self.config
        if self._size(piece.first, piece.last) <= config.whole_chars:
            ranges = [(piece.first, piece.last)]
        else:
            ranges = split_lines(
                self.lines, self.offsets, piece.first, piece.last, config.target_chars, config.max_chars
            )
        result = []
        for first, last in ranges:
            text = "\n".join(self.lines[first - 1 : last])
            texts = [text] if len(text) <= config.max_chars else break_line(text, config.max_chars)
            for part, content in enumerate(texts):
                result.append(self._chunk(first, last, piece.owner, content, fallback, is_first=part == 0))
        return result

    def _chunk(self, first: int, last: int, owner: int | None, text: str, fallback: str, *, is_first: bool) -> Chunk:
        definition = self.found[owner] if owner is not None else None
        context: list[str] = []
        around = owner
        while around is not None:
            enclosing = self.found[around]
            if not first <= enclosing.line <= last or (around != owner and not is_first):
                context.append(enclosing.signature)
            around = enclosing.parent
        begin = bisect_left(self.named, (first, "", 0))
        end = bisect_left(self.named, (last + 1, "", 0))
        here = [position for _, _, position in self.named[begin:end]] if is_first else []
        return Chunk(
            first_line=first,
            last_line=last,
            language=self.language,
            kind=definition.kind if definition is not None else fallback,
            symbol=definition.symbol if definition is not None else "",
            signature=definition.signature if definition is not None else "",
            context="\n".join(reversed(context)),
            names=tuple(defined_names(self.found, here, first)),
            text=text,
        )
