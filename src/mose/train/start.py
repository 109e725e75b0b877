"""Before the first step of a run: its processes, the model it starts from, and whether its folder can be continued."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from mose.config import ClonesConfig, FinetuneConfig, PretrainConfig, RunConfig, StartConfig, read_stored, read_toml
from mose.errors import ConfigError
from mose.model.checkpoint import load_model
from mose.model.encoder import MoseModel
from mose.train.device import choose_device
from mose.train.distributed import World, join_world, leave_world

_MAY_CHANGE = (
    "steps", "minutes", "checkpoint_minutes", "keep_checkpoints", "log_every", "threads", "device", "folder",
    "parallel", "max_skipped", "spike", "tensorboard", "checkpoint_activations", "compile", "peak_tflops",
)  # fmt: skip


Config = TypeVar("Config", FinetuneConfig, ClonesConfig, PretrainConfig)
Say = Callable[[str], None]
"""Called with each line of a run's log."""


@dataclass(frozen=True, slots=True)
class Training(Generic[Config]):
    """One kind of training, called with a config: the settings it reads, and what each of its processes does."""

    settings: type[Config]
    train: Callable[[Config, torch.device, World, Say | None], Path]

    def __call__(
        self, config: str | Path | Config, *, overrides: Mapping[str, Any] | None = None, say: Say | None = None
    ) -> Path:
        """Start or continue the run of one config.

        Args:
            config: TOML file, or settings.
            overrides: Dotted key -> value; replaces the file's.
            say: Called with each line of the log as well.

        Returns:
            The folder of the finished model.

        Raises:
            MoseError: Settings, data or checkpoint are invalid; raised before anything is trained.
            TrainingError: A loss is not finite; the last checkpoint is good.
            KeyboardInterrupt: Ctrl-C, after a checkpoint.
        """
        if isinstance(config, (str, Path)):
            config = read_toml(config, self.settings, overrides=overrides)
        with enter_world(config.run) as (device, world):
            require_divisible(config, world)
            return self.train(config, device, world, say)


@contextlib.contextmanager
def enter_world(run: RunConfig) -> Iterator[tuple[torch.device, World]]:
    """Set the threads of this process, and yield its device and world while it trains.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    if run.threads:
        torch.set_num_threads(run.threads)
    device = choose_device(run.device)
    world = join_world(device)
    try:
        yield device, world
    finally:
        leave_world(world)


def require_divisible(config: FinetuneConfig | ClonesConfig | PretrainConfig, world: World) -> None:
    """Raise `ConfigError` unless processes can share the run: equal parts of a batch, and no time limit."""
    if config.run.minutes and world.size > 1:
        raise ConfigError("run.minutes", got=config.run.minutes, allowed="0 with several processes")
    if config.batch.pairs % world.size:
        raise ConfigError("batch.pairs", got=config.batch.pairs, allowed=f"a multiple of {world.size} processes")


def start_model(start: StartConfig) -> MoseModel:
    """The model to start from, in float32.

    Raises:
        ModelError: The folder is not a model folder, or is damaged.
        ConfigError: Its exits are not ``start.exits``.
    """
    model = load_model(start.folder, dtype=torch.float32)
    if start.exits is not None and tuple(start.exits) != tuple(model.settings.exits):
        raise ConfigError(
            f"start.exits and the exits of {start.folder} differ",
            got=list(start.exits),
            allowed=str(list(model.settings.exits)),
            remedy="Convert the model with these exits, or change start.exits.",
        )
    return model


def freeze_parts(model: MoseModel, start: StartConfig) -> None:
    """Freeze the parts that the config names, and set the dropout of training."""
    model.freeze(layers=start.freeze_layers, embeddings=start.freeze_embeddings or start.freeze_layers > 0)
    for name, head in model.heads.items():
        head.requires_grad_(int(name) > start.freeze_layers)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = start.dropout
        elif isinstance(getattr(module, "dropout", None), float):
            setattr(module, "dropout", start.dropout)  # noqa: B010  # its type is the module's own


def freeze_embeddings_of_exits(model: MoseModel) -> None:
    """Freeze the projection heads and exit 0, for a training that reads hidden states only."""
    for part in (model.heads, model.table):
        if part is not None:
            part.requires_grad_(False)


def require_same_settings(config: FinetuneConfig | ClonesConfig | PretrainConfig, folder: Path) -> None:
    """Raise `ConfigError`, naming the settings, if the run in the folder was started with different ones.

    Length, intervals, threads, processes, device, validation, and the folders of run and data may differ.
    """
    file = folder / "config.toml"
    if not file.is_file():
        return
    stored = read_stored(file, type(config))
    changed = []
    for part in (field.name for field in dataclasses.fields(config) if field.name != "validation"):
        before, now = getattr(stored, part), getattr(config, part)
        changed += [
            f"{part}.{field.name}"
            for field in dataclasses.fields(now)
            if getattr(before, field.name) != getattr(now, field.name)
            and not (part == "run" and field.name in _MAY_CHANGE)
            and (part, field.name) not in (("data", "folder"), ("batch", "workers"))
        ]
    if changed:
        raise ConfigError(
            f"{folder} holds a run with other settings: {', '.join(changed)}",
            remedy="Name another run.folder, or delete this one; start.folder can point at its model.",
        )
