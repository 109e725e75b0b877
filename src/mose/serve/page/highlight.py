"""Code in pieces that a page can colour: plain texts and names of kinds, never markup."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

from mose.escaping import escape
from mose.search.hits import Hit
from mose.search.snippet import Lines, snippet, source_lines, split_at_matches

Piece = tuple[str, str]
"""A text without unseen characters, and space-separated kinds: those of `_KINDS`, "match", "cut"."""

EXCERPT_LINES = 9
_MOST_LINE_CHARS = 1_000
_MOST_SECONDS = 0.5
"""Of processor time, so that a busy machine does not change the answer."""
_KINDS = {
    Token.Keyword: "keyword",
    Token.Keyword.Type: "type",
    Token.Operator.Word: "keyword",
    Token.Name.Function: "function",
    Token.Name.Class: "type",
    Token.Name.Namespace: "name",
    Token.Name.Decorator: "decorator",
    Token.Name.Tag: "keyword",
    Token.Name.Attribute: "function",
    Token.Literal.String: "string",
    Token.Literal.String.Doc: "comment",
    Token.Literal.Number: "number",
    Token.Comment: "comment",
    Token.Generic.Heading: "keyword",
    Token.Generic.Subheading: "keyword",
    Token: "",
}


def highlighted(hit: Hit, query: str) -> dict[str, object]:
    """What a page shows of a hit: its lines in pieces as ``code``, and the range that matters as ``excerpt``."""
    shown = snippet(hit, query, num_lines=EXCERPT_LINES)
    excerpt = [shown[0][0], shown[-1][0]] if shown else [hit.start_line, hit.start_line]
    return {"code": highlight(hit.text, hit.language, query), "excerpt": excerpt}


def file_as_dict(lines: Lines, root: Path) -> dict[str, object]:
    """A file, or a long part of one, with its lines in pieces as ``code``."""
    return {
        "path": lines.path,
        "absolute_path": str(root / lines.path),
        "language": lines.language,
        "first_line": lines.first_line,
        "last_line": lines.last_line,
        "code": highlight(lines.text, lines.language),
    }


def highlight(text: str, language: str, query: str = "") -> list[list[Piece]]:
    """The lines of a text, each in pieces.

    Overlong lines are cut. Of a text that takes long, the rest stays without colour.

    Args:
        text: Some code.
        language: Its label, as hits have it.
        query: Pieces that match a word of it are of the kind "match".
    """
    lines = source_lines(text)
    shown = [line[:_MOST_LINE_CHARS] for line in lines]
    found = []
    for pieces, line, whole in zip(_coloured(shown, language), shown, lines, strict=True):
        if query:
            pieces = _marked(pieces, split_at_matches(line, query))
        made = [(escape(piece), kind) for piece, kind in pieces]
        if len(whole) > len(line):
            made.append((f" … {len(whole) - len(line):,} more characters", "cut"))
        found.append(made)
    return found


def _coloured(lines: Sequence[str], language: str) -> list[list[Piece]]:
    lexer = _lexer(language)
    rows: list[list[Piece]] = [[]]
    for text, kind in _tokens(lexer, "\n".join(lines) + "\n") if lexer else [("\n".join(lines) + "\n", "")]:
        first, *more = text.split("\n")
        _add(rows[-1], first, kind)
        for line in more:
            rows.append([])
            _add(rows[-1], line, kind)
    return rows[: len(lines)]


def _tokens(lexer: Lexer, text: str) -> Iterator[Piece]:
    deadline = time.thread_time() + _MOST_SECONDS
    end = 0
    for start, token, value in lexer.get_tokens_unprocessed(text):
        end = start + len(value)
        yield value, _kind(token)
        if time.thread_time() > deadline:
            break
    if end < len(text):
        yield text[end:], ""


def _add(row: list[Piece], text: str, kind: str) -> None:
    if not text:
        return
    if row and row[-1][1] == kind:
        row[-1] = row[-1][0] + text, kind
    else:
        row.append((text, kind))


def _marked(pieces: Iterable[Piece], spans: Iterable[tuple[str, bool]]) -> list[Piece]:
    """The pieces, divided where spans begin; those in a span that is true are of the kind "match", too."""
    ends: list[tuple[int, bool]] = []
    for text, is_match in spans:
        ends.append(((ends[-1][0] if ends else 0) + len(text), is_match))
    marked: list[Piece] = []
    start = number = 0
    for text, kind in pieces:
        done = 0
        while done < len(text):
            end, is_match = ends[number]
            part = text[done : done + end - start]
            _add(marked, part, f"{kind} match".strip() if is_match else kind)
            done += len(part)
            start += len(part)
            number += start == end
    return marked


@cache
def _kind(token: _TokenType) -> str:
    while token not in _KINDS:
        token = token.parent
    return _KINDS[token]


@cache
def _lexer(language: str) -> Lexer | None:
    try:
        options = {"startinline": True} if language == "php" else {}
        return get_lexer_by_name(language, **options)
    except ClassNotFound:
        return None
