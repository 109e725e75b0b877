"""Ignore rules in git's syntax, decided entry by entry.

``walk`` asks for every directory and file on its way down and never enters an ignored directory, so a rule
is matched against the entry itself and never against what lies below it, exactly as git does it.
(``pathspec`` matches whole lists of paths, descendants included, which makes ``x/**`` or ``!*/`` come out
differently in such a walk; importing it also costs more than a whole walk.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    by_name: bool  # the pattern has no slash: it is matched against the last part of the path
    only_directories: bool
    ignores: bool  # False for a line that begins with "!"


class IgnoreRules:
    r"""The rules of one ignore file.

    Args:
        text: Content of the file.

    Example:
        >>> rules = IgnoreRules("*.log\n!keep.log\nbuild/\n")
        >>> rules.decide("a/x.log", is_directory=False), rules.decide("keep.log", is_directory=False)
        (True, False)
        >>> rules.decide("build", is_directory=False) is None
        True
    """

    __slots__ = ("_any_name", "_any_path", "_rules")

    def __init__(self, text: str) -> None:
        lines = _byte_by_byte(text.removeprefix("\ufeff")).split("\n")
        self._rules = tuple(rule for line in lines if (rule := _parse(line)) is not None)
        self._any_name = _alternation([rule for rule in self._rules if rule.by_name])
        self._any_path = _alternation([rule for rule in self._rules if not rule.by_name])

    def __bool__(self) -> bool:
        return bool(self._rules)

    def decide(self, path: str, *, is_directory: bool) -> bool | None:
        """True if ignored, False if a "!" line keeps it, None if no rule speaks of this entry.

        Args:
            path: Path relative to the folder of the ignore file, with forward slashes.
            is_directory: True for a directory.
        """
        path = _byte_by_byte(path)
        name = path[path.rfind("/") + 1 :]
        if not (
            (self._any_name is not None and self._any_name.match(name))
            or (self._any_path is not None and self._any_path.match(path))
        ):
            return None
        for rule in reversed(self._rules):  # the last rule that matches wins
            if rule.only_directories and not is_directory:
                continue
            if rule.pattern.match(name if rule.by_name else path):
                return rule.ignores
        return None


def _byte_by_byte(text: str) -> str:
    """The UTF-8 bytes of a text as one character each: to git ``?`` and a set are one byte, not one letter."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _alternation(rules: list[_Rule]) -> re.Pattern[str] | None:
    """One pattern that matches if any rule does: most entries match none, and are done in one step."""
    if not rules:
        return None
    return re.compile("|".join(dict.fromkeys(rule.pattern.pattern for rule in rules)), re.DOTALL)


def _parse(line: str) -> _Rule | None:
    line = _strip_end(line.removesuffix("\r"))
    if not line or line.startswith("#"):
        return None
    ignores = not line.startswith("!")
    pattern = line if ignores else line[1:]
    only_directories = pattern.endswith("/")
    if only_directories:
        pattern = pattern[:-1]
    if not pattern:
        return None
    by_name = "/" not in pattern
    regex = _segment(pattern) if by_name else _path(pattern.removeprefix("/"))
    if regex is None:
        return None
    return _Rule(re.compile(rf"(?:{regex})\Z", re.DOTALL), by_name, only_directories, ignores)


def _strip_end(line: str) -> str:
    """Without the spaces at the end; a space after a backslash stays."""
    stripped = line.rstrip(" ")
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if backslashes % 2 and len(stripped) < len(line) else stripped


def _path(pattern: str) -> str | None:
    """Regular expression for a pattern with slashes; ``**`` stands for any number of directories."""
    segments = pattern.split("/")
    regex = ""
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        if segment == "**":
            regex += ".*" if last else "(?:.*/)?"
            continue
        part = _segment(segment)
        if part is None:
            return None
        regex += part if last else part + "/"
    return regex


def _segment(pattern: str) -> str | None:
    """Regular expression for one part of a path, None if the pattern can match nothing.

    All but the last star take as little as they can and never give it back (an atomic group), which finds
    the same matches without the exponential search that a row of stars would cost.
    """
    pieces = [""]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            if pieces[-1] or len(pieces) == 1:
                pieces.append("")
            at += 1
        elif char == "?":
            pieces[-1] += "[^/]"
            at += 1
        elif char == "[":
            bracket = _bracket(pattern, at)
            if bracket is None:
                return None
            piece, at = bracket
            pieces[-1] += piece
        else:
            if char == "\\":
                at += 1
                if at == len(pattern):
                    return None
            pieces[-1] += re.escape(pattern[at])
            at += 1
    first, *rest = pieces
    if not rest:
        return first
    return first + "".join(f"(?>[^/]*?{piece})" for piece in rest[:-1]) + f"[^/]*{rest[-1]}"


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """The character set at ``start`` and where it ends; None if it is not closed or not valid."""
    at = start + 1
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    members: list[str] = []
    first = True
    while True:
        char = pattern[at : at + 1]
        if char == "" or (char == "]" and not first):
            break
        first = False
        if char == "[" and pattern[at + 1 : at + 2] == ":":
            end = pattern.find(":]", at + 2)
            if end < 0 or pattern[at + 2 : end] not in _CLASSES:
                return None
            members.append(_CLASSES[pattern[at + 2 : end]])
            at = end + 2
            continue
        low, at = _member(pattern, at)
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _member(pattern, at + 1)
            if low and high and low <= high:
                members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            members.append(re.escape(low))
    if at >= len(pattern):
        return None
    inside = "".join(members)
    if negated:
        return f"[^/{inside}]", at + 1
    return (f"(?!/)[{inside}]" if inside else r"(?!)"), at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    """The character at ``at``, a backslash before it taken away, and the position after it."""
    if pattern[at] == "\\":
        at += 1
    return pattern[at : at + 1], at + 1
