"""Compare a run with a baseline."""

from __future__ import annotations

from dataclasses import dataclass

from mose.errors import DataError
from mose.evaluate.repository.baseline import Baseline
from mose.evaluate.repository.tree_report import TreeReport
from mose.metrics.significance import bootstrap_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """NDCG@10 of one system now minus then, over the queries that both runs have."""

    system: str
    before: float
    now: float
    low: float
    high: float
    """95 % interval of the difference, by a paired bootstrap over queries."""

    @property
    def is_regression(self) -> bool:
        """True if the whole interval is below 0."""
        return self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A run compared with a baseline."""

    num_shared: int
    num_gone: int
    """Queries of the baseline that the tree no longer gives; they are left out."""
    same_model: bool
    differences: tuple[Difference, ...]

    @property
    def regressions(self) -> tuple[Difference, ...]:
        """Differences that are worse beyond noise."""
        return tuple(difference for difference in self.differences if difference.is_regression)


def check(report: TreeReport, baseline: Baseline) -> Check:
    """Compare a run with a baseline, query by query.

    Raises:
        DataError: They have too few queries in common, or no system.
    """
    columns = {query.key: column for column, query in enumerate(report.golden.queries)}
    shared = [(columns[key], row) for row, key in enumerate(baseline.keys) if key in columns]
    now_columns, then_rows = map(list, zip(*shared, strict=True))
    differences = []
    for system, values in zip(report.systems, report.values, strict=True):
        if system.name in baseline.values:
            now, before = values[now_columns, 0], baseline.values[system.name][then_rows, 0]
            interval = bootstrap_interval([now - before])
            differences.append(
                Difference(
                    system=system.name,
                    before=float(before.mean()),
                    now=float(now.mean()),
                    low=interval.low,
                    high=interval.high,
                )
            )
    if not differences:
        raise DataError(
            "the baseline has none of the exits measured now",
            got=", ".join(baseline.values),
            allowed=", ".join(system.name for system in report.systems),
            remedy="Measure its exits with --exit, or make a new baseline.",
        )
    return Check(
        num_shared=len(shared),
        num_gone=len(baseline.keys) - len(shared),
        same_model=report.model == baseline.model,
        differences=tuple(differences),
    )
