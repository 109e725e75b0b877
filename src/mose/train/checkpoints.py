"""Checkpoints of a run: a model folder plus what training needs to go on exactly. No pickle.

``checkpoints/step_000120/`` holds ``model/``, ``training.safetensors`` and, written last, ``training.json``.
The folder is written beside its place and renamed; a folder without ``training.json`` is never read.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from mose.errors import ModelError
from mose.model.checkpoint import load_model, save_model
from mose.model.encoder import MoseModel
from mose.parsing import parse_json
from mose.storage import is_own_folder, new_folder
from mose.train.loop import RunState


def save_state(
    folder: Path,
    *,
    model: MoseModel,
    companions: Path,
    tensors: Mapping[str, Tensor],
    state: RunState,
    batches: Mapping[str, Any],
    keep: int,
) -> Path:
    """Writes one checkpoint and removes the oldest beyond ``keep``.

    Args:
        folder: The run's ``checkpoints`` folder.
        model: The model.
        companions: Folder with the tokenizer, card and licences.
        tensors: Optimizer, learner, anything else.
        state: How far the run is.
        batches: Position of the batches.
        keep: Checkpoints left afterwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step_{state.step:06d}"
    with new_folder(target) as staging:
        save_model(model, staging / "model", companions=companions)
        save_file(dict(tensors), staging / "training.safetensors")
        values = {"progress": dataclasses.asdict(state), "batches": batches}
        (staging / "training.json").write_text(json.dumps(values), encoding="utf8")
    for old in complete_checkpoints(folder)[:-keep]:
        if is_own_folder(old):
            shutil.rmtree(old)
    for part in folder.glob(".step_*.part"):
        shutil.rmtree(part)
    return target


def complete_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints that are whole, oldest first."""
    return sorted(path for path in folder.glob("step_*") if (path / "training.json").is_file())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A checkpoint as read."""

    model: MoseModel
    tensors: dict[str, Tensor]
    run: RunState
    batches: dict[str, Any]


def load_state(checkpoint: Path) -> State:
    """Reads one checkpoint.

    Raises:
        ModelError: It is damaged.
    """
    try:
        values = parse_json((checkpoint / "training.json").read_text(encoding="utf8"))
        tensors = load_file(checkpoint / "training.safetensors")
        run = RunState(**values["progress"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{checkpoint} is damaged ({error})", remedy="Delete it; the one before is used.") from error
    return State(model=load_model(checkpoint / "model"), tensors=tensors, run=run, batches=values["batches"])
