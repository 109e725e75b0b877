"""The development splits of repository search: their trees, and means by split, language and repository with intervals.

A mean is one over repositories; its interval resamples repositories, and queries within each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mose.evaluate.repository.benchmark import RepoTask, load_tasks
from mose.metrics.significance import Interval, two_stage_interval

DEEPEST = "fused, deepest exit"
"""The search as users run it."""
SPLITS = {
    "python": "all Python packages",
    "pinned": "all pinned repositories in other languages",
    "older": "all others, at an older state than the benchmark's",
}
Values = dict[str, dict[str, Any]]
"""By repository: its split, its language and the score of each query, in the order of the task file."""
Row = tuple[str, int, Interval, Interval | None]


def tasks(data: Path, sources: Path, trees: Path | None) -> Iterator[tuple[str, Path, RepoTask]]:
    """Split, folder to search and task of each repository; Python alone without ``trees``."""
    for task in load_tasks(data / "repo-search"):
        yield "python", sources / task.package / task.root, task
    for task in load_tasks(data / "repo-search-languages") if trees else ():
        yield "pinned" if task.pinned else "older", trees / task.package / task.root, task


def of_system(values: Values, system: str = DEEPEST) -> Values:
    """The scores of one system; earlier results hold no other."""
    return {
        name: {**value, "scores": value["scores"][system] if isinstance(value["scores"], dict) else value["scores"]}
        for name, value in values.items()
        if not isinstance(value["scores"], dict) or system in value["scores"]
    }


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


def part_rows(values: Values) -> Iterator[tuple[str, str, int, Interval, Interval | None]]:
    """By system and split: queries, mean, and the paired difference of the search as users run it to that system."""
    systems = dict.fromkeys(system for value in values.values() for system in value["scores"])
    for system in systems:
        scores, whole = of_system(values, system), of_system(values)
        for split, title in SPLITS.items():
            members = sorted(name for name, value in scores.items() if value["split"] == split)
            if members:
                _, count, mean, _ = _row(title, members, scores, None)
                yield system, title, count, mean, _row(title, members, whole, scores)[3]


def _row(name: str, members: list[str], values: Values, against: Values | None) -> Row:
    scores = [tuple(values[member]["scores"]) for member in members]
    gain = None
    if against is not None and all(member in against for member in members):
        before = [against[member]["scores"] for member in members]
        pairs = zip(scores, before, strict=True)
        gain = _interval(tuple(tuple(np.subtract(own, other).tolist()) for own, other in pairs))
    return name, sum(map(len, scores)), _interval(tuple(scores)), gain


@cache
def _interval(differences: tuple[tuple[float, ...], ...]) -> Interval:
    """Tables show one result beside many others, and ten thousand rounds of drawing take a while."""
    return two_stage_interval([np.array(difference) for difference in differences])


def category_means(values: Values, split: str) -> dict[str, float]:
    """Mean of each kind of query in a split, by repository first."""
    means: dict[str, list[float]] = {}
    for value in values.values():
        if value["split"] != split:
            continue
        scores, kinds = np.array(value["scores"]), np.array(value["categories"])
        for kind in sorted(set(kinds.tolist())):
            means.setdefault(kind, []).append(float(scores[kinds == kind].mean()))
    return {kind: float(np.mean(found)) for kind, found in sorted(means.items())}


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
