"""Kind "tests": the words of a test's name -> the definition that it tests.

A test belongs to a definition that its name names and its body calls; where several fit, to the one whose
class or file the test names as well. Ambiguous tests are left out.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mose.evaluate.repository.benchmark import Location
from mose.evaluate.repository.values import GoldenQuery
from mose.syntax import Definition
from mose.syntax.comments import indent_of
from mose.syntax.definitions import CONTAINERS
from mose.syntax.documentation import ParsedFile
from mose.syntax.prose import has_few_words
from mose.words import STOP_WORDS, split_words

MAX_TEXT_CHARS = 200

_TARGETS = frozenset({"function", "method", "macro"}) | CONTAINERS - {"module", "impl"}
_TEST_WORDS = frozenset({"test", "tests", "spec", "testcase"})
_TEST_NAME = re.compile(r"_*[tT]est(?![a-z])\w*|\w*[a-z\d_]Tests?(?![a-z])|\w*_test")
_TEST_MARK = re.compile(
    r"^[ \t]*(?:@(?:\w+\.)*(?:Test|ParameterizedTest|RepeatedTest)\b|\[(?:Fact|Theory|Test\w*)\b|#\[(?:\w+::)*test\b)",
    re.M,
)
_CALLED_TEST = re.compile(r"""(?:it|test|specify|scenario)(?:\.\w+)*[ (]\s*(["'`])(.{1,200}?)\1""")
_GROUP = re.compile(
    r"""(?:RSpec\.)?(?:describe|context|suite)(?:\.\w+)*[ (]\s*(["'`]?)([^"'`,]{1,200}?)(?:\1\s*[,)]|\1\s+do\b)"""
)
_CALL_LANGUAGES = frozenset({"javascript", "typescript", "ruby", "elixir"})
_CALL = re.compile(r"\b([^\W\d]\w*+)!?(?=\s?\()|\b([A-Z]\w*+)(?=[.:<{])")
_CALL_IN_RUBY = re.compile(r"\b([^\W\d]\w*+)(?=\()|\.([^\W\d]\w*[?!]?)|\b([A-Z]\w*)\b")
_MAX_NAME_WORDS = 8
_MAX_HEAD_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test: the words of what it is about, those of its own name, and the names that its body calls."""

    path: str
    about: tuple[str, ...]
    words: tuple[str, ...]
    calls: frozenset[str]


def read_tests(parsed: ParsedFile) -> Iterator[Test]:
    """Tests of a file, in order."""
    own = frozenset(definition.name for definition in parsed.definitions)
    if parsed.language in _CALL_LANGUAGES:
        yield from _called_tests(parsed, own)
    for definition in parsed.definitions:
        if definition.kind not in ("function", "method"):
            continue
        above = "\n".join(parsed.text(definition.first_line, definition.line))
        if not (_TEST_NAME.fullmatch(definition.name) or _TEST_MARK.search(above)):
            continue
        parent = parsed.definitions[definition.parent] if definition.parent is not None else None
        yield Test(
            path=parsed.path,
            about=_subject_words(parent.name if parent is not None and parent.kind in CONTAINERS else ""),
            words=_subject_words(definition.name),
            calls=_calls(parsed.text(definition.line + 1, definition.last_line), parsed.language) - own,
        )


def _subject_words(name: str) -> tuple[str, ...]:
    words = split_words(name)
    while words and words[0] in _TEST_WORDS:
        del words[0]
    while words and words[-1] in _TEST_WORDS:
        del words[-1]
    return tuple(words)


def _called_tests(parsed: ParsedFile, own: frozenset[str]) -> Iterator[Test]:
    """Tests that are calls with a description, ``it("opens a proxy", ...)``, and the description of their group."""
    lines = parsed.lines
    groups: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        indent = indent_of(line)
        head = line[indent : indent + _MAX_HEAD_CHARS]
        match, group = _CALLED_TEST.match(head), _GROUP.match(head)
        if not (match or group):
            continue
        while groups and groups[-1][0] >= indent:
            groups.pop()
        if group:
            groups.append((indent, group[2]))
        elif match:
            rest = range(number + 1, len(lines))
            end = next((at for at in rest if lines[at].strip() and indent_of(lines[at]) <= indent), len(lines) - 1)
            yield Test(
                path=parsed.path,
                about=tuple(split_words(groups[-1][1])) if groups else (),
                words=tuple(split_words(match[2])),
                calls=_calls(lines[number : end + 1], parsed.language) - own,
            )


def _calls(lines: Sequence[str], language: str) -> frozenset[str]:
    """Names that are called or, in the case of types, used; in Ruby whatever follows a dot."""
    pattern = _CALL_IN_RUBY if language == "ruby" else _CALL
    return frozenset(match[match.lastindex or 0] for line in lines for match in pattern.finditer(line))


class Definitions:
    """What tests can be about: definitions by the words of their names."""

    def __init__(self) -> None:
        self._by_words: dict[tuple[str, ...], list[tuple[str, Definition]]] = defaultdict(list)

    def add(self, path: str, found: Sequence[Definition]) -> None:
        """Add the definitions of a file."""
        for definition in found:
            words = tuple(split_words(definition.name))
            if definition.kind in _TARGETS and 0 < len(words) <= _MAX_NAME_WORDS:
                self._by_words[words].append((path, definition))

    def tested_by(self, test: Test) -> Location | str:
        """The definition that a test is about, or why none was found."""
        best: list[tuple[str, Definition]] = []
        best_score = (0, 0)
        is_named = False
        for span in _spans(test):
            for path, definition in self._by_words.get(span, ()):
                is_named = True
                if definition.name not in test.calls:
                    continue
                score = self._score(test, span, path, definition)
                if score > best_score:
                    best, best_score = [(path, definition)], score
                elif score == best_score > (0, 0) and (path, definition) not in best:
                    best.append((path, definition))
        if len(best) == 1:
            path, definition = best[0]
            return Location(path=path, start_line=definition.line, end_line=definition.last_line)
        if best:
            return "several definitions fit"
        return "calls nothing that it names" if is_named else "names no definition"

    def _score(self, test: Test, span: tuple[str, ...], path: str, definition: Definition) -> tuple[int, int]:
        """How well a definition whose name is among the test's words fits; (0, 0) if by a common word only."""
        _, _, owner = definition.symbol.rpartition(".")[0].rpartition(".")
        owner_words = split_words(owner)
        all_words = {*test.about, *test.words}
        in_owner = len(owner_words) if owner_words and all_words.issuperset(owner_words) else 0
        stem = set(split_words(PurePosixPath(path).stem))
        in_file = bool(stem) and stem <= set(split_words(PurePosixPath(test.path).stem)) - _TEST_WORDS
        begins = test.words[: len(span)] == span or test.about == span
        if definition.kind in CONTAINERS and not begins:  # made by the test for something else
            return 0, 0
        if len(span) == 1 and (span[0] in STOP_WORDS or not (in_owner or in_file or (begins and len(span[0]) > 4))):
            return 0, 0
        return len(span) + in_owner, int(in_file)


def _spans(test: Test) -> Iterator[tuple[str, ...]]:
    """Runs of words of a test that may be the words of a name."""
    for words in (test.words, test.about):
        for start in range(len(words)):
            for end in range(start + 1, min(start + _MAX_NAME_WORDS, len(words)) + 1):
                yield words[start:end]


def from_tests(tests: Sequence[Test], known: Definitions, dropped: Counter[str]) -> Iterator[GoldenQuery]:
    """A query for every test that tests one definition only.

    Args:
        tests: All tests of the tree.
        known: All definitions outside tests.
        dropped: Counts of tests left out, by reason, are added here.
    """
    for test in tests:
        about = () if set(test.about) <= set(test.words) else test.about
        text = " ".join((*about, *test.words))[:MAX_TEXT_CHARS]
        if has_few_words(text):
            dropped["too short"] += 1
            continue
        found = known.tested_by(test)
        if isinstance(found, str):
            dropped[found] += 1
        else:
            yield GoldenQuery(kind="tests", text=text, targets=(found,), left_out=test.path)
