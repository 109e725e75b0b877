"""Retrieval fine-tuning: one TOML file in, a trained ladder of exits out.

    python -m mose.train.finetune configs/small.toml --set run.folder=runs/a
    torchrun --nproc-per-node 2 -m mose.train.finetune configs/small.toml

The run's folder holds ``config.toml`` (resolved), ``log.jsonl``, ``checkpoints/``, ``best/`` (highest mean over exits)
and, at the end, ``model/``. Starting again in the same folder continues from the newest checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mose.config import FinetuneConfig, from_values, read_toml, write_toml
from mose.data.batches import PairBatch, PairBatches
from mose.data.sources import Source, open_sources
from mose.errors import ConfigError, MoseError
from mose.model.batch import TextBatch
from mose.model.checkpoint import load_model, save_model
from mose.model.encoder import MoseModel
from mose.model.heads import add_heads
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World, join_world, leave_world, share_first, wait_for_all
from mose.train.fit_heads import fit_heads
from mose.train.inputs import mini_batches, sides_of
from mose.train.learner import RetrievalLearner
from mose.train.loop import Log, Progress, Schedule, first_batches, fit, mean_by_exit
from mose.train.optim import build_optimizer, load_optimizer_tensors, optimizer_tensors
from mose.train.state import State, complete_checkpoints, load_state, save_state
from mose.train.validate import evaluate_tasks, load_tasks

_MAY_CHANGE = ("steps", "checkpoint_minutes", "keep_checkpoints", "log_every", "threads", "device", "folder")


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
    device = _device(config.run.device)
    world = join_world(device)
    try:
        return _run(config, device, world, tell)
    finally:
        leave_world(world)


def _run(
    config: FinetuneConfig, device: torch.device, world: World, tell: Callable[[str], None] | None
) -> Path:
    folder = Path(config.run.folder)
    sources = open_sources(
        config.data, batch_pairs=config.batch.pairs, mixed=config.batch.mixed, seed=config.run.seed
    )
    tasks = load_tasks(
        config.validation, config.data, seed=config.run.seed, skip_missing=config.data.skip_missing
    )
    batches = PairBatches(sources, pairs=config.batch.pairs, seed=config.run.seed, mixed=config.batch.mixed)
    start = Path(config.start.folder)
    checkpoints = complete_checkpoints(folder / "checkpoints")
    state = load_state(checkpoints[-1]) if checkpoints else None
    if state is not None:
        _check_same(config, folder)
    model = state.model if state is not None else _start_model(config)
    tokenizer = CodeTokenizer.load(start)
    model.to(device)
    learner = RetrievalLearner(model, tokenizer, config, world=world, device=device)
    log = Log(folder / "log.jsonl" if world.is_first else None, tell if world.is_first else None)
    if world.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(write_toml(config), encoding="utf8")
    words = 0 in model.settings.exits

    def validate() -> Mapping[str, float]:
        if not world.is_first:
            return {}
        model.eval()
        values = evaluate_tasks(tasks, tokenizer, learner.encode, words=words)
        means = mean_by_exit(values) if values else {}
        return {**values, "mean/all": sum(means.values()) / len(means)} if means else {}

    progress = Progress()
    if state is None:
        _announce(log, sources, model, world, device)
        if config.run.fit_heads and world.is_first:
            cosines = fit_heads(model, _texts(config, sources, tokenizer))
            log.write(
                event="heads fitted", cosine={f"exit_{one:02d}": round(v, 4) for one, v in cosines.items()}
            )
        share_first(model.parameters(), world)
        preview = PairBatches(
            sources, pairs=config.batch.pairs, seed=config.run.seed + 1, mixed=config.batch.mixed
        )
        first_batches(_logged(preview), lambda batch: _first(learner, batch, log))
        if config.validation.every:
            values = validate()
            log.write(event="validation", step=0, mean=_rounded(mean_by_exit(values)), tasks=_rounded(values))
    optimizer = build_optimizer(
        learner.named_trained(), config.optimizer, num_layers=model.settings.num_layers
    )
    if state is not None:
        progress = _restore(state, learner, optimizer, batches)
        log.write(event="resumed", step=progress.step, checkpoint=str(checkpoints[-1]))

    def save(progress: Progress, reason: str) -> None:
        if not world.is_first:
            return
        written = save_state(
            folder / "checkpoints",
            model=model,
            companions=start,
            tensors={**optimizer_tensors(optimizer), **learner.tensors()},
            progress=progress,
            batches=batches.state(),
            keep=config.run.keep_checkpoints,
        )
        log.write(event="checkpoint", step=progress.step, reason=reason, path=str(written))
        if progress.best_step.get("all") == progress.step:
            save_model(model, folder / "best", companions=start)

    fit(
        learner,
        batches,
        optimizer,
        _schedule(config),
        progress,
        validate=validate,
        save=save,
        log=log,
        world=world,
        size_of=lambda batch: len(batch.pairs),
    )
    if world.is_first:
        save_model(model, folder / "model", companions=start)
    wait_for_all(world)
    return folder / "model"


def _start_model(config: FinetuneConfig) -> MoseModel:
    model = load_model(config.start.folder, dtype=torch.float32)
    wanted = config.start.exits
    if wanted is not None and tuple(wanted) != tuple(model.settings.exits):
        raise ConfigError(
            f"start.exits and the exits of {config.start.folder} differ",
            got=list(wanted),
            allowed=str(list(model.settings.exits)),
            remedy="Convert the model with these exits, or change start.exits.",
        )
    if config.start.head != "keep" and model.settings.head == "none":
        add_heads(model, config.start.head, "identity" if config.start.head == "linear" else "random")
    return model


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("run.device", got=name, allowed="auto or cpu; torch sees no GPU")
        torch.backends.cuda.matmul.allow_tf32 = True
        local = torch.device("cuda", int(__import__("os").environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(local)
        return local
    return torch.device("cpu")


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


def _check_same(config: FinetuneConfig, folder: Path) -> None:
    file = folder / "config.toml"
    if not file.is_file():
        return
    stored = from_values(tomllib.loads(file.read_text(encoding="utf8")), FinetuneConfig, file=str(file))
    changed = []
    for part in ("start", "data", "batch", "loss", "optimizer", "run"):
        before, now = getattr(stored, part), getattr(config, part)
        changed += [
            f"{part}.{one.name}"
            for one in dataclasses.fields(now)
            if getattr(before, one.name) != getattr(now, one.name)
            and not (part == "run" and one.name in _MAY_CHANGE)
            and (part, one.name) != ("data", "folder")
        ]
    if changed:
        raise ConfigError(
            f"{folder} holds a run with other settings: {', '.join(changed)}",
            remedy="Name another run.folder, or delete this one; start.folder can point at its model.",
        )


def _texts(config: FinetuneConfig, sources: list[Source], tokenizer: CodeTokenizer) -> Iterator[TextBatch]:
    """Mini-batches of queries and codes of the training data, ``run.fit_heads`` in all."""
    batches = PairBatches(sources, pairs=config.batch.pairs, seed=config.run.seed + 2)
    left = config.run.fit_heads
    while left > 0:
        for side in sides_of(
            next(batches).pairs, text_tokens=config.batch.text_tokens, code_tokens=config.batch.code_tokens
        ):
            some, _ = mini_batches(side, tokenizer, budget=config.batch.mini_batch_tokens, words=False)
            yield from some
            left -= len(side.texts)


def _announce(log: Log, sources: list[Source], model: MoseModel, world: World, device: torch.device) -> None:
    log.write(
        event="start",
        sources={source.name: {"units": len(source), "dropped": dict(source.dropped)} for source in sources},
        exits=list(model.settings.exits),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        processes=world.size,
        device=str(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )


def _first(learner: RetrievalLearner, batch: PairBatch, log: Log) -> dict[str, float]:
    terms = learner.check(batch)
    log.write(event="before", source=batch.source, **_rounded(terms))
    return terms


def _logged(batches: PairBatches) -> Iterator[PairBatch]:
    yield from batches


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
    parser = argparse.ArgumentParser(
        prog="python -m mose.train.finetune", description="Retrieval fine-tuning."
    )
    parser.add_argument("config", help="TOML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="put over the file's value"
    )
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
