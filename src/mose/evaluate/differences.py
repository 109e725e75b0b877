"""Which differences are more than chance: exits against the deepest, the model against each peer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.headline import Floats, weighted
from mose.evaluate.result import HEADLINE, OWN_PART, SHARED, Difference, Result
from mose.metrics.significance import Integers, Interval, bootstrap_interval, pairwise_p_values

_Entrant = tuple[str, int | None]
"""Name and exit of a system."""
ROUNDS = 2000
"""Resamples, and sign flips, of each interval and test."""


def of_result(result: Result) -> list[Difference]:
    """Every exit against the deepest, with its p-value, and against its own part; the deepest against each peer."""
    model, clusters = result.model, result.clusters()
    name = model.card.name
    own = {exit_layer: values for exit_layer in model.widths if (values := result.values(name, exit_layer))}
    if not own:
        return []
    deepest = max(own)
    over_all, p_values = _exit_p_values(own, clusters)
    pairs: list[tuple[_Entrant, _Entrant]] = [
        ((name, exit_layer), (name, deepest)) for exit_layer in own if exit_layer != deepest
    ]
    for system in result.systems:
        if not system.is_model:
            pairs += [((name, deepest), (system.card.name, exit_layer)) for exit_layer in system.widths or (None,)]
    parts = own_part_values(result)
    pairs += [((name, exit_layer), (OWN_PART, exit_layer)) for exit_layer in parts]
    found = []
    for first, second in pairs:
        other = parts[second[1]] if second[0] == OWN_PART else result.values(*second)
        for over, interval in intervals(result.values(*first), other, clusters):
            found.append(
                Difference(
                    over=over,
                    first=first[0],
                    first_exit=first[1],
                    second=second[0],
                    second_exit=second[1],
                    mean=interval.mean,
                    low=interval.low,
                    high=interval.high,
                    p_value=p_values[first[1]] if second == (name, deepest) and over == over_all else None,
                )
            )
    return found


def own_part_values(result: Result) -> dict[int | None, dict[str, Floats]]:
    """Exit -> task -> metric of each query, without the share of exit 0."""
    found: dict[int | None, dict[str, Floats]] = {}
    for score in result.own_parts:
        if score.per_query is not None:
            found.setdefault(score.exit, {})[score.task] = score.per_query
    return found


def intervals(
    first: Mapping[str, Floats], second: Mapping[str, Floats], clusters: Mapping[str, Integers]
) -> Iterator[tuple[str, Interval]]:
    """Task, ``HEADLINE`` or ``SHARED``, and the interval of first minus second.

    Args:
        first: Task -> metric of each query.
        second: The same of the other system; tasks that only one ran are left out.
        clusters: Task -> cluster of each query, as in `bootstrap_interval`.
    """
    differences: dict[str, NDArray[np.float64]] = {
        task: np.asarray(first[task], dtype=np.float64) - second[task] for task in first if task in second
    }
    overall = weighted(differences)
    if differences:
        together = overall or differences
        numbers = [clusters[task] for task in together]
        yield HEADLINE if overall else SHARED, bootstrap_interval(list(together.values()), numbers, rounds=ROUNDS)
    for task, difference_Q in differences.items():
        yield task, bootstrap_interval([difference_Q], [clusters[task]], rounds=ROUNDS)


def _exit_p_values(
    own: Mapping[int, Mapping[str, Floats]], clusters: Mapping[str, Integers]
) -> tuple[str, dict[int | None, float]]:
    """``HEADLINE`` or ``SHARED``, and exit -> p-value that it and the deepest score differently.

    The mean of task means is a sum over all queries, each divided by the size of its task. Queries of one cluster are
    one observation: their sum.
    """
    rows = []
    for values in own.values():
        tasks = weighted(values) or values
        numbers = np.unique(np.concatenate([clusters[task] for task in tasks]), return_inverse=True)[1]
        rows.append(np.bincount(numbers, np.concatenate([task_Q / len(task_Q) for task_Q in tasks.values()])))
    table = pairwise_p_values(np.stack(rows), rounds=ROUNDS)
    over = HEADLINE if weighted(next(iter(own.values()))) else SHARED
    deepest = list(own).index(max(own))
    return over, {exit_layer: float(table[row, deepest]) for row, exit_layer in enumerate(own)}
