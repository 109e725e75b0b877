"""What a pre-training learned on repositories that it never saw: both objectives at every exit, over the steps.

    mose pretrain configs/pretrain-minilm.toml --set data.folder=REPOSITORIES
    python benchmarks/pretrain_curves.py runs/pretrain-minilm [RUN_THAT_WENT_ON ...]

Reads the logs of runs that followed each other, writes benchmarks/results/pretrain-<commit>.json and
docs/plots/pretraining.{svg,png}. A dotted line shows where a run began that goes on from the one before.
"""

from __future__ import annotations

import argparse
import io
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import ROOT, write_result

from mose.evaluate.report.plots import INK, as_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#d9480f", "#e8a317", "#3a9d5d", "#2f6fde", "#7048e8")
PANELS = {
    "token_loss": "masked tokens: loss (nats)",
    "token_accuracy": "masked tokens: share right",
    "pair_accuracy": "same repository?: share right",
}


def events_of(run: Path) -> list[dict[str, Any]]:
    """The events in the log of a run, in order."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf8").splitlines()]


def read_log(run: Path) -> dict[str, Any]:
    """Settings of the start, and what each validation measured."""
    events = events_of(run)
    start = next(event for event in events if event["event"] == "start")
    points, step = [], 0
    for event in events:
        if event["event"] == "step":
            step = event["step"]
        elif event["event"] == "held out":
            points.append({"step": step, **{key: value for key, value in event.items() if key != "event"}})
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf8"))
    settings = {table: config[table] for table in ("objective", "batch", "optimizer")}
    return {"sources": start["sources"], "parameters": start["parameters"], "settings": settings, "points": points}


def joined(runs: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[int]]:
    """The points of all runs with steps that go on, and where a run began that is not the first."""
    points: list[dict[str, Any]] = []
    begun: list[int] = []
    for run in runs:
        before = points[-1]["step"] if points else 0
        begun += [before] if points else []
        points += [{**point, "step": before + point["step"]} for point in run["points"]]
    return points, begun


def draw(points: list[dict[str, Any]], begun: list[int]) -> Figure:
    """One panel for each measure, one line for each exit."""
    import matplotlib
    from matplotlib.figure import Figure

    ink: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    )
    sides: dict[Any, Any] = dict.fromkeys(("axes.spines.top", "axes.spines.right"), False)
    with matplotlib.rc_context({**ink, **sides, "font.size": 10.5}):
        figure = Figure(figsize=(10.5, 3.6), layout="constrained")
        exits = sorted(name for name in points[0] if name.startswith("exit_"))
        for axes, (measure, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for exit_name, colour in zip(exits, COLOURS, strict=False):
                axes.plot(
                    [point["step"] for point in points], [point[exit_name][measure] for point in points],
                    color=colour, linewidth=1.8, label=f"exit {int(exit_name[5:])}",
                )  # fmt: skip
            for step in begun:
                axes.axvline(step, color=INK, linewidth=1, linestyle=":", alpha=0.6)
            axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
            axes.set_xlabel("steps")
            axes.grid(True, color=INK, alpha=0.15)
        axes.axhline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
        axes.legend(frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = [read_log(run) for run in parser.parse_args().runs]
    figure = draw(*joined(runs))
    plots = ROOT / "docs" / "plots"
    (plots / "pretraining.svg").write_text(as_svg(figure), encoding="utf8")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    (plots / "pretraining.png").write_bytes(picture.getvalue())
    write_result("pretrain", {"runs": runs})


if __name__ == "__main__":
    main()
