"""Compare two results: what changed, and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mose.errors import DataError
from mose.evaluate.differences import intervals
from mose.evaluate.headline import Floats, headline
from mose.evaluate.report.values import Table
from mose.evaluate.result import HEADLINE, SHARED, Result
from mose.metrics.significance import Interval

MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One exit or peer on one task, or on all of them."""

    over: str
    """A task, ``HEADLINE`` or ``SHARED``."""
    system: str
    """``MODEL`` for the systems under test, whatever their names; otherwise the peer."""
    exit: int | None
    before: float
    """Mean of A; of the plain task means for ``SHARED``."""
    after: float
    difference: Interval
    """B minus A."""


def compare(first: Result, second: Result) -> list[Change]:
    """The change of everything that both results measured, models by exit first, then peers.

    Raises:
        DataError: The results have no task in common, or a task differs between them.
    """
    tasks, clusters = _shared_tasks(first, second), second.clusters()
    found = []
    for name, exit_layer, before, after in _pairs(first, second):
        before, after = ({task: side[task] for task in tasks if task in side} for side in (before, after))
        for over, interval in intervals(after, before, clusters):
            mean = _mean_over(over, before, tasks=[task for task in before if task in after])
            found.append(
                Change(
                    over=over,
                    system=name,
                    exit=exit_layer,
                    before=mean,
                    after=mean + interval.mean,
                    difference=interval,
                )
            )
    return found


def _mean_over(over: str, values: Mapping[str, Floats], *, tasks: Sequence[str]) -> float:
    if over in values:
        return float(np.mean(values[over]))
    means = {task: float(np.mean(values[task])) for task in tasks}
    found = headline(means) if over == HEADLINE else float(np.mean(list(means.values())))
    assert found is not None  # the interval over all sets exists only where all sets do
    return found


def _pairs(
    first: Result, second: Result
) -> Iterator[tuple[str, int | None, Mapping[str, Floats], Mapping[str, Floats]]]:
    """Name, exit and values of each system at each exit that both have."""
    names = [(MODEL, first.model.card.name, second.model.card.name)]
    peers = {system.card.name for system in second.systems if not system.is_model}
    names += [
        (system.card.name, system.card.name, system.card.name)
        for system in first.systems
        if not system.is_model and system.card.name in peers
    ]
    for name, in_first, in_second in names:
        exits = {score.exit for score in first.scores if score.system == in_first}
        exits &= {score.exit for score in second.scores if score.system == in_second}
        for exit_layer in sorted(exits, key=lambda exit_layer: exit_layer or 0):
            yield name, exit_layer, first.values(in_first, exit_layer), second.values(in_second, exit_layer)


def _shared_tasks(first: Result, second: Result) -> list[str]:
    known = {task.name: task for task in second.tasks}
    shared = [task for task in first.tasks if task.name in known]
    if not shared:
        raise DataError("the two results have no task in common", remedy="Run both on the same tasks.")
    for task in shared:
        other = known[task.name]
        sizes = (task.num_queries, task.num_corpus, task.metric)
        if sizes != (other.num_queries, other.num_corpus, other.metric):
            raise DataError(
                f"task {task.name} is not the same in the two results: {task.num_queries} queries and"
                f" {task.num_corpus} candidates, and {other.num_queries} and {other.num_corpus}",
                remedy="Run both on the same data, with the same --limit.",
            )
    return [task.name for task in shared]


def change_table(changes: Sequence[Change], first: str, second: str) -> Table:
    """The changes as a table, overall ones first."""
    overall = {HEADLINE: 0, SHARED: 0}
    ordered = sorted(changes, key=lambda change: overall.get(change.over, 1))
    rows = tuple(
        (
            change.over,
            change.system if change.exit is None or change.system != MODEL else f"exit {change.exit}",
            f"{change.before:.3f}",
            f"{change.after:.3f}",
            str(change.difference),
            "yes" if change.difference.excludes_zero else "",
        )
        for change in ordered
    )
    return Table(
        title="What changed",
        note=f"A: {first}. B: {second}. B minus A, paired by query, with 95 % bootstrap intervals.",
        head=("", "", "A", "B", "difference", "beyond noise"),
        rows=rows,
    )
