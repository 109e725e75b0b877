"""The first line of the comments, attributes and doc strings directly above a definition."""

from __future__ import annotations

import re

_MAX_LINES = 300
_HASH = frozenset({"python", "ruby", "bash", "elixir", "php"})
_DASH = frozenset({"haskell", "lua"})
_NO_SLASH = frozenset({"python", "ruby", "bash", "elixir", "haskell", "lua"})
_ATTRIBUTE = re.compile(r"@\w|#!?\[|\[\[?\w[^=]*\]\s*$|template\s*<|--\s*\||\{-#")
_ELIXIR_DOC = re.compile(r"@(doc|moduledoc|typedoc|spec|impl|deprecated|since|tag)\b")


def first_line_with_comments(lines: list[str], first_line: int, after: int, language: str) -> int:
    """First line of the comment block that touches a definition, or the definition's own.

    Args:
        lines: Lines of the file.
        first_line: Where the definition begins, 1-based.
        after: Last line of the definition before; the search stops below it.
        language: Selects the comment markers.
    """
    if first_line - 2 >= len(lines) or first_line < 2:
        return first_line
    indent = indent_of(lines[first_line - 1])
    stop = max(after, first_line - 1 - _MAX_LINES)
    at = first_line - 1  # 1-based number of the line above
    begin = first_line
    while at > stop:
        line = lines[at - 1]
        stripped = line.strip()
        if not stripped or (at == 1 and stripped.startswith("#!")):
            break
        opened = _block_start(lines, at, stop, language) if _ends_block(stripped, language) else None
        if opened is not None:
            begin = opened
        elif _is_comment(stripped, language) and indent_of(line) == indent:
            begin = at
        else:
            break
        at = begin - 1
    return begin


def indent_of(line: str) -> int:
    """Number of white space characters at the beginning of a line."""
    return len(line) - len(line.lstrip())


def _is_comment(line: str, language: str) -> bool:
    if line.startswith("#"):
        return language in _HASH or line.startswith(("#[", "#!["))
    if line.startswith("//"):
        return language not in _NO_SLASH
    if line.startswith("--"):
        return language in _DASH
    if language == "elixir":
        return _ELIXIR_DOC.match(line) is not None
    return _ATTRIBUTE.match(line) is not None


def _ends_block(line: str, language: str) -> bool:
    if language in ("python", "bash"):
        return False
    if language == "ruby":
        return line == "=end"
    if language == "elixir":
        return line == '"""'
    if language == "haskell":
        return line.endswith("-}")
    if language == "lua":
        return line.endswith(("]]", "]]--"))
    return line.endswith("*/")


def _block_start(lines: list[str], at: int, stop: int, language: str) -> int | None:
    """First line of the block comment that ends on line ``at``, None if there is none."""
    opening = {"ruby": "=begin", "haskell": "{-", "lua": "--[", "elixir": "@"}.get(language, "/*")
    number = at
    while number > stop:
        stripped = lines[number - 1].strip()
        if stripped.startswith(opening) and (language != "elixir" or _ELIXIR_DOC.match(stripped)):
            return number
        if number < at and language not in ("ruby", "haskell", "lua", "elixir") and stripped.endswith("*/"):
            return None
        number -= 1
    return None
