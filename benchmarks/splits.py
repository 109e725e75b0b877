"""NDCG@10 of repository search over both development splits, by language and repository, with intervals.

A mean is one over repositories; its interval resamples repositories, and queries within each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from results import write_result

from mose.evaluate.repository.benchmark import Location, RepoTask, load_tasks, ndcg_at_10
from mose.metrics.significance import Interval, two_stage_interval
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions

NAME = "cascade-repo-search"
SPLITS = {
    "python": "all Python packages",
    "pinned": "all pinned repositories in other languages",
    "older": "all others, at an older state than the benchmark's",
}
Values = dict[str, dict[str, Any]]
"""By repository: its split, its language and the score of each query, in the order of the task file."""


def evaluate_splits(args: argparse.Namespace) -> None:
    """Search every tree of both splits as a first search does, and report."""
    jobs = [("python", args.sources, task) for task in load_tasks(args.data / "repo-search")]
    for task in load_tasks(args.data / "repo-search-languages"):
        jobs.append(("pinned" if task.pinned else "older", args.trees, task))
    values: Values = {}
    for split, folder, task in jobs:
        if args.packages and task.package not in args.packages:
            continue
        scores = _scores(task, folder / task.package / task.root, args)
        values[task.package] = {"split": split, "language": task.language, "scores": scores}
        print(f"{task.package:20} {np.mean(scores):.3f}", flush=True)
    against = json.loads(args.against.read_text(encoding="utf8")) if args.against else None
    print()
    for name, count, mean, gain in rows(values, against and against["repositories"]):
        print(f"{name:55} {count:4}  {interval(mean)}  {difference(gain)}")
    write_result(NAME, {"model": str(args.model), "budget_s": args.budget, "repositories": values})


def _scores(task: RepoTask, root: Path, args: argparse.Namespace) -> list[float]:
    scores = []
    with CodeIndex.open(root, model=args.model) as index:
        for query in task.queries:
            hits = index.search(query.text, SearchOptions(limit=10, budget_s=args.budget))
            locations = [Location(path=hit.path, start_line=hit.start_line, end_line=hit.end_line) for hit in hits]
            scores.append(round(ndcg_at_10(locations, query.targets), 4))
    return scores


Row = tuple[str, int, Interval, Interval | None]


def rows(values: Values, against: Values | None = None) -> list[Row]:
    """By split, language and repository: queries, mean, and the paired difference to another result."""
    found = []
    for split, title in SPLITS.items():
        inside = {name: value for name, value in values.items() if value["split"] == split}
        found.append((title, sorted(inside)))
        languages = sorted({value["language"] for value in inside.values()})
        for language in languages if len(languages) > 1 else ():
            names = sorted(name for name, value in inside.items() if value["language"] == language)
            found.append((f"{language}: {', '.join(names)}", names))
        if len(languages) == 1:
            found += [(name, [name]) for name in sorted(inside)]
    return [_row(name, members, values, against) for name, members in found if members]


def _row(name: str, members: list[str], values: Values, against: Values | None) -> Row:
    scores = [np.array(values[member]["scores"]) for member in members]
    gain = None
    if against is not None and all(member in against for member in members):
        before = [np.array(against[member]["scores"]) for member in members]
        gain = two_stage_interval([own - other for own, other in zip(scores, before, strict=True)])
    return name, sum(map(len, scores)), two_stage_interval(scores), gain


def interval(mean: Interval) -> str:
    """A mean and the ends of its interval.

    Example:
        >>> interval(Interval(mean=0.9, low=0.85, high=0.95))
        '0.900 [0.850, 0.950]'
    """
    return f"{mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]"


def difference(gain: Interval | None) -> str:
    """A paired difference and the ends of its interval; "" if nothing was compared."""
    return "" if gain is None else str(gain)
