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

    The state is the same on every process, so the first writes it and the others wait. Sharded state belongs here
    too: each process would write its part into the new folder before ``training.json``.
    """
    target = folder / f"step_{checkpoint.run.step:06d}"
    if world.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as staging:
            save_model(checkpoint.model, staging / "model", companions=companions)
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
            save_file(tensors, staging / "training.safetensors")
            values = {"progress": dataclasses.asdict(checkpoint.run), "batches": checkpoint.batches}
            (staging / "training.json").write_text(json.dumps(values), encoding="utf8")
        for old in complete_checkpoints(folder)[:-keep]:
            if is_own_folder(old):
                shutil.rmtree(old)
        for part in folder.glob(".step_*.part"):
            shutil.rmtree(part)
    wait_for_all(world)
    return target


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step_*") if (path / "training.json").is_file())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        ModelError: The checkpoint is damaged.
    """
    try:
        values = parse_json((path / "training.json").read_text(encoding="utf8"))
        # Copies: a view into the file is aligned as the file happens to be, and alignment changes rounding.
        tensors = {name: view.clone() for name, view in load_file(path / "training.safetensors").items()}
        run, batches = RunState(**values["progress"]), values["batches"]
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ModelError(f"{path} is damaged ({error})", remedy="Delete it; the one before is used.") from error
    return Checkpoint(model=load_model(path / "model"), tensors=tensors, run=run, batches=batches)
