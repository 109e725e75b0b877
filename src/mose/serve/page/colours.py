"""Code in pieces by kind of word. Runs in a process of its own: what a lexer matches can take endless time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

Piece = tuple[str, str]
"""A text and its kinds, space-separated: those of `_KINDS`, "match", "cut"."""

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


def coloured(codes: Sequence[tuple[Sequence[str], str]], most_seconds: float) -> list[list[list[Piece]]]:
    """The lines of each code, in pieces.

    Args:
        codes: Lines of each, and the label of its language.
        most_seconds: Processor time for all; what is left then has no colour.
    """
    deadline = time.thread_time() + most_seconds
    return [_coloured(lines, language, deadline) for lines, language in codes]


def uncoloured(lines: Sequence[str]) -> list[list[Piece]]:
    """The lines, each as one piece."""
    return [[(line, "")] if line else [] for line in lines]


def _coloured(lines: Sequence[str], language: str, deadline: float) -> list[list[Piece]]:
    lexer = _lexer(language)
    if lexer is None:
        return uncoloured(lines)
    rows: list[list[Piece]] = [[]]
    for text, kind in _tokens(lexer, "\n".join(lines) + "\n", deadline):
        first, *more = text.split("\n")
        add(rows[-1], first, kind)
        for line in more:
            rows.append([])
            add(rows[-1], line, kind)
    return rows[: len(lines)]


def _tokens(lexer: Lexer, text: str, deadline: float) -> Iterator[Piece]:
    end = 0
    for start, token, value in lexer.get_tokens_unprocessed(text):
        end = start + len(value)
        yield value, _kind(token)
        if time.thread_time() > deadline:
            break
    if end < len(text):
        yield text[end:], ""


def add(row: list[Piece], text: str, kind: str) -> None:
    """Add a text to the pieces of a line; neighbours of one kind are one piece."""
    if not text:
        return
    if row and row[-1][1] == kind:
        row[-1] = row[-1][0] + text, kind
    else:
        row.append((text, kind))


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
