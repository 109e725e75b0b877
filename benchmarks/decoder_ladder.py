"""A decoder as a ladder of exits: every exit before and after a short fine-tuning with the multi-exit loss.

    python benchmarks/decoder_ladder.py configs/smollm2.toml --set data.folder=DATA

Mean reciprocal rank on the validation tasks of the config, beside another model's exits (--beside, the shipped one) on the
same tasks; GFLOPs of a token of 128 stand for time. Intervals: 95 %, paired bootstrap over the queries of each task.
What was measured is kept in --work, so that the command continues an interrupted run.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from results import write_result
from self_distillation import kept, measure, opened, tasks_and_start

from mose.config import FinetuneConfig, parse_overrides, read_toml
from mose.metrics.significance import bootstrap_interval
from mose.model.checkpoint import load_model
from mose.model.info import flops_per_token
from mose.model.settings import ModelSettings
from mose.train.retrieval.run import run

_TOKENS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--beside", default="checkpoints/small")
    parser.add_argument("--work", type=Path, default=Path("runs/decoder-ladder"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    config = read_toml(given.config, FinetuneConfig, overrides=parse_overrides(given.set))
    work = opened(given.work, config)
    tasks, start = tasks_and_start(config)
    before = kept(work / "before.npz", lambda: measure(start, tasks, config))
    other = dataclasses.replace(config, start=dataclasses.replace(config.start, folder=given.beside))
    beside = kept(work / "beside.npz", lambda: measure(load_model(given.beside).float(), tasks, other))
    changed = dataclasses.replace(config, run=dataclasses.replace(config.run, folder=str(work / "run")))
    after = kept(work / "after.npz", lambda: measure(load_model(run(changed)), tasks, config))

    def row(settings: ModelSettings, exit_layer: int, *measured: dict[str, Any]) -> dict[str, Any]:
        values = [[found[f"{task.name}/exit_{exit_layer:02d}"] for task in tasks] for found in measured]
        means = [sum(float(ranks.mean()) for ranks in each) / len(tasks) for each in values]
        found: dict[str, Any] = {"gflops": flops_per_token(settings, exit_layer, length=_TOKENS) / 1e9, "mrr": means}
        if len(values) == 2:
            gain = bootstrap_interval([new - old for old, new in zip(*values, strict=True)])
            found["gain"] = [gain.mean, gain.low, gain.high]
        return found

    small = ModelSettings.read(given.beside)
    rows = {f"exit {layer}": row(start.settings, layer, before, after) for layer in start.settings.exits}
    rows |= {f"{Path(given.beside).name}, exit {layer}": row(small, layer, beside) for layer in small.exits if layer}
    for name, values in rows.items():
        print(name, values)
    queries = {task.name: len(task.relevant) for task in tasks}
    write_result(
        "decoder-ladder",
        {"steps": config.run.steps, "pairs": config.batch.pairs, "queries": queries, "rows": rows},
    )


if __name__ == "__main__":
    main()
