"""Whole-repository search: queries over real packages, judged as the benchmark's authors judge.

Format of a task file (one per package): ``{package, version, root, queries: [{query, category, relevant,
secondary}]}``; a target is a path or ``{path, start_line, end_line}``. Source of metric and annotations:
MinishLab/semble (MIT).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mose.errors import DataError
from mose.json_reading import parse_json

_REMEDY = "Fetch the file again, or correct it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A file, or lines of it (1-based, inclusive)."""

    path: str
    start_line: int | None = None
    end_line: int | None = None

    def __str__(self) -> str:
        return self.path if self.start_line is None else f"{self.path}:{self.start_line}-{self.end_line}"

    def meets(self, target: Location) -> bool:
        """True if one path ends the other and, where the target has lines, the ranges overlap."""
        same = (
            self.path == target.path or self.path.endswith("/" + target.path) or target.path.endswith("/" + self.path)
        )
        if not same or target.start_line is None or target.end_line is None:
            return same
        if self.start_line is None or self.end_line is None:
            return False
        return self.start_line <= target.end_line and self.end_line >= target.start_line


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoQuery:
    """One query and what answers it; ``category`` is "architecture", "semantic" or "symbol"."""

    text: str
    category: str
    targets: tuple[Location, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoTask:
    """The queries of one package or repository; ``root`` is the folder of it that is searched."""

    package: str
    version: str
    root: str
    queries: tuple[RepoQuery, ...]
    language: str = "python"
    pinned: bool = True
    """False where the queries were written for an older revision than the one named."""


def load_tasks(folder: Path) -> list[RepoTask]:
    """All task files of a folder, by the name of the package or repository.

    Raises:
        DataError: There is none, or one lacks a field.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError(f"no task file (*.json) in {folder}", remedy="Name a folder repo-search* of the data.")
    return [_read(file) for file in files]


def _read(file: Path) -> RepoTask:
    try:
        task = parse_json(file.read_text(encoding="utf8"))
        queries = tuple(
            RepoQuery(
                text=query["query"],
                category=query["category"],
                targets=tuple(
                    Location(path=target) if isinstance(target, str) else Location(**target)
                    for target in [*query["relevant"], *query["secondary"]]
                ),
            )
            for query in task["queries"]
        )
        is_package = "package" in task
        return RepoTask(
            package=task["package" if is_package else "name"],
            version=task["version" if is_package else "revision"],
            root=task["root"],
            queries=queries,
            language="python" if is_package else task["language"],
            pinned=True if is_package else task["pinned"],
        )
    except KeyError as error:
        raise DataError(f"{file}: no field {error.args[0]!r}", remedy=_REMEDY) from error
    except json.JSONDecodeError as error:
        raise DataError(f"{file}, line {error.lineno}: not JSON: {error.msg}", remedy=_REMEDY) from error


def ndcg_at_10(hits: Sequence[Location], targets: Sequence[Location]) -> float:
    """NDCG@10, 0 to 1: each target takes the rank of the first of the ten best hits that meets it.

    Two targets met by one hit count once; the ideal has every target (at most ten) at a rank of its own.

    Example:
        >>> a, b = Location(path="a.py"), Location(path="b.py")
        >>> ndcg_at_10([b, a], [a])
        0.6309297535714575
    """
    ranks = set()
    for target in targets:
        for rank, hit in enumerate(hits[:10], 1):
            if hit.meets(target):
                ranks.add(rank)
                break
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(10, len(targets)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal if ideal else 0.0
