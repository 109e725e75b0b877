"""One ignore file in git's syntax: its lines, and whether they match an entry.

``walk`` asks for every directory and file on its way down and never enters an ignored directory, so a rule
is matched against the entry itself and never against the entries below it, exactly as in git.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from mose.files.wildmatch import byte_by_byte, is_literal, translate

MAX_PATTERN_BYTES = 10_000
"""Longer lines with wildcards are skipped; plain names may have any length."""
MAX_WILDCARDS_BYTES = 50_000
"""Total of the wildcard lines of one file; further ones are skipped, except plain names."""


class Rule(NamedTuple):
    """One line of an ignore file."""

    line_number: int
    line: str  # as in the file, byte by byte, without spaces at its end
    ignores: bool  # False for a line that begins with "!"
    only_directories: bool
    by_name: bool  # no slash in it: it is matched against the last part of the path
    pattern: str  # byte by byte, without "!" and slashes at either end


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
        >>> rules.find("build", is_directory=True).line_number
        3
    """

    __slots__ = ("_names", "_paths")

    def __init__(self, text: str) -> None:
        lines = byte_by_byte(text.removeprefix("\ufeff")).split("\n")
        rules = [rule for number, line in enumerate(lines, 1) if (rule := _parse(line, number)) is not None]
        self._names = _RuleSet([rule for rule in rules if rule.by_name])
        self._paths = _RuleSet([rule for rule in rules if not rule.by_name])

    def __bool__(self) -> bool:
        return bool(self._names.rules or self._paths.rules)

    def find(self, path: str, *, is_directory: bool) -> Rule | None:
        """The last rule that matches an entry, None if no rule matches it.

        Args:
            path: Path relative to the folder of the ignore file, with forward slashes.
            is_directory: True for a directory.
        """
        if not path.isascii():
            path = byte_by_byte(path)
        name = path[path.rfind("/") + 1 :]
        names, paths = self._names, self._paths
        by_name = names.find(name, is_directory) if names.may_match(name) else None
        if not paths.may_match(path):
            return by_name
        return _later(by_name, paths.find(path, is_directory))

    def decide(self, path: str, *, is_directory: bool) -> bool | None:
        """True if ignored, False if a "!" line keeps it, None if no rule matches the entry; see `find`."""
        rule = self.find(path, is_directory=is_directory)
        return None if rule is None else rule.ignores


class _RuleSet:
    """Rules that are matched against the same text, in the order of the file.

    Most texts match none, which one step finds: plain names are looked up, endings (``*.log``) compared, and all
    wildcards tried at once.
    """

    __slots__ = ("_any_wild", "_ending", "_endings", "_literal", "_wild", "may_match", "rules")

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules
        self._literal: dict[str, list[Rule]] = {}
        self._ending: dict[str, list[Rule]] = {}
        self._wild: list[tuple[str, Rule]] = []
        num_bytes = 0
        for rule in rules:
            pattern = rule.pattern
            if is_literal(pattern):
                self._literal.setdefault(pattern, []).append(rule)
            elif rule.by_name and pattern[0] == "*" and is_literal(pattern[1:]):
                self._ending.setdefault(pattern[1:], []).append(rule)
            elif len(pattern) <= MAX_PATTERN_BYTES and num_bytes < MAX_WILDCARDS_BYTES:
                num_bytes += len(pattern)
                regex = translate(pattern)
                if regex is not None:
                    self._wild.append((regex, rule))
        self._endings = tuple(self._ending)
        together = "|".join(dict.fromkeys(regex for regex, _ in self._wild))
        self._any_wild = re.compile(together, re.DOTALL).match if together else None
        self.may_match = self._build_test()

    def _build_test(self) -> Callable[[str], object]:
        """Whether any rule may match a text: one specialised function, as it is called for every entry."""
        literal, endings, any_wild = self._literal, self._endings, self._any_wild
        if endings and any_wild:
            return lambda text: text in literal or text.endswith(endings) or any_wild(text)
        if any_wild:
            return lambda text: text in literal or any_wild(text)
        if endings:
            return lambda text: text in literal or text.endswith(endings)
        return literal.__contains__

    def find(self, text: str, is_directory: bool) -> Rule | None:
        last = _last(self._literal.get(text, []), is_directory)
        if self._endings and text.endswith(self._endings):
            for start in range(len(text) + 1):
                last = _later(last, _last(self._ending.get(text[start:], []), is_directory))
        if self._any_wild is not None and self._any_wild(text):
            matching = [rule for regex, rule in self._wild if _compile(regex).match(text)]
            last = _later(last, _last(matching, is_directory))
        return last


@lru_cache(maxsize=20_000)
def _compile(regex: str) -> re.Pattern[str]:
    return re.compile(regex, re.DOTALL)


def _last(rules: Sequence[Rule], is_directory: bool) -> Rule | None:
    return next((rule for rule in reversed(rules) if is_directory or not rule.only_directories), None)


def _later(first: Rule | None, second: Rule | None) -> Rule | None:
    if first is None or second is None:
        return first or second
    return first if first.line_number > second.line_number else second


def _parse(line: str, number: int) -> Rule | None:
    if line.startswith("#"):
        return None
    line = _strip_end(line.removesuffix("\r").partition("\0")[0])
    pattern = line.removeprefix("!")
    only_directories = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    by_name = "/" not in pattern
    pattern = pattern.removeprefix("/")
    if not pattern:
        return None
    return Rule(number, line, line[0] != "!", only_directories, by_name, pattern)


def _strip_end(line: str) -> str:
    """The line without trailing spaces, except one after a backslash."""
    stripped = line.rstrip(" ")
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if backslashes % 2 and len(stripped) < len(line) else stripped
