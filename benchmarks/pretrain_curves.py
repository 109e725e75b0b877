"""What a pre-training learned on repositories that it never saw: both objectives at every exit, over the steps.

    mose pretrain configs/pretrain-minilm.toml --set data.folder=REPOSITORIES
    python benchmarks/pretrain_curves.py runs/pretrain-minilm

Reads the run's log, writes benchmarks/results/pretrain-<commit>.json and docs/plots/pretraining.{svg,png}.
"""

from __future__ import annotations

import argparse
import io
import json
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


def read_log(run: Path) -> dict[str, Any]:
    """Settings of the start, and what each validation measured."""
    events = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf8").splitlines()]
    start = next(event for event in events if event["event"] == "start")
    points, step = [], 0
    for event in events:
        if event["event"] == "step":
            step = event["step"]
        elif event["event"] == "held out":
            points.append({"step": step, **{key: value for key, value in event.items() if key != "event"}})
    return {"sources": start["sources"], "parameters": start["parameters"], "points": points}


def draw(points: list[dict[str, Any]]) -> Figure:
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
            axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
            axes.set_xlabel("steps")
            axes.grid(True, color=INK, alpha=0.15)
        axes.axhline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
        axes.legend(frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    found = read_log(parser.parse_args().run)
    figure = draw(found["points"])
    plots = ROOT / "docs" / "plots"
    (plots / "pretraining.svg").write_text(as_svg(figure), encoding="utf8")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    (plots / "pretraining.png").write_bytes(picture.getvalue())
    write_result("pretrain", found)


if __name__ == "__main__":
    main()
