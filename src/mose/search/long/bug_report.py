"""The parts of a long question: a bug report, a stack trace, a paragraph of a chat.

Its title says what it is about. The prose after it says more, once templates, lists of versions, addresses and
checklists are removed. The reporter's own code and output are weak evidence, except for the stack frames and names
in them that the tree has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TITLE_CHARS = 150
_LINE_CHARS = 2_000
"""Longer lines are read in pieces: some patterns take quadratic time."""

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)")
_TAG = re.compile(
    r"</?(?:details|summary|tt|br|p|pre|code|img|a|b|i|em|strong|sub|sup|kbd|h\d|li|ul|ol|hr|div|span)\b[^>]*>"
)
_ADDRESS = re.compile(r"\b(?:https?|ftp)://\S+|\bwww\.\S+|!\[[^\[\]]{0,300}\]\([^()]{0,500}\)")
_LINK = re.compile(r"\[([^\[\]]{1,300})\]\([^()]{0,500}\)")
_HEADING = re.compile(
    r"^\s*+(?:(?P<level>#++)\s++(?P<marked>.*+)|\*\*(?P<bold>[^*]++)\*\*\s*+:?|(?P<plain>[A-Z][\w '/]{2,40}):)\s*+$"
)
_HEADING_WORDS = 6
_NOISE = re.compile(r"^\s*(?:[-*]\s*\[[ xX]?\]|(?:[-=*_~^#+|]\s?){3,}$)")
"""An item of a checklist, or a line that only divides."""
_ENVIRONMENT = re.compile(r"(?i)\b(?:environment|versions?|system info(?:rmation)?|platform)\b")
_VERSION_LINE = re.compile(
    r"(?i)^\s*+[-*]?+\s*+[\w .()/-]{1,40}(?:(?::|==|=|\bversion\b)\s*(?:[\w.-]+[ -])?v?\d+\.\d.*+"
    r"|:\s*(?:None|N/A|True|False|Linux.*|Windows.*|macOS.*|Darwin.*|Ubuntu.*|x86_64|64)\s*)$"
)
_QUOTED = re.compile(r"^(?: {4,}|\t)\S|^\s*(?:>>> ?|\.\.\. |In ?\[\d*\]:?|Out ?\[\d*\]:?|\$ |E {2,}\S)")
"""Code or output: indented, or after a prompt."""
_PATH = r"[\w./\\~@+-]{0,200}\w\.[A-Za-z]\w{0,5}"
_CALLED_LAST = re.compile(
    rf"""^\s*(?:
      File\ "(?P<python>[^"\n]+)",\ line\ (?P<python_line>\d+)(?:,\ in\ (?P<python_name>[\w.<>]+))?
    | (?P<pytest>{_PATH}):(?P<pytest_line>\d+):\ (?:in\ (?P<pytest_name>\w+)|\w*Error\b.*|\w*Exception\b.*|)
    | (?P<ipython>{_PATH})\ in\ (?P<ipython_name>\w+)\(.*
    )\s*$""",
    re.VERBOSE,
)
"""A line of a stack trace that names the innermost call last."""
_CALLED_FIRST = re.compile(
    rf"""^\s*(?:
      at\ (?:(?P<js_name>[\w.$<> ]+)\ \()?(?P<js>(?:[A-Za-z]:)?[^()\s:]+):(?P<js_line>\d+)(?::\d+)?\)?
    | at\ (?:[\w.$<>]+/+)?(?P<java_name>[\w.$<>]+)\((?P<java>\w+\.\w+):(?P<java_line>\d+)\)
    | at\ (?P<net_name>[\w.`<>\[\]]+)\([^)]{{0,300}}\)\ in\ (?P<net>.{{1,300}}):line\ (?P<net_line>\d+)
    | (?:from\ )?(?P<ruby>{_PATH}):(?P<ruby_line>\d+):in\ [`'](?:[\w ]+\ in\ )?(?P<ruby_name>[\w.#:?!]+)'.*
    | \#\d+\s+(?P<php>[^()\s]+)\((?P<php_line>\d+)\):\ (?P<php_name>[\w\\>:-]+)\(.*
    | (?P<go>/\S+\.go):(?P<go_line>\d+)(?:\ \+0x[0-9a-f]+)?
    )\s*$""",
    re.VERBOSE,
)
"""A line of a stack trace that names the innermost call first."""
_LOG_PREFIX = re.compile(r"^\s*(?:[\w-]+[>|]|>|\|)(?=\s)")
_MENTION = re.compile(
    rf"(?<![\w./\\~@+-])(?:https?://\S{{1,200}}?/blob/[^/\s]+/)?(?P<path>{_PATH})(?:\#L|:)(?P<line>\d+)\b"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A line of a file that a stack trace or the writer refers to."""

    path: str
    line: int | None
    name: str = ""
    """The function, "" if it is not named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The parts of a long question."""

    title: str
    prose: str
    """The writer's sentences, without the title."""
    code: str
    """Code and output, as quoted."""
    traces: tuple[tuple[Frame, ...], ...]
    """Each stack trace, innermost call first; a reference to a single line is a trace of its own."""


def read_report(text: str) -> Report:
    r"""Split a long question into its parts.

    Example:
        >>> report = read_report("Dates are wrong\n\nSee `parse`.\n```\n>>> parse('x')\n```\n## Versions\nPython 3.8")
        >>> report.title, report.prose, report.code
        ('Dates are wrong', 'See `parse`.', ">>> parse('x')")
    """
    reader = _Reader()
    for line in _COMMENT.sub("", text.replace("\r\n", "\n")).split("\n"):
        for start in range(0, max(len(line), 1), _LINE_CHARS):
            reader.read(line[start : start + _LINE_CHARS])
    title, prose = reader.title, reader.prose
    if len(title) > _TITLE_CHARS:
        first = first_sentences(title, _TITLE_CHARS)
        title, prose = first, [title[len(first) :].strip(), *prose]
    traces = [tuple(frames if called_first else reversed(frames)) for frames, called_first in reader.traces]
    return Report(title=title, prose="\n".join(prose), code="\n".join(reader.code), traces=tuple(traces))


class _Reader:
    """Sorts the lines of a long question."""

    def __init__(self) -> None:
        self.title = ""
        self.prose: list[str] = []
        self.code: list[str] = []
        self.traces: list[tuple[list[Frame], bool]] = []  # frames as written, and whether the innermost comes first
        self._fence = ""
        self._in_trace = False
        self._in_environment = False

    def read(self, line: str) -> None:
        """Sort one line into its part."""
        if self._read_trace(line):
            return
        if mark := _FENCE.match(line):
            if not self._fence or self._fence == mark[1][:3]:
                self._fence = "" if self._fence else mark[1][:3]
        elif self._fence:
            if not self._in_environment:
                self.code.append(line)
        elif line.strip() and not self._read_heading(line):
            self._read_text(line)

    def _read_trace(self, line: str) -> bool:
        """Whether the line belongs to a stack trace."""
        line = _LOG_PREFIX.sub("", line, count=1)
        for pattern, called_first in ((_CALLED_LAST, False), (_CALLED_FIRST, True)):
            found = pattern.match(line)
            if found is not None:
                if not (self._in_trace and self.traces and self.traces[-1][1] == called_first):
                    self.traces.append(([], called_first))
                self.traces[-1][0].append(_frame(found))
                self._in_trace = True
                return True
        if line.lstrip().startswith("Traceback "):
            self._in_trace = False  # a new one
            return True
        self._in_trace = self._in_trace and line[:1] in (" ", "\t")
        return self._in_trace

    def _read_heading(self, line: str) -> bool:
        """Whether the line is a heading without information, as of a template, or one above an environment."""
        found = _HEADING.match(line)
        if found is None:
            return False
        heading = (found["marked"] or found["bold"] or found["plain"] or "").rstrip().rstrip("#").strip()
        is_short = len(heading.split()) <= _HEADING_WORDS
        self._in_environment = is_short and _ENVIRONMENT.search(heading) is not None
        return is_short and (bool(self.title) or found["level"] != "#")

    def _read_text(self, line: str) -> None:
        for found in _MENTION.finditer(line):
            self.traces.append(([Frame(path=_with_slashes(found["path"]), line=int(found["line"]))], True))
        plain = _ADDRESS.sub("", _LINK.sub(r"\1", _TAG.sub(" ", line))).strip().lstrip(">#").strip()
        if not self.title:
            self.title = plain
        elif self._in_environment or _NOISE.match(line) or _VERSION_LINE.match(line):
            return
        elif _QUOTED.match(line):
            self.code.append(line)
        elif plain:
            self.prose.append(plain)


def first_sentences(text: str, max_chars: int) -> str:
    """Whole sentences or lines from the beginning; a part of the first if it is too long.

    Example:
        >>> first_sentences("It fails. Why? See below.", 14)
        'It fails. Why?'
    """
    kept = ""
    for line in text.split("\n"):
        for sentence in _SENTENCE_END.split(line):
            longer = f"{kept} {sentence}".strip()
            if len(longer) > max_chars:
                return kept or sentence[:max_chars]
            kept = longer
    return kept


def _frame(found: re.Match[str]) -> Frame:
    groups = found.groupdict()
    kind = next(kind for kind, value in groups.items() if value and "_" not in kind)
    number = groups.get(f"{kind}_line")
    return Frame(
        path=_with_slashes(groups[kind] or ""),
        line=int(number) if number else None,
        name=groups.get(f"{kind}_name") or "",
    )


def _with_slashes(path: str) -> str:
    return path.replace("\\", "/")
