"""Shared by tables and plots: the entrants, their quality, and the format of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mose.evaluate import headline
from mose.evaluate.result import Cost, Difference, Result, System

Entrant = tuple[System, int | None]
"""A system at one of its exits; exit None for one without vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Head and rows of text, ready to be shown."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    """Cells (row, column) to show in bold: the best of their kind."""


def entrants(result: Result) -> list[Entrant]:
    """The model at each measured exit, shallowest first, then the peers."""
    found: list[Entrant] = []
    for system in result.systems:
        exits = sorted(
            {score.exit for score in result.scores if score.system == system.card.name}, key=lambda e: e or 0
        )
        found += [(system, exit_layer) for exit_layer in exits]
    return found


def label(entrant: Entrant) -> str:
    """Name in tables and plots: the exit of our model, or the name of a peer, with its exit where it has several."""
    system, exit_layer = entrant
    if system.is_model:
        return f"exit {exit_layer}"
    return system.card.name if len(system.widths) < 2 else f"{system.card.name}, exit {exit_layer}"


def quality(result: Result, entrant: Entrant) -> float | None:
    """The headline mean, or in a run without all its sets the mean over the model's tasks; None if it ran on fewer."""
    return mean_quality(result, means_of(result, entrant))


def mean_quality(result: Result, means: dict[str, float]) -> float | None:
    """`quality` of a system by its headline metric of each task."""
    overall = headline.headline(means, [task.name for task in result.tasks])
    if overall is not None or headline.weights([task.name for task in result.tasks]):
        return overall
    return sum(means.values()) / len(means) if len(means) == len(result.tasks) else None


def quality_name(result: Result) -> str:
    """What ``quality`` is in this result, for heads and axes."""
    full = headline.weights([task.name for task in result.tasks])
    return "mean MRR" if full else f"mean over {len(result.tasks)} tasks"


def means_of(result: Result, entrant: Entrant) -> dict[str, float]:
    """Headline metric by task, at the full width of the exit."""
    system, exit_layer = entrant
    width = None if exit_layer is None else system.widths[exit_layer]
    return result.means(system.card.name, exit_layer, width)


def best_cells(values: Sequence[Sequence[float | None]], columns: Iterable[int]) -> frozenset[tuple[int, int]]:
    """Cells with the highest value of their column."""
    found = set()
    for position, column in enumerate(columns):
        known = [row[position] for row in values if row[position] is not None]
        found |= {(number, column) for number, row in enumerate(values) if known and row[position] == max(known)}  # type: ignore[type-var]
    return frozenset(found)


def quality_note(result: Result) -> str:
    """What the mean is taken over, in a sentence."""
    if not headline.weights([task.name for task in result.tasks]):
        return "Not all sets of the headline mean were run: the mean is over the tasks that were."
    return f"Mean MRR: over {len(headline.SETS)} sets ({', '.join(headline.SETS)}); languages within a set first."


def number(value: float | None, digits: int) -> str:
    """A number with so many digits; empty for None."""
    return "" if value is None else f"{value:,.{digits}f}"


def millions(value: int | None) -> str:
    """Millions, such as "22.7 M"; empty for None."""
    return "" if not value else f"{value / 1e6:.1f} M"


def interval(row: Difference | None, *, sign: int = 1) -> str:
    """Mean difference and its 95 % interval, negated by sign -1."""
    if row is None:
        return ""
    # Adding 0.0 makes -0.0 a plain zero.
    mean, *ends = (round(value, 3) + 0.0 for value in (sign * row.mean, *sorted((sign * row.low, sign * row.high))))
    return f"{mean:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"


def p_value(row: Difference | None) -> str:
    """A p-value with two digits, which is what the number of permutations supports."""
    if row is None or row.p_value is None:
        return ""
    return "< 0.01" if row.p_value < 0.01 else f"{row.p_value:.2f}"


def rate(cost: Cost) -> str:
    """Texts a second: median and spread."""
    if cost.texts_per_s is None or cost.texts_per_s_spread is None:
        return ""
    slow, fast = cost.texts_per_s_spread
    return f"{cost.texts_per_s:,.0f} ({slow:,.0f} to {fast:,.0f})"
