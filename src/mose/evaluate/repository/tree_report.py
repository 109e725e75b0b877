"""The report on one tree, and its means: over all queries and by kind, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.repository.history import TreeState
from mose.evaluate.repository.measure import System
from mose.evaluate.repository.values import KINDS, GoldenSet
from mose.metrics.significance import bootstrap_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeReport:
    """How good search is on one tree, by one model."""

    root: Path
    state: TreeState
    model: str
    """Identity of the model."""
    golden: GoldenSet
    num_files: int
    num_chunks: int
    seed: int
    num_queries: int
    """Asked for, of each kind."""
    budget_tokens: int
    systems: tuple[System, ...]
    values: NDArray[np.float64]
    """[systems, queries, metrics]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Means of one system; ``low`` and ``high`` are the 95 % interval of NDCG@10, by a bootstrap over queries."""

    system: str
    ndcg: float
    low: float
    high: float
    recall: float
    recall_in_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Rows of all systems over some of the queries: "all" of them, or those of one kind."""

    name: str
    num_queries: int
    rows: tuple[Row, ...]


def summaries(report: TreeReport) -> tuple[Summary, ...]:
    """All queries first, then every kind that has some, if there are several."""
    kinds = np.array([query.kind for query in report.golden.queries])
    present = [kind for kind in KINDS if (kinds == kind).any()]
    choices = [("all", np.ones(len(kinds), dtype=np.bool_))] + [(kind, kinds == kind) for kind in present]
    if len(present) == 1:
        choices = choices[1:]
    found = []
    for name, chosen in choices:
        rows = []
        for system, values in zip(report.systems, report.values, strict=True):
            ndcg, recall, recall_in_tokens = values[chosen].mean(axis=0).tolist()
            interval = bootstrap_interval([values[chosen, 0]])
            rows.append(
                Row(
                    system=system.name,
                    ndcg=ndcg,
                    low=interval.low,
                    high=interval.high,
                    recall=recall,
                    recall_in_tokens=recall_in_tokens,
                )
            )
        found.append(Summary(name=name, num_queries=int(chosen.sum()), rows=tuple(rows)))
    return tuple(found)
