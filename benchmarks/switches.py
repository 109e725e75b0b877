"""Every switch of the loss, the batches and the start, one at a time, against the paper's plain recipe.

    python benchmarks/switches.py configs/ablation.toml --steps 80 --work runs/switches

Equal steps, equal data, one seed; mean reciprocal rank on the validation files at every exit, with paired
bootstrap intervals of the difference to the plain recipe (over queries: they do not hold the spread between
seeds). Finished runs are kept in --work, so that the command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from results import write_result
from self_distillation import Ranks, interval, kept, measure, opened, tasks_and_start

from mose.config import FinetuneConfig, parse_overrides, read_toml
from mose.model.checkpoint import load_model
from mose.train.device import choose_device, choose_precision
from mose.train.retrieval.hard_negatives import MiningConfig, mine_hard_negatives
from mose.train.retrieval.run import run

SWITCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "heads start as the identity": {"heads.fit": 0},
    "row distillation 1.0": {"loss.distill_rows": 1.0},
    "vector distillation 0.5": {"loss.distill_vectors": 0.5},
    "aligned exits 0.5": {"loss.aligned": 0.5},
    "widths 192, 96": {"loss.widths": (192, 96), "loss.width_weight": 0.5},
    "last exit alone": {"loss.exit_weights": (0.0, 0.0, 0.0, 0.0, 1.0)},
    "exit 4 alone": {"loss.exit_weights": (0.0, 0.0, 0.0, 1.0, 0.0)},
    "without the last exit": {"loss.exit_weights": (0.0, 1 / 3, 1 / 2, 2 / 3, 0.0)},
    "without exits 2 and 3": {"loss.exit_weights": (0.0, 0.0, 0.0, 2 / 3, 1.0)},
    "heavier last exit": {"loss.exit_weights": (0.0, 1 / 3, 1 / 2, 2 / 3, 2.0)},
    "heavier exit 3": {"loss.exit_weights": (0.0, 1 / 3, 1.5, 2 / 3, 1.0)},
    "queue of 1,024": {"loss.queue": 1024, "loss.queue_momentum": 0.0},
    "queue of 1,024 of a slow copy": {"loss.queue": 1024, "loss.queue_momentum": 0.99},
    "two hard negatives a row": {"data.hard_negatives": 2},
    "sources mixed in a batch": {"batch.mixed": True},
    "neighbours in one batch, 16": {"batch.neighbours": 16},
    "names and variables as they are": {
        "data.rename": 0.0,
        "data.hide_name": 0.0,
        "sources": {"rename": None, "hide_name": None},
    },
    "lowest two blocks frozen": {"start.freeze_layers": 2},
    "embeddings trained": {"start.freeze_embeddings": False},
    "exit 0 has a share of 0.3": {"heads.table_share": 0.3},
    "three codes in ten described": {"data.describe": 0.3},
    "scale from 20": {"loss.scale_start": 20.0},
    "twice the rate": {"optimizer.rate": 4e-4},
    "half the rate": {"optimizer.rate": 1e-4},
}
"""Name -> dotted key -> value, put over the config; "sources" changes every source."""


def changed(config: FinetuneConfig, changes: dict[str, Any]) -> FinetuneConfig:
    for key, value in changes.items():
        if key == "sources":
            sources = tuple(dataclasses.replace(source, **value) for source in config.data.sources)
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, sources=sources))
            continue
        part, name = key.split(".")
        config = dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **{name: value})})
    return config


def with_negatives(config: FinetuneConfig, work: Path) -> FinetuneConfig:
    """Each source of texts reads its file with the hard negatives that the start model's exit 0 finds in it."""
    sources = []
    for source in config.data.sources:
        if source.task == "text-code":
            out = (work / "negatives" / source.file).resolve()
            if not out.exists():
                out.parent.mkdir(parents=True, exist_ok=True)
                mine_hard_negatives(
                    config.start.folder, Path(config.data.folder) / source.file, out, MiningConfig(exit_layer=0)
                )
            source = dataclasses.replace(source, file=str(out))
        sources.append(source)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, sources=tuple(sources)))


def measured(config: FinetuneConfig, name: str, work: Path, tasks: list[Any]) -> Ranks:
    folder = work / name.replace(" ", "-").replace(",", "").replace(".", "")
    chosen = changed(config, {**SWITCHES[name], "run.folder": str(folder)})
    if chosen.data.hard_negatives:
        chosen = with_negatives(chosen, work)
    found = kept(folder / "ranks.npz", lambda: measure(load_model(run(chosen)), tasks, config))
    mean = {exit_layer: round(float(pooled(found, exit_layer).mean()), 4) for exit_layer in exits_of(found)}
    print(json.dumps({"switch": name, "mean": mean}), file=sys.stderr, flush=True)
    return found


def exits_of(ranks: Ranks) -> list[int]:
    return sorted({int(name.rsplit("_", 1)[1]) for name in ranks})


def pooled(ranks: Ranks, exit_layer: int) -> np.ndarray[Any, Any]:
    return np.concatenate([ranks[name] for name in sorted(ranks) if name.endswith(f"/exit_{exit_layer:02d}")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--work", default="runs/switches", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(SWITCHES), default=list(SWITCHES))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    overrides = {"run.steps": given.steps, **parse_overrides(given.set)}
    config = read_toml(given.config, FinetuneConfig, overrides=overrides)
    tasks, _ = tasks_and_start(config)
    config = changed(config, {"validation.every": 0, "validation.tasks": ()})
    names = ["plain", *(name for name in given.only if name != "plain")]
    work = opened(given.work, config)
    found = {name: measured(config, name, work, tasks) for name in names}
    plain = found["plain"]
    rows = {
        name: {
            str(exit_layer): [
                float(pooled(ranks, exit_layer).mean()),
                *interval(pooled(ranks, exit_layer) - pooled(plain, exit_layer)),
            ]
            for exit_layer in exits_of(ranks)
        }
        for name, ranks in found.items()
    }
    exits = exits_of(plain)
    print("switch".ljust(34) + "".join(f"exit {exit_layer}".rjust(16) for exit_layer in exits))
    for name, row in rows.items():
        cells = (row.get(str(exit_layer)) for exit_layer in exits)
        print(name.ljust(34) + "".join(f"{c[0]:.3f} ({c[1]:+.3f})".rjust(16) if c else " " * 16 for c in cells))
    write_result(
        "switches",
        {
            "steps": given.steps,
            "pairs": config.batch.pairs,
            "precision": choose_precision(config.run.precision, choose_device(config.run.device)),
            "queries": len(pooled(plain, exits[-1])),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
