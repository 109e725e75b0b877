"""A long question in the ranking: several readings of it in one search, and the names and lines it mentions.

1. Words: the title and the whole, half each, so that a long body does not outweigh the title; names of files and
   definitions are compared with the title.
2. Vectors: the title and the first sentences; the encoder reads longer texts less well.
3. Names that the tree defines: the fewer chunks define a name, the more it counts; those of the title count most,
   those in quoted code least.
4. Lines that stack traces and the writer refer to: the innermost call in the tree counts most.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mose.languages import TEXT, language_of
from mose.search.long.bug_report import Frame, Report, first_sentences, read_report
from mose.search.query import MAX_WORDS_CHARS, Query, last_name, read_words
from mose.search.ranking.file_facts import facts_of
from mose.search.ranking.rank import RankWeights
from mose.search.ranking.signals import Evidence, Rows, Signals, definitions_of, read_signals, strengths
from mose.search.store.records import ChunkTable

WHOLE_CHARS = 2_000
MAX_WORDS = 64
"""Words of the whole that are looked up."""
LEAD_CHARS = 300
"""Characters of the prose that the encoder reads."""
MIN_TITLE_WORDS = 4
"""A shorter title without prose may be a line of code."""
MAX_NAMES = 30
MAX_DEFINING = 50
"""A name that more chunks define is ignored."""
NAME_WEIGHT = 1.0
POINTED_WEIGHT = 1.0
"""Weights of the names and lines of a long question, instead of `RankWeights.mention` and ``asked``."""
PATH_STRENGTH = 0.5
"""How much a file that is named without a line counts, compared with a line."""
PROSE_FACTOR = 0.5
"""For documentation, change logs and templates, which share a report's words; on top of their factor for any query."""
TITLE_STRENGTH, PROSE_STRENGTH, CODE_STRENGTH = 1.0, 0.75, 0.5

_NAME = re.compile(
    r"(?P<quoted>[`'\"])?(?P<name>[^\W\d]\w*(?:(?:\.|::|->|#)[^\W\d]\w*)*)(?P<called>\()?(?(quoted)(?P<closed>(?P=quoted))?)"
)
_CODE_SPELLING = re.compile(r"_|[a-z\d][A-Z]|[A-Z]{2}[a-z]|\.|::|->|#")
_PATH = re.compile(r"(?<![\w./\\-])[\w.-]*(?:[/\\][\w.-]+)*\.[A-Za-z]\w{0,5}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """A long question as a search reads it."""

    report: Report
    title: Query
    whole: Query
    lead: str
    """What the encoder reads."""

    @property
    def queries(self) -> tuple[Query, ...]:
        """The readings whose words are looked up; they count equally."""
        return self.title, self.whole

    def weights(self, weights: RankWeights) -> RankWeights:
        """The weights of the signals for a long question."""
        return replace(weights, mention=NAME_WEIGHT, asked=POINTED_WEIGHT)

    def evidence(self, table: ChunkTable) -> Evidence:
        """Names and lines of the tree that the question mentions."""
        defined: dict[int, float] = {}
        for name, strength in _names(self.report, table).items():
            if len(table.rows_by_name[last_name(name).lower()]) > MAX_DEFINING:
                continue
            rows = definitions_of(replace(self.title, names=(name,)), table)
            strength /= math.log2(1 + len(rows))
            for row, own in rows.items():
                defined[row] = max(defined.get(row, 0.0), strength * own)
        pointed: dict[int, float] = {}
        for row, strength in _pointed(self.report, table):
            pointed[row] = max(pointed.get(row, 0.0), strength)
        return Evidence(defined=defined, pointed=pointed)

    def signals(self, evidence: Evidence, table: ChunkTable, rows: Rows) -> Signals:
        """Signals of candidates: those of the title, and the evidence; prose ranks below code."""
        listed = rows.tolist()
        signals = read_signals(self.title, table, rows)
        prose = np.array([file.is_prose for file in facts_of(table, table.file_row[rows].tolist())], dtype=np.bool_)
        return replace(
            signals,
            factor=np.where(prose, PROSE_FACTOR * signals.factor, signals.factor),
            definition=strengths(evidence.defined, listed),
            asked=strengths(evidence.pointed, listed),
        )


def readings_of(text: str) -> Readings | None:
    r"""The readings of a long question; None if it has no title.

    Example:
        >>> readings_of("Dates are wrong\n\nSee below. It fails.").lead
        'Dates are wrong. See below. It fails.'
    """
    report = read_report(text)
    title = read_words(report.title)
    if not title.words:
        return None
    whole = read_words("\n".join([report.title, report.prose, report.code])[:WHOLE_CHARS])
    return Readings(
        report=report,
        title=title,
        whole=replace(whole, text=text, words=whole.words[:MAX_WORDS], terms=whole.terms[:MAX_WORDS]),
        lead=_lead(report, text),
    )


def _lead(report: Report, text: str) -> str:
    if report.prose:
        return f"{report.title}. {first_sentences(report.prose, LEAD_CHARS)}"
    return report.title if len(report.title.split()) >= MIN_TITLE_WORDS else text[:MAX_WORDS_CHARS]


def _parts(report: Report) -> tuple[tuple[str, float], ...]:
    """The parts of a report, and how much a name in each counts."""
    return (report.title, TITLE_STRENGTH), (report.prose, PROSE_STRENGTH), (report.code, CODE_STRENGTH)


def _names(report: Report, table: ChunkTable) -> dict[str, float]:
    """Names called, quoted or spelt like code that the tree defines in this case, and how much each counts."""
    found: dict[str, float] = {}
    for text, strength in _parts(report):
        for match in _NAME.finditer(text[:MAX_WORDS_CHARS]):
            name = match["name"]
            is_code = match["called"] or match["closed"] or _CODE_SPELLING.search(name)
            if name in found or not is_code or not _is_defined(last_name(name), table) or _is_file_name(name):
                continue
            if len(found) == MAX_NAMES:
                return found
            found[name] = strength
    return found


def _is_defined(name: str, table: ChunkTable) -> bool:
    """Whether the tree defines a name, of more than two letters, in this case."""
    rows = table.rows_by_name.get(name.lower(), ()) if len(name) > 2 else ()
    return any(own.name == name for row in rows for own in table.names_of(row))


def _is_file_name(name: str) -> bool:
    return "." in name and language_of(name) != TEXT


def _pointed(report: Report, table: ChunkTable) -> Iterator[tuple[int, float]]:
    """Rows that traces or paths refer to, and how much each counts: the innermost call in the tree counts most."""
    for trace in dict.fromkeys(report.traces):
        calls = [rows for rows in (_rows_of(frame, table) for frame in dict.fromkeys(trace)) if rows]
        for depth, rows in enumerate(calls, start=1):
            yield from ((row, 1 / math.sqrt(depth)) for row in rows)
    for text, strength in _parts(report):
        for path in dict.fromkeys(_PATH.findall(text[:MAX_WORDS_CHARS])):
            file_row = _file_of(path, table)
            if file_row is not None:
                yield from ((row, PATH_STRENGTH * strength) for row in table.rows_of_file(file_row).tolist())


def _rows_of(frame: Frame, table: ChunkTable) -> list[int]:
    """The chunks of the function that a frame names; else those of its line, which may have moved since."""
    file_row = _file_of(frame.path, table)
    if file_row is None:
        return []
    rows = table.rows_of_file(file_row).tolist()
    name = last_name(frame.name) if frame.name else ""
    named = [row for row in rows if name and any(own.name == name for own in table.names_of(row))]
    if named:
        return named
    return [row for row in rows if frame.line and table.first_line[row] <= frame.line <= table.last_line[row]][:1]


def _file_of(path: str, table: ChunkTable) -> int | None:
    """The file of the tree that a path from any machine ends with: the longest match, a bare name only if unique."""
    parts = [part for part in path.lower().replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts:
        return None
    namesakes = table.files_named(parts[-1])
    for count in range(len(parts), 1, -1):
        ending = "/".join(["", *parts[-count:]])
        matches = [row for row in namesakes if f"/{table.lower_paths[row]}".endswith(ending)]
        if matches:
            return min(matches, key=lambda row: (table.lower_paths[row].count("/"), row))
    return namesakes[0] if len(namesakes) == 1 and parts[-1] not in _EVERYWHERE else None


_EVERYWHERE = frozenset({"__init__.py", "setup.py", "conftest.py", "index.js", "index.ts", "mod.rs", "main.go"})
