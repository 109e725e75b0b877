"""What a running fine-tuning writes into its folder and takes back from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from mose.config import ClonesConfig, FinetuneConfig
from mose.model.encoder import MoseModel
from mose.train.distributed import World
from mose.train.loop import Log, Progress, Save
from mose.train.optim import load_optimizer_tensors, optimizer_tensors
from mose.train.state import State, save_state


class Stored(Protocol):
    """A learner that fits into a checkpoint."""

    model: MoseModel

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model and the optimizer."""
        ...

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what ``tensors`` gave."""
        ...


class Placed(Protocol):
    """Batches with a position."""

    def state(self) -> dict[str, Any]:
        """Position, as plain values for JSON."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a stored position."""
        ...


def saver(
    config: FinetuneConfig | ClonesConfig,
    learner: Stored,
    optimizer: torch.optim.Optimizer,
    batches: Placed,
    log: Log,
    world: World,
    *,
    write_best: Callable[[Path], None],
) -> Save:
    """The loop's ``save``: a checkpoint, and ``best/`` where the mean over exits was never higher.

    Args:
        config: All settings.
        learner: Its model and tensors are stored.
        optimizer: Its moments are stored.
        batches: Their position is stored.
        log: Takes a line per checkpoint.
        world: Only the first process writes.
        write_best: Writes the finished form of the model into a folder.
    """
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
            write_best(folder / "best")

    return save


def restore(state: State, learner: Stored, optimizer: torch.optim.Optimizer, batches: Placed) -> Progress:
    """Puts a checkpoint back; where the run stands."""
    load_optimizer_tensors(optimizer, state.tensors)
    learner.load_tensors(state.tensors)
    batches.load_state(state.batches)
    return state.progress
