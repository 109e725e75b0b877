"""Which differences are more than chance: exits against the deepest, the model against each peer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.headline import Floats, weighted
from mose.evaluate.result import HEADLINE, SHARED, Difference, Result
from mose.metrics.significance import Interval, bootstrap_interval, pairwise_p_values

ROUNDS = 2000
"""Resamples, and sign flips, of each interval and test."""


def of_result(result: Result) -> list[Difference]:
    """Every exit against the deepest, with the permutation test; the deepest exit against each peer."""
    model = result.model
    name, deepest = model.card.name, model.deepest
    exits = [exit_layer for exit_layer in model.widths if result.values(name, exit_layer)]
    if not exits:
        return []
    deepest = max(exits)
    own = {exit_layer: result.values(name, exit_layer) for exit_layer in exits}
    p_values = _exit_p_values([own[exit_layer] for exit_layer in exits])
    found = []
    for number, exit_layer in enumerate(exits[:-1]):
        for over, interval in intervals(own[exit_layer], own[deepest]):
            p_value = p_values.get(over, {}).get((number, len(exits) - 1))
            found.append(_difference(over, (name, exit_layer), (name, deepest), interval, p_value))
    for system in result.systems:
        if not system.is_model:
            peer = (system.card.name, system.deepest)
            for over, interval in intervals(own[deepest], result.values(*peer)):
                found.append(_difference(over, (name, deepest), peer, interval, None))
    return found


def intervals(first: Mapping[str, Floats], second: Mapping[str, Floats]) -> Iterator[tuple[str, Interval]]:
    """Task, ``HEADLINE`` or ``SHARED``, and the interval of first minus second.

    Args:
        first: Task -> metric of each query.
        second: The same of the other system; tasks that only one ran are left out.
    """
    shared = [task for task in first if task in second]
    differences: dict[str, NDArray[np.float64]] = {
        task: np.asarray(first[task], dtype=np.float64) - second[task] for task in shared
    }
    overall = weighted(differences)
    if overall:
        yield HEADLINE, bootstrap_interval(overall, rounds=ROUNDS)
    elif shared:
        yield SHARED, bootstrap_interval(list(differences.values()), rounds=ROUNDS)
    for task, difference_Q in differences.items():
        yield task, bootstrap_interval([difference_Q], rounds=ROUNDS)


def _exit_p_values(values: Sequence[Mapping[str, Floats]]) -> dict[str, dict[tuple[int, int], float]]:
    """``HEADLINE`` or ``SHARED`` -> pair of positions -> p-value that the two exits score differently."""
    over = HEADLINE if weighted(values[0]) else SHARED
    rows = []
    for own in values:
        # The mean of task means is a sum over all queries, each divided by the size of its task.
        tasks = weighted(own) or [np.asarray(task, dtype=np.float64) for task in own.values()]
        rows.append(np.concatenate([task / len(task) for task in tasks]))
    table = pairwise_p_values(np.stack(rows), rounds=ROUNDS)
    return {over: {(a, b): float(table[a, b]) for a in range(len(rows)) for b in range(len(rows))}}


def _difference(
    over: str,
    first: tuple[str, int | None],
    second: tuple[str, int | None],
    interval: Interval,
    p_value: float | None,
) -> Difference:
    return Difference(
        over=over,
        first=first[0],
        first_exit=first[1],
        second=second[0],
        second_exit=second[1],
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        p_value=p_value,
    )
