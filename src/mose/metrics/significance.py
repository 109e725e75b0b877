"""Significance of differences: paired bootstrap intervals and permutation tests. numpy only.

Everything is paired: both sides answered the same queries. Q queries, E systems (exits). Same seed, same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
_DRAWN_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and the range that resampled means fall into."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True if the difference is significant at the level of the interval."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def bootstrap_interval(
    differences: Sequence[Floats],
    clusters: Sequence[Integers] = (),
    *,
    level: float = 0.95,
    rounds: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a mean of task means.

    Args:
        differences: Per task, the paired differences [Q] of the two systems.
        clusters: Per task, the number of each query's cluster [Q]. Queries that share one, in whichever task, are
            resampled together. Without them queries are resampled one by one within each task.
        level: Share of resampled means inside the interval.
        rounds: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: There is no task, or a task has no query.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; of clusters Davison and
    Hinkley, Bootstrap Methods and their Application (1997), section 3.8.

    Example:
        >>> print(bootstrap_interval([np.array([0.1, 0.1, 0.1])]))
        +0.100 [+0.100, +0.100]
    """
    _require_queries(differences)
    rng = np.random.default_rng(seed)
    if clusters:
        return _interval(differences, _means_over_clusters(differences, clusters, rounds, rng), level)
    means = np.zeros(rounds)
    for difference_Q in differences:
        count = len(difference_Q)
        for span in _spans(rounds, count):
            drawn = rng.integers(count, size=(span.stop - span.start, count), dtype=np.int32)
            means[span] += np.asarray(difference_Q, dtype=np.float64)[drawn].mean(axis=1)
    return _interval(differences, means / len(differences), level)


def _means_over_clusters(
    differences: Sequence[Floats], clusters: Sequence[Integers], rounds: int, rng: np.random.Generator
) -> Floats:
    """Resampled means: in each round as many clusters are drawn, with replacement, as there are. K clusters."""
    names, numbers = np.unique(np.concatenate(clusters), return_inverse=True)
    count = len(names)
    of_task = np.split(numbers, np.cumsum([len(task) for task in clusters])[:-1])
    means = np.zeros(rounds)
    for span in _spans(rounds, count):
        num_rounds = span.stop - span.start
        drawn = rng.integers(count, size=(num_rounds, count)) + count * np.arange(num_rounds)[:, None]
        times_RK = np.bincount(drawn.ravel(), minlength=num_rounds * count).reshape(num_rounds, count)
        for difference_Q, number_Q in zip(differences, of_task, strict=True):
            totals = times_RK @ np.bincount(number_Q, weights=difference_Q, minlength=count)
            sizes = times_RK @ np.bincount(number_Q, minlength=count)
            # A round that draws no query of a task keeps its mean.
            means[span] += np.where(sizes > 0, totals / np.maximum(sizes, 1), np.mean(difference_Q))
    return means / len(differences)


def two_stage_interval(
    differences: Sequence[Floats],
    *,
    level: float = 0.95,
    rounds: int = 10_000,
    seed: int = 0,
    pooled: bool = False,
) -> Interval:
    """As `bootstrap_interval`, for tasks that are themselves a sample: tasks are resampled, then queries within each.

    It shows how far the mean would move with other repositories, not only with other queries on the same ones.

    Args:
        differences: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        rounds: As for `bootstrap_interval`.
        seed: As for `bootstrap_interval`.
        pooled: Every query counts the same, so that a task counts by its size; False for the mean of task means.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.

    Example:
        >>> print(two_stage_interval([np.array([0.1, 0.1]), np.array([0.3, 0.3])]))
        +0.200 [+0.100, +0.300]
    """
    _require_queries(differences)
    rng = np.random.default_rng(seed)
    sums, weights = np.zeros(rounds), np.zeros(rounds)
    for _ in differences:
        chosen = rng.integers(len(differences), size=rounds)
        for task, difference_Q in enumerate(differences):
            weight = len(difference_Q) if pooled else 1
            drawing = np.flatnonzero(chosen == task)
            weights[drawing] += weight
            for span in _spans(len(drawing), len(difference_Q)):
                drawn = rng.integers(len(difference_Q), size=(span.stop - span.start, len(difference_Q)))
                sums[drawing[span]] += weight * np.asarray(difference_Q, dtype=np.float64)[drawn].mean(axis=1)
    return _interval([np.concatenate(differences)] if pooled else differences, sums / weights, level)


def permutation_test(difference_Q: Floats, *, rounds: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value that the paired differences are symmetric around 0: their signs are flipped at random.

    All sign patterns are tried where there are no more than ``rounds``; otherwise the observed one counts as one
    of the drawn, so that p is never 0 (Phipson and Smyth, 2010). Under the null hypothesis the two systems'
    values of a query could be exchanged.

    Raises:
        ValueError: There is no difference at all.

    Example:
        >>> permutation_test(np.array([1.0, 1.0, 1.0]))
        0.25
    """
    difference_Q = np.asarray(difference_Q, dtype=np.float64)
    count = len(difference_Q)
    if not count:
        raise ValueError("no paired differences to permute")
    observed = abs(float(difference_Q.sum()))
    # Sums of the same numbers in another order differ in the last bits: equal ones have to count.
    limit = observed - 1e-12 * float(np.abs(difference_Q).sum())
    exact = count < 63 and 2**count <= rounds
    total = 2**count if exact else rounds
    rng = np.random.default_rng(seed)
    extreme = 0
    for span in _spans(total, count):
        if exact:
            flipped = (np.arange(span.start, span.stop)[:, None] >> np.arange(count)) & 1
        else:
            flipped = rng.integers(2, size=(span.stop - span.start, count), dtype=np.int8)
        sums = difference_Q.sum() - 2.0 * (flipped @ difference_Q)
        extreme += int(np.count_nonzero(np.abs(sums) >= limit))
    return extreme / total if exact else (1 + extreme) / (1 + total)


def pairwise_p_values(values_EQ: Floats, *, rounds: int = 10_000, seed: int = 0) -> Floats:
    """p-value that two systems' values differ, for each pair of them, float64 [E, E], 1 on the diagonal.

    The paper tests that the exits of one model score differently. Adjusted for the number of pairs by Holm's
    step-down method (1979), which bounds the chance of a single false alarm in the table.

    Example:
        >>> pairwise_p_values(np.array([[1.0] * 8, [0.0] * 8, [0.0] * 8]))[0].tolist()
        [1.0, 0.0234375, 0.0234375]
    """
    num_systems = len(values_EQ)
    pairs = list(combinations(range(num_systems), 2))
    plain = [permutation_test(values_EQ[a] - values_EQ[b], rounds=rounds, seed=seed) for a, b in pairs]
    found = np.ones((num_systems, num_systems))
    for (a, b), p_value in zip(pairs, holm(plain), strict=True):
        found[a, b] = found[b, a] = p_value
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the order given.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).

    Example:
        >>> holm([0.25, 0.01])
        [0.25, 0.02]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def _require_queries(differences: Sequence[Floats]) -> None:
    """Raise `ValueError` unless there is a task, and every task has a query."""
    if not differences or any(not len(difference_Q) for difference_Q in differences):
        raise ValueError("no paired differences to resample")


def _interval(differences: Sequence[Floats], means: Floats, level: float) -> Interval:
    """The mean over tasks, and where the middle ``level`` of its resampled values lies."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = float(np.mean([np.mean(difference_Q) for difference_Q in differences]))
    return Interval(mean=mean, low=float(low), high=float(high))


def _spans(total: int, width: int) -> Iterator[slice]:
    """Consecutive spans of ``total`` rows, each small enough to hold ``width`` numbers a row in memory."""
    step = max(1, _DRAWN_AT_ONCE // width)
    for start in range(0, total, step):
        yield slice(start, min(total, start + step))
