"""Muon against AdamW: tokens of pre-training until the loss of masked tokens on held-out repositories reaches a target.

    python benchmarks/muon.py configs/muon.toml --rates 1e-3 3e-3 1e-2 --seeds 0 1 2 --set data.folder=PACKAGES

A fresh "tiny" model that reads bytes. The rate of each optimizer is chosen on --sweep-seed, by the lowest loss at the
deepest exit after all steps; the target is what the worse of both had there after four fifths of them. Then both train
with their rates from every seed, on the same batches, at a constant rate after the warm-up, so that the schedule does
not decide. Finished runs are kept in --work: the command goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pretrain_curves import events_of
from results import write_result
from self_distillation import opened
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from mose.config import PretrainConfig, parse_overrides, read_toml
from mose.model.presets import preset
from mose.model.pretraining.new import new_model
from mose.train.pretrain.run import run

KINDS = ("adamw", "muon")
Curve = list[tuple[float, float]]
"""Tokens seen, loss of masked tokens at the deepest exit."""


def bytes_model(folder: Path) -> str:
    """Folder of a fresh "tiny" model that reads single bytes; made by the first call."""
    if not (folder / "model").exists():
        settings = preset("tiny")
        special = [settings.pad_token, settings.cls_token, settings.sep_token, str(settings.mask_token)]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        size = len(special) + len(alphabet)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator([], trainer)
        folder.mkdir(parents=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        plain = {"vocab_size": size, "code_template": "{sep}{text}{cls}", "query_template": "{sep}{text}{cls}"}
        new_model("tiny", folder / "model", folder, changes=plain)
    return str(folder / "model")


def curve(config: PretrainConfig) -> Curve:
    """Losses over the tokens of one run, which is continued, or read if it is finished."""
    folder = Path(config.run.folder)
    if not (folder / "model").exists():
        run(config)
        print(folder.name, file=sys.stderr, flush=True)
    tokens: dict[int, float] = {}
    losses: dict[int, float] = {}
    for event in events_of(folder):
        if event["event"] == "step":  # a continued run may have made a step twice
            tokens[event["step"]] = event["tokens_per_second"] * event["seconds"]
        elif event["event"] == "validation":
            losses[event["step"]] = -event["tasks"][f"minus_loss/{max(event['mean'])}"]
    return [(sum(count for at, count in tokens.items() if at <= step), loss) for step, loss in sorted(losses.items())]


def tokens_to(found: Curve, target: float) -> float | None:
    """Tokens at which the curve first reaches the target, on a line between its points; None if it does not."""
    for (tokens, loss), (later, lower) in pairwise(found):
        if lower <= target:
            return later if loss <= target else tokens + (later - tokens) * (loss - target) / (loss - lower)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    parser.add_argument("--sweep-seed", type=int, default=9)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/muon"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    config = read_toml(given.config, PretrainConfig, overrides=parse_overrides(given.set))
    work = opened(given.work, config)
    start = dataclasses.replace(config.start, folder=bytes_model(work / "start"))

    def trained(kind: str, rate: float, seed: int) -> Curve:
        optimizer = dataclasses.replace(config.optimizer, kind=kind, rate=rate)
        name = str(work / f"{kind}_{rate:g}_{seed}")
        where = dataclasses.replace(config.run, folder=name, seed=seed)
        return curve(dataclasses.replace(config, start=start, optimizer=optimizer, run=where))

    sweep = {kind: {rate: trained(kind, rate, given.sweep_seed) for rate in given.rates} for kind in KINDS}
    chosen = {kind: min(curves, key=lambda rate, curves=curves: curves[rate][-1][1]) for kind, curves in sweep.items()}
    best = [sweep[kind][rate] for kind, rate in chosen.items()]
    target = max(float(np.interp(0.8 * found[-1][0], *zip(*found, strict=True))) for found in best)
    rows: dict[str, dict[str, Any]] = {}
    for kind, rate in chosen.items():
        curves = [trained(kind, rate, seed) for seed in given.seeds]
        rows[kind] = {
            "rate": rate,
            "sweep": {f"{rate:g}": found[-1][1] for rate, found in sweep[kind].items()},
            "tokens": [tokens_to(found, target) for found in curves],
            "last_loss": [found[-1][1] for found in curves],
        }
    tokens = [rows[kind]["tokens"] for kind in KINDS]
    ratios = [muon / adamw if muon and adamw else None for adamw, muon in zip(*tokens, strict=True)]
    for name, row in rows.items():
        print(name, row)
    write_result(
        "muon",
        {"steps": config.run.steps, "seeds": given.seeds, "target": target, "all_tokens": best[0][-1][0],
         "rows": rows, "muon_over_adamw": ratios},
    )  # fmt: skip


if __name__ == "__main__":
    main()
