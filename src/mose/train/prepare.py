"""Before the first step of a run: start model, device, texts for the heads, first line of the log."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import torch

from mose.config import FinetuneConfig, from_values
from mose.data.batches import PairBatches
from mose.data.sources import Source
from mose.errors import ConfigError
from mose.model.batch import TextBatch
from mose.model.checkpoint import load_model
from mose.model.encoder import MoseModel
from mose.model.heads import add_heads
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World
from mose.train.inputs import mini_batches, sides_of
from mose.train.loop import Log

_MAY_CHANGE = ("steps", "checkpoint_minutes", "keep_checkpoints", "log_every", "threads", "device", "folder")


def start_model(config: FinetuneConfig) -> MoseModel:
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
    return model


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


def check_same(config: FinetuneConfig, folder: Path) -> None:
    """Nothing if the run in the folder was started with these settings.

    Length, intervals, threads, device, validation and the places of run and data may differ.

    Raises:
        ConfigError: Another setting differs; it is named.
    """
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


def fitting_texts(
    config: FinetuneConfig, sources: list[Source], tokenizer: CodeTokenizer, count: int
) -> Iterator[TextBatch]:
    """Mini-batches of queries and codes of the training data, about ``count`` texts in all."""
    batches = PairBatches(sources, pairs=config.batch.pairs, seed=config.run.seed + 2)
    left = count
    while left > 0:
        for side in sides_of(
            next(batches).pairs, text_tokens=config.batch.text_tokens, code_tokens=config.batch.code_tokens
        ):
            some, _ = mini_batches(side, tokenizer, budget=config.batch.mini_batch_tokens, words=False)
            yield from some
            left -= len(side.texts)


def announce(log: Log, sources: list[Source], model: MoseModel, world: World, device: torch.device) -> None:
    """First line of the log: data, left-out rows by reason, parameters, machine."""
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
