"""Before the first step of a run: start model, device, texts for the heads, first line of the log."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mose.config import ClonesConfig, FinetuneConfig, RunConfig, StartConfig, from_values
from mose.data.batches import PairBatches
from mose.data.sources import Source
from mose.errors import ConfigError
from mose.model.batch import TextBatch, words_batch
from mose.model.checkpoint import load_model
from mose.model.encoder import MoseModel
from mose.model.reshape import add_heads, narrow_heads
from mose.model.settings import ModelSettings
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World, join_world, leave_world
from mose.train.loop import Batches, Checked, Log, Schedule, Validate, mean_by_exit, require_finite
from mose.train.retrieval.inputs import mini_batches, sides_of

_MAY_CHANGE = ("steps", "minutes", "checkpoint_minutes", "keep_checkpoints", "log_every", "threads", "device", "folder")
_TEXTS_AT_ONCE = 512
_FITTING_PAIRS = 64
"""Pairs of one source at once, of which even a small source has enough."""


def start_model(config: FinetuneConfig | ClonesConfig) -> MoseModel:
    """The model to start from in float32, with heads.

    Raises:
        ModelError: The folder is no model folder, or damaged.
        ConfigError: Its exits are not those asked for.
    """
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
    if config.start.head_width is not None:
        narrow_heads(model, config.start.head_width)
    if config.start.table_share is not None:
        model.config.table_share = config.start.table_share
        model.settings = model.config.settings
    return model


def freeze_parts(model: MoseModel, start: StartConfig) -> None:
    """Keeps what the config says as it is, and sets the dropout of training."""
    model.freeze(layers=start.freeze_layers, embeddings=start.freeze_embeddings or start.freeze_layers > 0)
    for name, head in model.heads.items():
        head.requires_grad_(int(name) > start.freeze_layers)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = start.dropout
        elif isinstance(getattr(module, "dropout", None), float):
            setattr(module, "dropout", start.dropout)  # noqa: B010  # its type is the module's own


def choose_device(name: str) -> torch.device:
    """The device of this process; on a GPU, float32 products may use TF32.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("run.device", got=name, allowed="auto or cpu; torch sees no GPU")
        torch.backends.cuda.matmul.allow_tf32 = True
        local = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(local)
        return local
    return torch.device("cpu")


@contextlib.contextmanager
def joined(config: RunConfig) -> Iterator[tuple[torch.device, World]]:
    """Device and world of this process while it trains; its threads are set.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    world = join_world(device)
    try:
        yield device, world
    finally:
        leave_world(world)


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Arithmetic of the encoder as ``run.precision`` says; weights, pooling's result and loss stay float32."""
    if chosen_precision(precision, device) == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def chosen_precision(precision: str, device: torch.device) -> str:
    """What ``run.precision`` means on a device.

    Example:
        >>> chosen_precision("auto", torch.device("cpu"))
        'float32'
    """
    if precision == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return precision


def emulates_bfloat16(capabilities: Mapping[str, object]) -> bool:
    """True for a processor that has bfloat16 by emulation only, at a fraction of float32's speed.

    Args:
        capabilities: As ``torch.cpu.get_capabilities()`` gives them; empty where it cannot tell.

    Example:
        >>> emulates_bfloat16({"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False})
        True
    """
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return capabilities.get("architecture") == "x86_64" and not native


def check_same(config: FinetuneConfig | ClonesConfig, folder: Path) -> None:
    """Nothing if the run in the folder was started with these settings.

    Length, intervals, threads, device, validation and the places of run and data may differ.

    Raises:
        ConfigError: Another setting differs; it is named.
    """
    file = folder / "config.toml"
    if not file.is_file():
        return
    stored = from_values(tomllib.loads(file.read_text(encoding="utf8")), type(config), file=str(file))
    changed = []
    for part in (one.name for one in dataclasses.fields(config) if one.name != "validation"):
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


def fitting_texts(
    config: FinetuneConfig, sources: list[Source], tokenizer: CodeTokenizer, count: int
) -> Iterator[TextBatch]:
    """Mini-batches of queries and codes of the training data, about ``count`` texts in all."""
    batches = PairBatches(sources, pairs=min(config.batch.pairs, _FITTING_PAIRS), seed=config.run.seed + 2)
    left = count
    while left > 0:
        for side in sides_of(
            next(batches).pairs, text_tokens=config.batch.text_tokens, code_tokens=config.batch.code_tokens
        ):
            some, _ = mini_batches(side, tokenizer, budget=config.batch.mini_batch_tokens, words=False)
            yield from some
            left -= len(side.texts)


@torch.no_grad()
def code_vectors(config: FinetuneConfig, sources: list[Source]) -> dict[str, NDArray[np.float32]]:
    """Exit 0's vectors of the first code of every unit, by source, from the start model; none without neighbours.

    Raises:
        ConfigError: The start model has no exit 0.
    """
    if config.batch.neighbours == 1:
        return {}
    if 0 not in ModelSettings.read(config.start.folder).exits:
        raise ConfigError(
            "batch.neighbours needs exit 0 in start.folder",
            got=config.batch.neighbours,
            allowed="1 without exit 0",
            remedy="Convert the start model with exit 0, or draw rows at random.",
        )
    model = load_model(config.start.folder, last_exit=0, dtype=torch.float32)
    tokenizer = CodeTokenizer.load(config.start.folder)
    vectors = {}
    for source in sources:
        parts = []
        for first in range(0, len(source), _TEXTS_AT_ONCE):
            codes = [unit[0].code for unit in source.units[first : first + _TEXTS_AT_ONCE]]
            parts.append(model.embed_words(words_batch(tokenizer, codes)).numpy())
        vectors[source.name] = np.concatenate(parts)
    return vectors


def announce(
    log: Log,
    sources: Mapping[str, Mapping[str, object]],
    model: MoseModel,
    world: World,
    device: torch.device,
    precision: str,
) -> None:
    """First lines of the log: what there is of each source of data, parameters, machine, and what makes it slow."""
    log.write(
        event="start",
        sources=sources,
        exits=list(model.settings.exits),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        processes=world.size,
        device=str(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.13 and newer
    if device.type == "cpu" and precision == "bfloat16" and emulates_bfloat16(capabilities()):
        log.write(
            event="warning",
            what="run.precision = bfloat16, which this processor only emulates: float32 is several times faster here",
            remedy='Start the run anew with run.precision = "float32".',
        )


def schedule_of(config: FinetuneConfig | ClonesConfig) -> Schedule:
    """The numbers that steer the loop."""
    return Schedule(
        steps=config.run.steps,
        minutes=config.run.minutes,
        warmup=max(1, round(config.run.steps * config.optimizer.warmup_share)),
        final_share=config.optimizer.final_share,
        clip=config.optimizer.clip,
        validate_every=config.validation.every,
        checkpoint_seconds=config.run.checkpoint_minutes * 60,
        log_every=config.run.log_every,
    )


def look_before(learner: Checked, batches: Batches, log: Log, validate: Validate | None) -> None:
    """Two batches through the loss before step 1: mistakes show in seconds, not hours."""
    for _ in range(2):
        batch = next(batches)
        terms = learner.check(batch)
        log.write(event="before", source=batch.source, **rounded(terms))
        require_finite(terms, "before step 1")
    values = validate() if validate is not None else {}
    if values:
        log.write(event="validation", step=0, mean=rounded(mean_by_exit(values)), tasks=rounded(values))


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Short enough for a line of the log."""
    return {name: round(value, 4) for name, value in values.items()}
