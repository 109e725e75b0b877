"""Retrieval fine-tuning: one TOML file in, a trained ladder of exits out.

    python -m mose.train.retrieval.run configs/small.toml --set run.folder=runs/a
    torchrun --nproc-per-node 2 -m mose.train.retrieval.run configs/small.toml

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

from mose.config import FinetuneConfig, read_toml
from mose.data.batches import PairBatches
from mose.data.sources import Source, open_sources
from mose.errors import ConfigError, MoseError
from mose.model.checkpoint import save_model
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World, merge, share_first, wait_for_all
from mose.train.loop import RunState, Validate, mean_by_exit
from mose.train.prepare import (
    announce,
    autocast,
    code_vectors,
    fitting_texts,
    joined,
    look_before,
    rounded,
    start_model,
)
from mose.train.retrieval.card import model_card
from mose.train.retrieval.fit_heads import fit_heads
from mose.train.retrieval.learner import RetrievalLearner
from mose.train.retrieval.prefetch import Prefetched
from mose.train.retrieval.rotate_heads import rotate_heads
from mose.train.retrieval.validate import RetrievalTask, evaluate_tasks, load_tasks
from mose.train.run_folder import RunFolder


def run(
    config: str | Path | FinetuneConfig,
    *,
    overrides: Mapping[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Trains, or continues, the run of one config.

    Args:
        config: TOML file, or settings.
        overrides: Dotted key -> value, put over the file's.
        say: Called with each line of the log as well.

    Returns:
        The folder of the finished model.

    Raises:
        MoseError: Settings, data or checkpoint do not fit; raised before anything is trained.
        TrainingError: A loss is not finite; the last checkpoint stands.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    if not isinstance(config, FinetuneConfig):
        config = read_toml(config, FinetuneConfig, overrides=overrides)
    with joined(config.run) as (device, world):
        return _run(config, device, world, say)


def _run(config: FinetuneConfig, device: torch.device, world: World, say: Callable[[str], None] | None) -> Path:
    seed, mixed = config.run.seed, config.batch.mixed
    sources = open_sources(config.data, batch_pairs=config.batch.pairs, mixed=mixed, seed=seed)
    tasks = load_tasks(config.validation, config.data, seed=seed, skip_missing=config.data.skip_missing)
    folder = RunFolder(config, world, say)
    log = folder.log
    streams = _streams(config, sources)
    model = start_model(config) if folder.state is None else folder.state.model
    tokenizer = CodeTokenizer.load(config.start.folder)
    torch.nn.Module.to(model, device)
    reference = start_model(config) if config.loss.mask_answers else None
    if reference is not None:
        torch.nn.Module.to(reference, device)
    learner = RetrievalLearner(model, tokenizer, config, world=world, device=device, reference=reference)
    batches = Prefetched(streams, learner.prepare) if config.batch.workers else streams[0]
    validate = _validator(tasks, learner, tokenizer, world)
    folder.begin()
    if folder.state is None:
        found = {source.name: {"units": len(source), "dropped": dict(source.dropped)} for source in sources}
        announce(log, found, model, world, device, config.run.precision)
        if config.run.fit_heads and world.is_first:
            with autocast(config.run.precision, device):
                cosines = fit_heads(model, fitting_texts(config, sources, tokenizer, config.run.fit_heads))
            log.write(event="heads fitted", cosine=rounded({f"exit_{k:02d}": v for k, v in cosines.items()}))
        share_first(model.parameters(), world)
        preview = PairBatches(sources, pairs=config.batch.pairs, seed=seed + 1, mixed=mixed)
        look_before(learner, preview, log, validate if config.validation.every else None)

    def write(out: Path, trained: RunState) -> None:
        save_model(model, out, companions=config.start.folder, card=model_card(config, trained))

    try:
        trained = folder.train(learner, batches, validate=validate, write=write)
    finally:
        if isinstance(batches, Prefetched):
            batches.close()
    if world.is_first:
        if config.run.rotate_heads:
            texts = fitting_texts(config, sources, tokenizer, config.run.rotate_heads)
            shares = rotate_heads(model, texts)
            log.write(event="heads rotated", share={str(w): round(share, 4) for w, share in shares.items()})
        write(folder.path / "model", trained)
    wait_for_all(world)
    return folder.path / "model"


def _streams(config: FinetuneConfig, sources: Sequence[Source]) -> list[PairBatches]:
    """A walk through the data for each process that makes batches; one for this process if there are none."""
    vectors = code_vectors(config, list(sources))
    return [
        PairBatches(
            sources,
            pairs=config.batch.pairs,
            seed=config.run.seed + 7919 * number,
            mixed=config.batch.mixed,
            vectors=vectors,
            neighbours=config.batch.neighbours,
        )
        for number in range(max(config.batch.workers, 1))
    ]


def _validator(
    tasks: Sequence[RetrievalTask], learner: RetrievalLearner, tokenizer: CodeTokenizer, world: World
) -> Validate:
    def validate() -> Mapping[str, float]:
        if not tasks:
            return {}
        # Each process takes every n-th task.
        mine = tasks[world.rank :: world.size]
        learner.model.train(False)
        settings = learner.model.settings
        words = settings.reads_words(settings.exits)
        values = evaluate_tasks(mine, tokenizer, learner.encode, words=words)
        values = merge(values, world)
        means = mean_by_exit(values)
        return {**values, "mean/all": sum(means.values()) / len(means)}

    return validate


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
        except (tomllib.TOMLDecodeError, RecursionError):
            values[key] = text
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; the log goes to standard error."""
    parser = argparse.ArgumentParser(prog="python -m mose.train.retrieval.run", description="Retrieval fine-tuning.")
    parser.add_argument("config", help="TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="put over the file's value")
    given = parser.parse_args(arguments)
    try:
        run(given.config, overrides=parse_overrides(given.set), say=lambda line: _say(line))
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
