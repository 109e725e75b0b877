"""A baseline: the values of an earlier run, stored in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mose
from mose.errors import DataError
from mose.evaluate.repository.golden import fingerprint
from mose.evaluate.repository.measure import METRICS
from mose.evaluate.repository.tree_report import TreeReport
from mose.evaluate.repository.values import KINDS
from mose.json_reading import parse_json
from mose.storage import write_json

FORMAT = "mose eval-repo, 1"
_SMALLEST_SHARE = 0.1
_REMEDY = "Make a new one: mose eval-repo PATH --save FILE."


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """An earlier run; fields as of `mose.evaluate.repository.tree_report.TreeReport`."""

    version: str
    model: str
    commit: str
    is_dirty: bool
    golden: str
    """Hash of queries and answers."""
    seed: int
    num_queries: int
    budget_tokens: int
    keys: tuple[tuple[str, str], ...]
    """Kind and text of every query."""
    values: Mapping[str, NDArray[np.float64]]
    """System -> values [queries, metrics]."""

    @property
    def exits(self) -> tuple[int, ...]:
        """Exits that were measured."""
        return tuple(sorted({int(name.split()[1]) for name in self.values if " " in name}))


def save_baseline(report: TreeReport, path: Path) -> None:
    """Write a run as a baseline, atomically.

    Raises:
        DataError: The file cannot be written.
    """
    queries = [
        {
            "kind": query.kind,
            "text": query.text,
            "targets": [target.path for target in query.targets],
            "values": {system.name: report.values[row, column].tolist() for row, system in enumerate(report.systems)},
        }
        for column, query in enumerate(report.golden.queries)
    ]
    content = {
        "format": FORMAT,
        "mose": mose.__version__,
        "model": report.model,
        "tree": {"name": report.root.name, "commit": report.state.commit, "dirty": report.state.is_dirty},
        "golden": fingerprint(report.golden.queries),
        "seed": report.seed,
        "num_queries": report.num_queries,
        "budget_tokens": report.budget_tokens,
        "metrics": METRICS,
        "queries": queries,
    }
    try:
        write_json(path, content)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}", remedy="Name a file elsewhere.") from error


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        DataError: The file is missing or damaged, or is not a baseline; names the field or line.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"there is no baseline {path}", remedy=_REMEDY) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", remedy=_REMEDY) from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno} is not JSON: {error.msg}", remedy=_REMEDY) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text", remedy=_REMEDY) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        got = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path} is not a baseline", got=got, allowed=FORMAT, remedy=_REMEDY)
    try:
        return _parsed(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no field {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} is damaged: {what}", remedy=_REMEDY) from error


def _parsed(content: dict[str, Any]) -> Baseline:
    queries = content["queries"]
    if not queries:
        raise ValueError("it has no queries")
    if list(content["metrics"]) != list(METRICS):
        raise ValueError(f"its metrics are {content['metrics']}")
    for number, query in enumerate(queries):
        if query["kind"] not in KINDS or not isinstance(query["text"], str):
            raise ValueError(f"query {number + 1} has no kind or text")
    values = {name: np.array([query["values"][name] for query in queries]) for name in queries[0]["values"]}
    for name, rows in values.items():
        if rows.shape != (len(queries), len(METRICS)) or not np.issubdtype(rows.dtype, np.number):
            raise ValueError(f"values of {name!r} are not {len(METRICS)} numbers a query")
        if not ((rows >= 0) & (rows <= 1)).all():
            raise ValueError(f"a value of {name!r} is not between 0 and 1")
    return Baseline(
        version=str(content["mose"]),
        model=str(content["model"]),
        commit=str(content["tree"]["commit"]),
        is_dirty=bool(content["tree"]["dirty"]),
        golden=str(content["golden"]),
        seed=int(content["seed"]),
        num_queries=int(content["num_queries"]),
        budget_tokens=int(content["budget_tokens"]),
        keys=tuple((query["kind"], query["text"]) for query in queries),
        values={name: rows.astype(np.float64) for name, rows in values.items()},
    )


def check_shared(num_shared: int, baseline: Baseline) -> None:
    """Raise `DataError` unless the tree still has enough queries of the baseline."""
    if num_shared < max(1, _SMALLEST_SHARE * len(baseline.keys)):
        raise DataError(
            f"the baseline is of another tree: {num_shared} of its {len(baseline.keys)} queries are found here",
            remedy="Name the tree that it was made from, or make a new one with --save.",
        )
