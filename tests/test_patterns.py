"""No regular expression of ours takes more than linear time, for their texts are written by strangers.

Attacks are made from each pattern itself: for every part that may repeat without end, what leads up to it, the part many
times over, and something that does not fit.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import re._constants as sre
import re._parser as parser
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import mose

SIZES = (12, 24, 96, 384, 1_536, 6_144)
GROWTH_ALLOWED = 10.0
"""For a text four times as long: 4 is linear, 16 is quadratic."""
NOISE_S = 0.004
"""Shorter times say nothing."""

BOUNDED = {
    "mose.syntax.prose.": 2_000,
    "mose.data.mine.manifest.": 100,
    "mose.evaluate.repository.prose.": 2_000,
    "mose.data.mine.commit_subjects.": 500,
    "mose.evaluate.repository.tested._TEST_NAME": 200,
    "mose.evaluate.repository.tested._GROUP": 300,
    "mose.evaluate.repository.tested._CALLED_TEST": 300,
    "mose.syntax.versions._DIST_INFO": 255,
    "mose.syntax.definitions._SLASH_COMMENT": 1_200,
    "mose.files.content._MARK_ALONE": 300,
    "mose.search.query._LINE": 4_000,
    "mose.files.walking._HIDDEN_FILES_SKIPPED": 255,
}
"""Of texts that are cut to so many characters, or are names of files and definitions: the time at that size is what counts."""
BOUNDED_S = 0.5
_OUR_OWN = ("mose.train", "mose.model", "mose.export", "mose.integrations", "mose.__main__", "mose.data.rename")
"""Read no strangers' texts, or those alone that somebody chose to train with."""


def module_patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    for module in pkgutil.walk_packages(mose.__path__, "mose."):
        if module.name.startswith(_OUR_OWN):
            continue
        try:
            names = vars(importlib.import_module(module.name))
        except ImportError:  # of an extra that is not installed
            continue
        for name, value in names.items():
            for position, pattern in enumerate(_patterns_in(value)):
                yield f"{module.name}.{name}{f'[{position}]' if position else ''}", pattern


def _patterns_in(value: object) -> Iterator[re.Pattern[str] | re.Pattern[bytes]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for key in value.values():
            yield from _patterns_in(key)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _patterns_in(item)


PATTERNS = {name: pattern for name, pattern in module_patterns()}


def example(tree: Iterable[tuple[object, object]], choice: int = 0) -> str:
    """A short text that a parsed pattern matches, up to look-around; ``choice`` picks among alternatives."""
    return "".join(_example(kind, value, choice) for kind, value in tree)


def _example(kind: object, value: object, choice: int) -> str:
    if kind is sre.LITERAL:
        return chr(value)
    if kind is sre.NOT_LITERAL:
        return next(char for char in "a0 -\n" if ord(char) != value)
    if kind is sre.ANY:
        return "a"
    if kind is sre.IN:
        return _member(value, choice)
    if kind is sre.BRANCH:
        branches = value[1]
        return example(branches[choice % len(branches)], choice)
    if kind is sre.SUBPATTERN:
        return example(value[-1], choice)
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return example(value[2], choice) * max(value[0], 1)
    if kind is sre.ATOMIC_GROUP:
        return example(value, choice)
    return ""


_SAMPLES = "a Z0_-\"'`.:/\\#*<>()[]{}=@!~+,;|&%$^?\n\té名"


def _member(members: list[tuple[object, object]], choice: int) -> str:
    body = "".join(_class(kind, value) for kind, value in members)
    fitting = [char for char in _SAMPLES if re.match(f"[{body}]", char)]
    if not fitting:
        fitting = [
            chr(value if kind is sre.LITERAL else value[0])
            for kind, value in members
            if kind in (sre.LITERAL, sre.RANGE)
        ]
    return fitting[choice % len(fitting)] if fitting else "a"


_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_NOT_DIGIT: r"\D", sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S", sre.CATEGORY_WORD: r"\w", sre.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def _class(kind: object, value: object) -> str:
    if kind is sre.NEGATE:
        return "^"
    if kind is sre.LITERAL:
        return re.escape(chr(value))
    if kind is sre.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    return _CATEGORIES[value]


def attacks(pattern: re.Pattern[str] | re.Pattern[bytes]) -> Iterator[tuple[str, str]]:
    """What comes before, and what is repeated."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    found: dict[tuple[str, str], None] = {}
    for choice in range(5):
        for before, unit in _repeats(list(tree), "", choice):
            found[before, unit] = None
            found["", before + unit] = None
            found["", unit + "\n"] = None
            found[before, unit + " "] = None
        whole = example(tree, choice)
        found["", whole] = None
        found[whole, " "] = None
        found[whole, "\n"] = None
    yield from (attack for attack in found if attack[1])


def _repeats(tree: list[tuple[object, object]], before: str, choice: int) -> Iterator[tuple[str, str]]:
    for kind, value in tree:
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            _, high, inside = value
            if high > 20:
                yield before, example(inside, choice) or "a"
            yield from _repeats(list(inside), before, choice)
        elif kind is sre.SUBPATTERN:
            yield from _repeats(list(value[-1]), before, choice)
        elif kind is sre.BRANCH:
            for branch in value[1]:
                yield from _repeats(list(branch), before, choice)
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            yield from _repeats(list(value[1]), before, choice)
        before += _example(kind, value, choice)


def is_searched_for(name: str) -> bool:
    """Whether a pattern is tried at every position of a text, and not at its beginning alone."""
    module, _, variable = name.partition("[")[0].rpartition(".")
    source = Path(importlib.import_module(module).__file__ or "").read_text(encoding="utf-8")
    return (
        "[" in name
        or not re.search(rf"\b{variable}\.(?:full)?match\(", source)
        or bool(re.search(rf"\b{variable}\.(?:search|sub|split|findall|finditer)\b", source))
    )


def seconds(pattern: re.Pattern[str] | re.Pattern[bytes], text: str, *, searched_for: bool = True) -> float:
    subject = text.encode("utf-8", "replace") if isinstance(pattern.pattern, bytes) else text
    start = time.thread_time()
    pattern.match(subject)  # type: ignore[arg-type]
    if searched_for:
        sum(1 for _ in pattern.finditer(subject))  # type: ignore[arg-type]
    return time.thread_time() - start


def slow_attack(pattern: re.Pattern[str] | re.Pattern[bytes], *, searched_for: bool = True) -> str | None:
    """The first attack that takes more than linear time."""
    for before, unit in attacks(pattern):
        for ending in ("\x01", "", "y", "\n\n"):
            before_s = NOISE_S / GROWTH_ALLOWED
            for size in SIZES:
                text = before + unit * (size // len(unit)) + ending
                taken_s = seconds(pattern, text, searched_for=searched_for)
                if taken_s > max(GROWTH_ALLOWED * before_s, NOISE_S):
                    taken_s = min(taken_s, *(seconds(pattern, text, searched_for=searched_for) for _ in range(2)))
                if taken_s > max(GROWTH_ALLOWED * before_s, NOISE_S):
                    return f"{before!r} + {unit!r} * n + {ending!r}: {before_s:.4f} s, then {taken_s:.4f} s at {size}"
                before_s = max(taken_s, NOISE_S / GROWTH_ALLOWED)
    return None


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_pattern_takes_linear_time(name):
    most = next((size for module, size in BOUNDED.items() if name.startswith(module)), None)
    if most is None:
        assert slow_attack(PATTERNS[name], searched_for=is_searched_for(name)) is None
        return
    for before, unit in attacks(PATTERNS[name]):
        text = (before + unit * (most // len(unit)))[: most - 1] + "\x01"
        assert seconds(PATTERNS[name], text) < BOUNDED_S, (before, unit)


@pytest.mark.parametrize("bad", [r"^\s*class", r" {0,3}#\s+(.+?)\s*#*\s*$", r"(?:a+)+b", r"\s*x$", r"<!--.*?-->"])
def test_attacks_find_a_slow_pattern(bad):
    assert slow_attack(re.compile(bad, re.MULTILINE))
