"""The paper's ablation: all exits trained in one run, against a run per exit and against fitted heads.

    python benchmarks/self_distillation.py configs/ablation.toml --steps 60 --seeds 0 1 2 --set data.folder=DATA

For every seed, with equal steps and data: "multi" trains all exits; "only_k" trains exit k alone;
"control" is the run of the deepest exit alone with linear heads fitted to it afterwards; "untrained" is the
ladder before training, heads fitted likewise. Intervals: paired bootstrap over queries, each query's value
averaged over the seeds. What a run measured is kept in --work, so that the command continues an interrupted run.
``--exits 4`` makes separate runs for some exits alone, for a longer training.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import with_interval, write_result

from mose.config import FinetuneConfig, PretrainConfig, parse_overrides, read_toml, write_toml
from mose.data.sources import open_sources
from mose.metrics.significance import bootstrap_interval
from mose.model.checkpoint import load_model
from mose.model.encoder import MoseModel
from mose.tokenizer import CodeTokenizer
from mose.train.device import autocast, choose_device
from mose.train.distributed import World
from mose.train.retrieval.fit_heads import fit_heads, fitting_texts
from mose.train.retrieval.learner import RetrievalLearner
from mose.train.retrieval.run import run
from mose.train.retrieval.start import start_ladder
from mose.train.retrieval.validate import Encode, ValidationSet, load_tasks, task_ranks

Ranks = dict[str, NDArray[np.float64]]


def encoder_of(model: MoseModel, tokenizer: CodeTokenizer, config: FinetuneConfig) -> Encode:
    """Vectors of mini-batches at every exit, in the config's precision."""
    device = choose_device(config.run.device)
    model.train(False)
    return RetrievalLearner(model.to(device), tokenizer, config, world=World(), device=device).encode


def measure(model: MoseModel, tasks: list[ValidationSet], config: FinetuneConfig) -> Ranks:
    tokenizer = CodeTokenizer.load(config.start.folder)
    encode = encoder_of(model, tokenizer, config)
    return task_ranks(tasks, tokenizer, encode, words=model.settings.reads_words(model.settings.exits))


def tasks_and_start(config: FinetuneConfig) -> tuple[list[ValidationSet], MoseModel]:
    return load_tasks(config.validation, config.data), start_ladder(config)


def with_fitted_heads(model: MoseModel, config: FinetuneConfig) -> MoseModel:
    sources = open_sources(config.data, batch_pairs=config.batch.pairs, mixed=config.batch.mixed)
    tokenizer, count = CodeTokenizer.load(config.start.folder), config.heads.fit or 2500
    texts = fitting_texts(sources, tokenizer, config.batch, count=count, seed=config.run.seed + 2)
    with autocast(config.run.precision, choose_device(config.run.device)):
        fit_heads(model, texts)
    return model


def one_exit(exits: tuple[int, ...], chosen: int) -> list[float]:
    return [1.0 if exit_layer == chosen else 0.0 for exit_layer in exits]


def runs_of_seed(
    config: FinetuneConfig,
    seed: int,
    work: Path,
    tasks: list[ValidationSet],
    *,
    exits: tuple[int, ...],
    apart: list[int],
) -> dict[str, Ranks]:
    """Variant -> ranks of one seed; ``exits``: all of the model; ``apart``: those that get a run of their own."""
    found: dict[str, Ranks] = {}
    variants: dict[str, dict[str, Any]] = {"multi": {}}
    for exit_layer in apart:
        off = {
            "exit_weights": tuple(one_exit(exits, exit_layer)),
            "distill_rows": 0.0,
            "distill_vectors": 0.0,
            "aligned": 0.0,
        }
        variants[f"only_{exit_layer}"] = off
    for name, loss in variants.items():
        changed = dataclasses.replace(
            config,
            loss=dataclasses.replace(config.loss, **loss),
            run=dataclasses.replace(config.run, folder=str(work / f"{name}_{seed}"), seed=seed),
            validation=dataclasses.replace(config.validation, every=0, tasks=()),
        )
        found[name] = kept(
            work / f"{name}_{seed}.npz", lambda changed=changed: measure(load_model(run(changed)), tasks, config)
        )
    if exits[-1] in apart:
        # The run of the deepest exit alone, heads fitted to it afterwards.
        last = work / f"only_{exits[-1]}_{seed}" / "model"
        found["control"] = kept(
            work / f"control_{seed}.npz", lambda: measure(with_fitted_heads(load_model(last), config), tasks, config)
        )
    return found


def opened(work: Path, config: FinetuneConfig | PretrainConfig) -> Path:
    """The folder of the measurements; refused if it was made with other settings."""
    file, text = work / "config.toml", write_toml(config)
    if file.exists() and file.read_text(encoding="utf8") != text:
        raise SystemExit(f"{work} holds runs with other settings (see {file}): name another --work")
    work.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf8")
    return work


def kept(path: Path, measured: Callable[[], Ranks]) -> Ranks:
    """Read an earlier measurement, or measure now and store it."""
    if not path.is_file():
        start = perf_counter()
        np.savez(path, **measured())
        print(f"{path.stem}: {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return dict(np.load(path))


def interval(difference: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and 95 % interval of paired differences, queries resampled."""
    found = bootstrap_interval([difference])
    return found.mean, found.low, found.high


def pooled(seeds: list[dict[str, Ranks]], variant: str, exit_layer: int) -> NDArray[np.float64]:
    """Reciprocal ranks at one exit, the mean over seeds of every query, tasks one after the other."""
    suffix = f"/exit_{exit_layer:02d}"
    per_seed = [np.concatenate([r for name, r in seed[variant].items() if name.endswith(suffix)]) for seed in seeds]
    return np.mean(per_seed, axis=0)


def formatted(value: float | tuple[float, float, float]) -> str:
    """A mean, or a difference with its interval."""
    return f"{value:.3f}" if isinstance(value, float) else with_interval(*value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--exits", type=int, nargs="+", help="those with a run of their own (default: all)")
    parser.add_argument("--work", default="runs/self_distillation")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    overrides = {"run.steps": given.steps, **parse_overrides(given.set)}
    config = read_toml(given.config, FinetuneConfig, overrides=overrides)
    tasks, model = tasks_and_start(config)
    # Exit 0 shares no weight with the others: one run or many, it is the same.
    exits = tuple(model.settings.exits)
    above_0 = [exit_layer for exit_layer in exits if exit_layer > 0]
    apart = given.exits or above_0
    work = opened(Path(given.work), config)
    untrained = kept(work / "untrained.npz", lambda: measure(with_fitted_heads(model, config), tasks, config))
    seeds = [
        {**runs_of_seed(config, seed, work, tasks, exits=exits, apart=apart), "untrained": untrained}
        for seed in given.seeds
    ]
    rows = []
    for exit_layer in apart:
        runs = {"untrained": "untrained", "control": "control", "single": f"only_{exit_layer}", "multi": "multi"}
        values = {name: pooled(seeds, run, exit_layer) for name, run in runs.items() if run in seeds[0]}
        row: dict[str, Any] = {"exit": exit_layer, **{name: float(found.mean()) for name, found in values.items()}}
        for rival in [name for name in ("single", "control") if name in values]:
            row[f"multi_minus_{rival}"] = interval(values["multi"] - values[rival])
        rows.append(row)
    for row in rows:
        print(", ".join(f"{name} {value if name == 'exit' else formatted(value)}" for name, value in row.items()))
    name = "self_distillation" if apart == above_0 else f"exits-{'-'.join(map(str, apart))}-self_distillation"
    write_result(
        name,
        {
            "steps": given.steps,
            "seeds": given.seeds,
            "pairs": config.batch.pairs,
            "queries": len(pooled(seeds, "multi", exits[-1])),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
