"""The result of one evaluation: the input of tables, plots and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.systems.protocol import Card

HEADLINE = "headline"
SHARED = "shared tasks"
OWN_PART = "own part"
"""Second of a difference between an exit and the same exit without its share of exit 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """A task without its texts."""

    name: str
    family: str
    dataset: str
    protocol: str
    metric: str
    num_queries: int
    num_corpus: int
    clusters: NDArray[np.int32] | None = None
    """Number of each query's cluster, unique over the tasks of the run; None if every query was drawn alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One system on one task, at one exit and width."""

    task: str
    system: str
    exit: int | None
    """None for a system without vectors."""
    width: int | None
    metrics: Mapping[str, float]
    """Means over the queries; holds the task's headline metric and ``METRICS`` of the runner."""
    per_query: NDArray[np.float32] | None = None
    """Headline metric of each query; kept at full width only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a system costs at one exit."""

    system: str
    exit: int | None
    parameters: int | None
    query_tokens: int
    """Length of the texts that ``query_flops`` counts."""
    query_flops: int | None
    latency_ms: float
    """Median time of one query, alone."""
    latency_ms_p95: float
    texts_per_s: float | None
    """Codes embedded a second, in batches: median over the rounds."""
    texts_per_s_spread: tuple[float, float] | None
    """Slowest and fastest round."""
    index_bytes: int
    """Of 1,000 chunks at full width."""
    threads: int
    what: str
    """What exactly was timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system that took part."""

    card: Card
    identity: str
    is_model: bool
    """True for the model under test, False for a peer."""
    widths: Mapping[int, int]
    """Exit -> full width; empty without vectors."""

    @property
    def deepest(self) -> int | None:
        """Its deepest exit; None without vectors."""
        return max(self.widths, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the exit x exit matrix: queries at one exit, corpus at another."""

    task: str
    query_exit: int
    corpus_exit: int
    width: int
    value: float
    """Mean of the task's headline metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """First system minus second, paired by query, with its 95 % bootstrap interval."""

    over: str
    """A task, ``HEADLINE``, or ``SHARED``: the plain mean over the tasks that both ran."""
    first: str
    first_exit: int | None
    second: str
    second_exit: int | None
    mean: float
    low: float
    high: float
    p_value: float | None = None
    """Permutation test that two exits score differently, adjusted for all pairs of exits (Holm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A system that could not take part, or not on all tasks."""

    system: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One evaluation."""

    identity: str
    """Commit or version of the code."""
    date: str
    seconds: float
    environment: Mapping[str, Any]
    options: Mapping[str, Any]
    """What was asked for; a ``limit`` here makes the numbers incomparable to full runs."""
    tasks: Sequence[TaskInfo]
    systems: Sequence[System]
    scores: Sequence[Score]
    matrix: Sequence[Cell]
    costs: Sequence[Cost]
    differences: Sequence[Difference] = ()
    skipped: Sequence[Skipped] = ()
    own_parts: Sequence[Score] = ()
    """The model's exits that hold a share of exit 0, without it; the width is that of the rest."""

    @property
    def model(self) -> System:
        """The system under test."""
        return next(system for system in self.systems if system.is_model)

    def system(self, name: str) -> System:
        """A system by name."""
        return next(system for system in self.systems if system.card.name == name)

    def values(self, system: str, exit_layer: int | None) -> dict[str, NDArray[np.float32]]:
        """Task -> headline metric of each query, at full width."""
        return {
            score.task: score.per_query
            for score in self.scores
            if (score.system, score.exit) == (system, exit_layer) and score.per_query is not None
        }

    def means(self, system: str, exit_layer: int | None, width: int | None) -> dict[str, float]:
        """Task -> mean of its headline metric."""
        metric = {task.name: task.metric for task in self.tasks}
        return {
            score.task: score.metrics[metric[score.task]]
            for score in self.scores
            if (score.system, score.exit, score.width) == (system, exit_layer, width)
        }

    def clusters(self) -> dict[str, NDArray[np.int64]]:
        """Task -> number of each query's cluster, as in `mose.metrics.significance.bootstrap_interval`."""
        found = {}
        start = 1 + max((int(task.clusters.max()) for task in self.tasks if task.clusters is not None), default=0)
        for task in self.tasks:
            alone = np.arange(start, start + task.num_queries)
            found[task.name] = alone if task.clusters is None else task.clusters.astype(np.int64)
            start += task.num_queries
        return found
