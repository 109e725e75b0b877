"""Retrieval fine-tuning: one TOML file in, a trained ladder of exits out.

    python -m mose.train.finetune configs/small.toml --set run.folder=runs/a
    torchrun --nproc-per-node 2 -m mose.train.finetune configs/small.toml

The run's folder holds ``config.toml`` (resolved), ``log.jsonl``, ``checkpoints/``, ``best/`` (highest mean
over exits) and, at the end, ``model/``. Started again in the same folder, it goes on from the newest
checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mose.config import FinetuneConfig, read_toml, write_toml
from mose.data.batches import PairBatches
from mose.data.sources import open_sources
from mose.errors import ConfigError, MoseError
from mose.model.checkpoint import save_model
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World, join_world, leave_world, merge, share_first, wait_for_all
from mose.train.fit_heads import fit_heads
from mose.train.learner import RetrievalLearner
from mose.train.loop import Log, Progress, Save, Schedule, Validate, fit, mean_by_exit, require_finite
from mose.train.optim import build_optimizer, load_optimizer_tensors, optimizer_tensors
from mose.train.prepare import announce, check_same, choose_device, fitting_texts, start_model
from mose.train.rotate_heads import rotate_heads
from mose.train.state import State, complete_checkpoints, load_state, save_state
from mose.train.validate import RetrievalTask, evaluate_tasks, load_tasks


def run(
    config: str | Path | FinetuneConfig,
    *,
    overrides: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Trains, or continues, the run of one config.

    Args:
        config: TOML file, or settings.
        overrides: Dotted key -> value, put over the file's.
        tell: Takes each line of the log as well.

    Returns:
        The folder of the finished model.

    Raises:
        MoseError: Settings, data or checkpoint do not fit; raised before anything is trained.
        TrainingError: A loss is not finite; the last checkpoint stands.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    if not isinstance(config, FinetuneConfig):
        config = read_toml(config, FinetuneConfig, overrides=overrides)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    device = choose_device(config.run.device)
    world = join_world(device)
    try:
        return _run(config, device, world, tell)
    finally:
        leave_world(world)


def _run(config: FinetuneConfig, device: torch.device, world: World, tell: Callable[[str], None] | None) -> Path:
    folder = Path(config.run.folder)
    seed, mixed = config.run.seed, config.batch.mixed
    sources = open_sources(config.data, batch_pairs=config.batch.pairs, mixed=mixed, seed=seed)
    tasks = load_tasks(config.validation, config.data, seed=seed, skip_missing=config.data.skip_missing)
    batches = PairBatches(sources, pairs=config.batch.pairs, seed=seed, mixed=mixed)
    checkpoints = complete_checkpoints(folder / "checkpoints")
    state = load_state(checkpoints[-1]) if checkpoints else None
    if state is not None:
        check_same(config, folder)
    model = start_model(config) if state is None else state.model
    tokenizer = CodeTokenizer.load(config.start.folder)
    torch.nn.Module.to(model, device)
    learner = RetrievalLearner(model, tokenizer, config, world=world, device=device)
    log = Log(folder / "log.jsonl" if world.is_first else None, tell if world.is_first else None)
    validate = _validator(tasks, learner, tokenizer, world)
    if world.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(write_toml(config), encoding="utf8")
    if state is None:
        announce(log, sources, model, world, device)
        if config.run.fit_heads and world.is_first:
            cosines = fit_heads(model, fitting_texts(config, sources, tokenizer, config.run.fit_heads))
            log.write(event="heads fitted", cosine=_rounded({f"exit_{k:02d}": v for k, v in cosines.items()}))
        share_first(model.parameters(), world)
        preview = PairBatches(sources, pairs=config.batch.pairs, seed=seed + 1, mixed=mixed)
        _look_before(learner, preview, log, validate if config.validation.every else None)
    layers = model.settings.num_layers
    optimizer = build_optimizer(learner.named_trained(), config.optimizer, num_layers=layers)
    progress = Progress() if state is None else _restore(state, learner, optimizer, batches)
    if state is not None:
        log.write(event="resumed", step=progress.step, checkpoint=str(checkpoints[-1]))
    fit(
        learner,
        batches,
        optimizer,
        _schedule(config),
        progress,
        validate=validate,
        save=_saver(config, learner, optimizer, batches, log, world),
        log=log,
        world=world,
        size_of=lambda batch: len(batch.pairs),
    )
    if world.is_first:
        if config.run.rotate_heads:
            texts = fitting_texts(config, sources, tokenizer, config.run.rotate_heads)
            shares = rotate_heads(model, texts)
            log.write(event="heads rotated", share={str(w): round(share, 4) for w, share in shares.items()})
        save_model(model, folder / "model", companions=config.start.folder)
    wait_for_all(world)
    return folder / "model"


def _validator(
    tasks: Sequence[RetrievalTask], learner: RetrievalLearner, tokenizer: CodeTokenizer, world: World
) -> Validate:
    def validate() -> Mapping[str, float]:
        if not tasks:
            return {}
        # Each process takes every n-th task.
        mine = tasks[world.rank :: world.size]
        learner.model.train(False)
        words = 0 in learner.model.settings.exits
        values = evaluate_tasks(mine, tokenizer, learner.encode, words=words)
        values = merge(values, world)
        means = mean_by_exit(values)
        return {**values, "mean/all": sum(means.values()) / len(means)}

    return validate


def _saver(
    config: FinetuneConfig,
    learner: RetrievalLearner,
    optimizer: torch.optim.Optimizer,
    batches: PairBatches,
    log: Log,
    world: World,
) -> Save:
    folder = Path(config.run.folder)

    def save(progress: Progress, reason: str) -> None:
        if not world.is_first:
            return
        written = save_state(
            folder / "checkpoints",
            model=learner.model,
            companions=Path(config.start.folder),
            tensors={**optimizer_tensors(optimizer), **learner.tensors()},
            progress=progress,
            batches=batches.state(),
            keep=config.run.keep_checkpoints,
        )
        log.write(event="checkpoint", step=progress.step, reason=reason, path=str(written))
        if progress.best_step.get("all") == progress.step:
            save_model(learner.model, folder / "best", companions=config.start.folder)

    return save


def _schedule(config: FinetuneConfig) -> Schedule:
    return Schedule(
        steps=config.run.steps,
        warmup=max(1, round(config.run.steps * config.optimizer.warmup_share)),
        final_share=config.optimizer.final_share,
        clip=config.optimizer.clip,
        validate_every=config.validation.every,
        checkpoint_seconds=config.run.checkpoint_minutes * 60,
        log_every=config.run.log_every,
    )


def _restore(
    state: State, learner: RetrievalLearner, optimizer: torch.optim.Optimizer, batches: PairBatches
) -> Progress:
    load_optimizer_tensors(optimizer, state.tensors)
    learner.load_tensors(state.tensors)
    batches.load_state(state.batches)
    return state.progress


def _look_before(learner: RetrievalLearner, batches: PairBatches, log: Log, validate: Validate | None) -> None:
    """Two batches through the loss before step 1: mistakes show in seconds, not hours."""
    for _ in range(2):
        batch = next(batches)
        terms = learner.check(batch)
        log.write(event="before", source=batch.source, **_rounded(terms))
        require_finite(terms, "before step 1")
    values = validate() if validate is not None else {}
    if values:
        log.write(event="validation", step=0, mean=_rounded(mean_by_exit(values)), tasks=_rounded(values))


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """Dotted key -> value from ``key=value`` texts; values are TOML, or plain text.

    Example:
        >>> parse_overrides(["run.steps=3", "run.folder=runs/a"])
        {'run.steps': 3, 'run.folder': 'runs/a'}
    """
    values: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals:
            raise ConfigError("--set", got=item, allowed="key=value, as in run.steps=100")
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = text
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; the log goes to standard error."""
    parser = argparse.ArgumentParser(prog="python -m mose.train.finetune", description="Retrieval fine-tuning.")
    parser.add_argument("config", help="TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="put over the file's value")
    given = parser.parse_args(arguments)
    try:
        run(given.config, overrides=parse_overrides(given.set), tell=lambda line: _say(line))
    except KeyboardInterrupt:
        return 130
    except MoseError as error:
        _say(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
