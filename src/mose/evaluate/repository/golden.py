"""The golden set of a tree: queries from the tree itself, sampled so that a growing tree keeps most of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mose import languages
from mose.errors import ConfigError, DataError
from mose.evaluate.repository.documented import documented
from mose.evaluate.repository.history import from_history, read_commits
from mose.evaluate.repository.tested import Definitions, Test, from_tests, read_tests
from mose.evaluate.repository.values import KINDS, GoldenQuery, GoldenSet, KindReport
from mose.files import SourceFile, read_source
from mose.parallel import run_each
from mose.progress import Progress, ProgressCallback, no_progress
from mose.syntax import Definition
from mose.syntax.documentation import parse_file
from mose.workers import Failure

DEFAULT_QUERIES = 100


def build(
    root: Path,
    files: Collection[SourceFile],
    *,
    num_queries: int = DEFAULT_QUERIES,
    seed: int = 0,
    wanted: Collection[tuple[str, str]] | None = None,
    progress: ProgressCallback = no_progress,
) -> GoldenSet:
    """Queries with known answers, from the files and the history of a tree.

    Args:
        root: The tree.
        files: What a walk of it found.
        num_queries: At most this many of each kind.
        seed: Chooses among more of them.
        wanted: Keys of the queries to take, instead of a sample.
        progress: Called after each file.

    Raises:
        ConfigError: ``num_queries`` is less than 1.
        DataError: The tree gives no query; the message has the reason for each kind.
    """
    if num_queries < 1:
        raise ConfigError("--queries", got=num_queries, allowed="1 or more")
    found: dict[str, list[GoldenQuery]] = {kind: [] for kind in KINDS}
    dropped: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    none = dict.fromkeys(KINDS, "")
    tests = _read_files(root, files, found["docs"], known := Definitions(), dropped["docs"], progress)
    found["tests"].extend(from_tests(tests, known, dropped["tests"]))
    commits = read_commits(root)
    if isinstance(commits, str):
        none["history"] = commits
    else:
        found["history"].extend(from_history(commits, {file.path for file in files}, dropped["history"]))
    queries: list[GoldenQuery] = []
    reports: dict[str, KindReport] = {}
    for kind in KINDS:
        num_found = len(found[kind]) + dropped[kind].total()
        usable = _unique(found[kind], dropped[kind])
        chosen = _sample(usable, num_queries, seed) if wanted is None else [q for q in usable if q.key in wanted]
        queries.extend(chosen)
        reports[kind] = KindReport(
            num_found=num_found,
            num_usable=len(usable),
            dropped=dict(sorted(dropped[kind].items(), key=lambda item: (-item[1], item[0]))),
            none="" if num_found else none[kind] or _NOTHING[kind],
        )
    golden = GoldenSet(queries=tuple(queries), reports=reports)
    if not any(report.num_usable for report in reports.values()):
        why = "\n".join(f"{kind}: {explain(report)}" for kind, report in reports.items())
        raise DataError(
            f"nothing in {root} makes a query",
            remedy=f"{why}\nName a tree with documented functions, a git history or tests; "
            "`mose status PATH` shows which files are read.",
        )
    return golden


_NOTHING = {
    "docs": "no function has documentation",
    "tests": "there are no tests",
    "history": "there is no git history",
}


def explain(report: KindReport) -> str:
    """How many queries a kind gave, and why not more.

    Example:
        >>> explain(KindReport(num_found=9, num_usable=6, dropped={"too short": 3}))
        '6 of 9 usable (3 too short)'
    """
    if report.none:
        return report.none
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.dropped.items())
    return f"{report.num_usable:,} of {report.num_found:,} usable" + (f" ({reasons})" if reasons else "")


def fingerprint(queries: Iterable[GoldenQuery]) -> str:
    """Short hash of queries and their answers."""
    digest = hashlib.blake2b(digest_size=8)
    for query in queries:
        digest.update(repr((query.key, [(t.path, t.start_line, t.end_line) for t in query.targets])).encode())
    return digest.hexdigest()


def blanked_lines(queries: Iterable[GoldenQuery]) -> Mapping[str, frozenset[int]]:
    """File -> lines to blank before it is searched."""
    lines: dict[str, frozenset[int]] = {}
    for query in queries:
        if query.blanked:
            path = query.targets[0].path
            lines[path] = lines.get(path, frozenset()).union(query.blanked)
    return lines


def _read_files(
    root: Path,
    files: Collection[SourceFile],
    docs: list[GoldenQuery],
    known: Definitions,
    dropped: Counter[str],
    progress: ProgressCallback,
) -> list[Test]:
    tests: list[Test] = []
    contents = run_each(_read_file, files, shared=(root.absolute(),), weigh=lambda file: file.size_bytes)
    for number, (file, content) in enumerate(zip(files, contents, strict=True), 1):
        progress(Progress("golden set", number, len(files)))
        if isinstance(content, Failure):
            dropped["a file that cannot be parsed"] += 1
            continue
        if content is None:
            continue
        tests.extend(content.tests)
        known.add(file.path, content.definitions)
        docs.extend(content.docs)
        dropped.update(content.dropped)
    return tests


class _Content(NamedTuple):
    """What one file gives."""

    definitions: list[Definition]
    tests: list[Test]
    docs: list[GoldenQuery]
    dropped: Counter[str]


def _read_file(file: SourceFile, root: Path) -> _Content | None:
    """Run in a worker process: a parser may crash on an untrusted file."""
    text = read_source(root, file)
    parsed = parse_file(text, languages.label_of(file.path, text), file.path) if isinstance(text, str) else None
    if parsed is None:
        return None
    dropped: Counter[str] = Counter()
    if languages.is_test(file.path):
        return _Content([], list(read_tests(parsed)), [], dropped)
    if languages.is_example(file.path) or languages.is_vendored(file.path) or languages.is_documentation(file.path):
        return None  # seldom what a query means
    return _Content(parsed.definitions, [], list(documented(parsed, dropped)), dropped)


def _unique(queries: list[GoldenQuery], dropped: Counter[str]) -> list[GoldenQuery]:
    """Leave out texts that have several locations, and so no single answer."""
    counts = Counter(query.text.lower() for query in queries)
    unique = [query for query in queries if counts[query.text.lower()] == 1]
    if len(unique) < len(queries):
        dropped["the same text more than once"] += len(queries) - len(unique)
    return unique


def _sample(queries: list[GoldenQuery], count: int, seed: int) -> list[GoldenQuery]:
    def rank(query: GoldenQuery) -> bytes:
        return hashlib.blake2b(f"{seed}\0{query.kind}\0{query.text}".encode("utf-8", "replace"), digest_size=8).digest()

    return sorted(queries, key=rank)[:count]
