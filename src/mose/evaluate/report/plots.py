"""Plots of a report. Text and axes have one colour, which the HTML page replaces by its own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mose.evaluate.report.tables import matrix_values
from mose.evaluate.report.values import Entrant, entrants, label, quality, quality_name
from mose.evaluate.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#2b2f36"
"""Text, axes and labels."""
_MODEL = "#2f6fde"
_PEERS = ("#d9480f", "#2b8a3e", "#9c36b5", "#b08900", "#087f8c")
_NEAR = 1.4
"""Labels of times with a smaller ratio would overlap."""
_ABOVE = (-42.0, 9.0)


def pareto(result: Result) -> Figure | None:
    """Quality over the time of a query: our exits as a line, peers as points; None without points."""
    times = {(cost.system, cost.exit): cost.latency_ms for cost in result.costs}
    points: list[tuple[Entrant, float, float]] = []
    for entrant in entrants(result):
        value, time = quality(result, entrant), times.get((entrant[0].card.name, entrant[1]))
        if value is not None and time is not None:
            points.append((entrant, time, value))
    if not points:
        return None
    with _style():
        figure, axes = _figure(7.2, 4.6)
        own = [(time, value) for (system, _), time, value in points if system.is_model]
        axes.plot(*zip(*own, strict=True), color=_MODEL, marker="o", linewidth=2, markersize=7, zorder=3)
        colours = iter(_PEERS * (1 + len(points) // len(_PEERS)))
        for position, (entrant, time, value) in enumerate(points):
            colour, offset, side = _MODEL, _own_label(position, points), "left"
            if not entrant[0].is_model:
                colour, offset, side = next(colours), (0, 12), "center"
                axes.scatter([time], [value], color=colour, marker="D", s=48, zorder=4)
            axes.annotate(
                label(entrant), (time, value), xytext=offset, textcoords="offset points", color=colour,
                fontweight="bold", fontsize=9.5, ha=side, va="center", zorder=5,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.margins(x=0.13, y=0.16)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("ms a query, alone (log scale)")
        axes.set_ylabel(quality_name(result))
        axes.set_title(f"{result.model.card.name}: quality over time", loc="left", fontweight="bold")
        axes.grid(True, which="major", alpha=0.25)
    return figure


def heat_map(result: Result) -> Figure | None:
    """The exit x exit matrix; None for a model of one exit."""
    values = matrix_values(result)
    exits = sorted({query_exit for query_exit, _ in values})
    if len(exits) < 2:
        return None
    grid = np.array([[values[query, corpus] for corpus in exits] for query in exits])
    with _style():
        figure, axes = _figure(1.6 + 0.85 * len(exits), 1.4 + 0.75 * len(exits))
        axes.imshow(grid, cmap="Blues", vmin=0, vmax=max(grid.max() * 1.15, 1e-9), aspect="auto")
        names = [str(exit_layer) for exit_layer in exits]
        axes.set_xticks(range(len(exits)), names)
        axes.set_yticks(range(len(exits)), names)
        axes.set_xlabel("corpus at exit")
        axes.set_ylabel("query at exit")
        axes.set_title("Exit by exit", loc="left", fontweight="bold")
        for side in axes.spines.values():
            side.set_visible(False)
        for (row, column), value in np.ndenumerate(grid):
            colour = "#ffffff" if value > 0.6 * grid.max() else "#10203a"
            axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour, fontsize=10)
    return figure


def as_png(figure: Figure) -> bytes:
    """The figure on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    return buffer.getvalue()


def as_svg(figure: Figure) -> str:
    """The figure on a transparent background, with text as text; deterministic."""
    with _style():
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    ink = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    )
    other: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "mose",
        "font.size": 10.5,
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(cast("Any", {**ink, **other})):
        yield


def _own_label(position: int, points: list[tuple[Entrant, float, float]]) -> tuple[float, float]:
    """Offset in points of the label of one of our exits: clear of the line, and of a near label before it."""
    following = points[position + 1] if position + 1 < len(points) else None
    if following is None or not following[0][0].is_model:
        return 9.0, 0.0
    before = points[position - 1] if position else None
    near = before is not None and before[0][0].is_model and points[position][1] < _NEAR * before[1]
    if near and _own_label(position - 1, points) != _ABOVE:
        return _ABOVE
    return (7.0, -9.0) if following[2] >= points[position][2] else (-20.0, -14.0)  # peers are named above theirs
