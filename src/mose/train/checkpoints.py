"""Checkpoints of a run: a model folder plus what training needs to continue exactly. No pickle.

``checkpoints/step_000120/`` holds ``model/``, ``training.safetensors`` and, written last, ``training.json``.
The folder is written under a temporary name and renamed; a folder without ``training.json`` is never read.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mose.errors import ModelError
from mose.json_reading import parse_json
from mose.model.checkpoint import load_model, save_model
from mose.model.encoder import MoseModel
from mose.storage import is_own_folder, new_folder
from mose.train.distributed import World, wait_for_all
from mose.train.loop import RunState

POSITION_FILE = "training.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What must be stored to continue a run exactly."""

    model: MoseModel
    tensors: Mapping[str, Tensor]
    """Of the optimizer and the learner."""
    run: RunState
    batches: Mapping[str, Any]
    """Position of the batches."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, companions: Path, keep: int, world: World) -> Path:
    """Write one checkpoint and remove the oldest beyond ``keep``. Every process must call it.

    The state is the same on every process, so the first writes it and the others wait; see ``mose.train.shards`` for
    one that is not.
    """
    target = folder / f"step_{checkpoint.run.step:06d}"
    if world.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as staging:
            save_model(checkpoint.model, staging / "model", companions=companions)
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
            save_file(tensors, staging / "training.safetensors")
            (staging / POSITION_FILE).write_text(write_position(checkpoint.run, checkpoint.batches), encoding="utf8")
        remove_oldest(folder, keep=keep)
    wait_for_all(world)
    return target


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step_*") if (path / POSITION_FILE).is_file())


def remove_oldest(folder: Path, *, keep: int) -> None:
    """Remove all complete checkpoints but the newest ``keep``, and what killed writers left."""
    for old in complete_checkpoints(folder)[:-keep]:
        if is_own_folder(old):
            # In one step: of a run that is killed while files go, the rest would look like somebody else's.
            old.rename(folder / f".{old.name}.removed")
    remove_left(folder)


def remove_left(folder: Path) -> None:
    """Remove what killed writers left of checkpoints: unfinished ones, and those that were being removed."""
    for left in folder.glob(".step_*"):
        shutil.rmtree(left)


def write_position(run: RunState, batches: Mapping[str, Any]) -> str:
    """Text of ``training.json``: how far run and data are."""
    return json.dumps({"progress": dataclasses.asdict(run), "batches": batches})


def read_position(path: Path) -> tuple[RunState, Mapping[str, Any]]:
    """What ``write_position`` wrote into a checkpoint.

    Raises:
        ModelError: The checkpoint is damaged.
    """
    try:
        values = parse_json((path / POSITION_FILE).read_text(encoding="utf8"))
        return RunState(**values["progress"]), values["batches"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException) -> ModelError:
    """The error for a checkpoint that cannot be read."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return ModelError(f"{path} is damaged ({reason})", remedy="Delete it; the one before is used.")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        ModelError: The checkpoint is damaged.
    """
    try:
        # Copies: a view into the file is aligned as the file happens to be, and alignment changes rounding.
        tensors = {name: view.clone() for name, view in load_file(path / "training.safetensors").items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise damaged(path, error) from error
    run, batches = read_position(path)
    return Checkpoint(model=load_model(path / "model"), tensors=tensors, run=run, batches=batches)
