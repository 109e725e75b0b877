r"""Patterns as git matches them (``wildmatch`` with ``WM_PATHNAME``), as regular expressions that match in linear time.

A star matches anything within one name; ``**`` between slashes for any number of folders. Everything but the
last star of a name, and everything up to the last ``**``, is an atomic group that takes as little as it can and
never backtracks: after the first match there is at least as much text left as after a later one. So no choice is
tried twice, and the time is at most proportional to pattern length times text length.

Patterns and texts hold one character for each byte (see `byte_by_byte`): to git, ``?`` and a set are one byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPECIAL = re.compile(r"[*?\[\\]")
_NAMED_CLASS = re.compile(r"\[:([^\]]*):\]")
_CLASSES = {  # as in git: \v and \f are not space
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
_STAR = "*"
_SLASH = "/"
_NOTHING = r"(?!)"


def byte_by_byte(text: str) -> str:
    """The UTF-8 bytes of a text as one character each.

    Example:
        >>> len(byte_by_byte("é"))
        2
    """
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def is_literal(pattern: str) -> bool:
    """True if a pattern matches its own text and nothing else.

    Example:
        >>> is_literal("a/b.py"), is_literal("*.py")
        (True, False)
    """
    return _SPECIAL.search(pattern) is None


def translate(pattern: str) -> str | None:
    r"""Regular expression for ``re.DOTALL`` that matches a whole path, None if the pattern can match nothing.

    Example:
        >>> bool(re.fullmatch(translate("a/**/*.py"), "a/b/c/d.py")), bool(re.fullmatch(translate("a/*"), "a/b/c"))
        (True, False)
        >>> translate("[a") is None
        True
    """
    special = _SPECIAL.search(pattern)
    start = special.start() if special else len(pattern)
    groups = _parse(pattern, start)  # git compares the plain beginning first: what follows is a new pattern
    if groups is None:
        return None
    regex = re.escape(pattern[:start])
    for group in groups[:-1]:
        regex += f"(?>{group.folders}{_names(group.items)})"
    last = groups[-1]
    return regex + last.folders.replace("?/)??", "/)?") + _names(last.items) + r"\Z"


@dataclass(slots=True)
class _Group:
    """The pattern between two ``**``."""

    folders: str  # regular expression for the folders that the ``**`` before it matches
    items: list[str]  # expressions for one character each, stars and slashes


def _parse(pattern: str, start: int) -> list[_Group] | None:
    groups = [_Group("", [])]
    position = start
    while position < len(pattern):
        char = pattern[position]
        items = groups[-1].items
        if char == "*":
            end = position
            while pattern[end : end + 1] == "*":
                end += 1
            alone = position == start or pattern[position - 1] == "/"
            if end - position > 1 and alone and pattern[end:].startswith(("/", "\\/")):
                optional = pattern[end] == "/"
                groups.append(_Group("(?:.*?/)??" if optional else ".*?/", []))
                position = end + (1 if optional else 2)
                continue
            items.append(".*" if end - position > 1 and alone and end == len(pattern) else _STAR)
            position = end
        elif char == "[":
            found = _set(pattern, position)
            if found is None:
                return None
            items.append(found[0])
            position = found[1]
        elif char == "?":
            items.append("[^/]")
            position += 1
        else:
            position += char == "\\"
            if position == len(pattern):
                return None
            items.append(_SLASH if pattern[position] == "/" else re.escape(pattern[position]))
            position += 1
    return groups


def _names(items: list[str]) -> str:
    """Expression for names with slashes between them: all but the last star of a name take as little as they can."""
    regex = ""
    name: list[str] = []  # the pieces between the stars of one name
    piece = ""
    for item in [*items, _SLASH]:
        if item == _STAR:
            name.append(piece)
            piece = ""
        elif item != _SLASH:
            piece += item
        else:
            name.append(piece)
            first, *rest = name
            regex += first + "".join(f"(?>[^/]*?{inner})" for inner in rest[:-1] if inner)
            regex += (f"[^/]*{rest[-1]}" if rest else "") + "/"
            name, piece = [], ""
    return regex[:-1]


def _set(pattern: str, start: int) -> tuple[str, int] | None:
    """The character set at ``start`` and where it ends; None if it is not closed or names an unknown class."""
    position = start + 1
    negated = pattern[position : position + 1] in ("!", "^")
    position += negated
    members: list[str] = []
    before = ""  # the character that a range may begin with
    first = position
    while position == first or pattern[position : position + 1] != "]":
        if position >= len(pattern):
            return None
        named = _NAMED_CLASS.match(pattern, position)
        if named:
            if named[1] not in _CLASSES:
                return None
            members.append(_CLASSES[named[1]])
            before, position = "", named.end()
        elif before and pattern[position] == "-" and pattern[position + 1 : position + 2] not in ("", "]"):
            high, position = _member(pattern, position + 1)
            members.append(f"{re.escape(before)}-{re.escape(high)}" if before <= high else "")
            before = ""
        else:
            before, position = _member(pattern, position)
            members.append(re.escape(before))
    inside = "".join(members)
    if negated:
        return f"[^/{inside}]", position + 1
    return (f"(?!/)[{inside}]" if inside else _NOTHING), position + 1


def _member(pattern: str, position: int) -> tuple[str, int]:
    """The character at ``position``, without a backslash before it, and the position after it."""
    if pattern[position] == "\\":
        position += 1
    return pattern[position : position + 1], position + 1
