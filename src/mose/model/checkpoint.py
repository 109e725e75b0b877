"""Save and load models in safetensors; every tensor is checked against the config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mose.errors import ModelError
from mose.model.encoder import MoseModel
from mose.model.folder import WEIGHTS_FILE, check_tensors, copy_companions, read_header, write_config
from mose.model.settings import ModelSettings
from mose.model.shapes import tensor_shapes
from mose.model.transformers_config import MoseConfig
from mose.storage import new_folder


def save_model(model: MoseModel, out: str | Path, *, companions: str | Path, card: str | None = None) -> None:
    """Write a model folder atomically: config, weights, tokenizer, card, licences.

    Args:
        model: The model; its weights keep their dtype.
        out: The folder; a folder that mose wrote is replaced.
        companions: Folder to copy ``tokenizer.json``, ``README.md``, licences and notices from.
        card: Text of ``README.md``; copied from ``companions`` if None.

    Raises:
        ModelError: ``companions`` has no tokenizer.
        OutputError: ``out`` is not a folder that mose wrote.
    """
    companions = Path(companions)
    if not (companions / "tokenizer.json").is_file():
        raise ModelError(f"{companions / 'tokenizer.json'} is missing", remedy="Copy it there from the model's source.")
    with new_folder(out) as folder:
        write_model(model, folder, card=card)
        copy_companions(companions, folder)


def write_model(model: MoseModel, folder: Path, *, card: str | None = None) -> None:
    """Write config, weights and card into an existing folder; see ``save_model`` for a new one.

    Raises:
        ModelError: The model's tensors are not those of its config.
    """
    write_tensors(model.config.settings, model.state_dict(), folder, card=card)


def write_tensors(
    settings: ModelSettings, state: Mapping[str, torch.Tensor], folder: Path, *, card: str | None = None
) -> None:
    """Write what ``write_model`` writes for a model with these tensors.

    Raises:
        ModelError: The tensors are not those of the settings.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    check_tensors(shapes, settings, where="the model")
    write_config(folder, settings)
    save_tensors(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8")


def save_tensors(state: Mapping[str, torch.Tensor], file: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write tensors from any device into a safetensors file that everyone may read."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, file, metadata=metadata)
    file.chmod(0o644)  # safetensors makes it readable by the owner alone


def load_model(
    folder: str | Path,
    *,
    last_exit: int | None = None,
    dtype: torch.dtype | None = None,
    mapped: bool = False,
) -> MoseModel:
    """Load the model of a folder, in evaluation mode.

    Args:
        folder: A model folder.
        last_exit: Weights above this exit are not read; the model is as if cut there.
        dtype: Dtype of the weights; as stored if None.
        mapped: Leave weights of this dtype in the file, so that memory holds them once. The alignment of the file then
            changes rounding: not for training that must resume exactly.

    Raises:
        ModelError: No such folder, damaged or foreign weights, or no such exit.
        ConfigError: ``config.json`` has unknown, missing or contradicting keys.
    """
    folder = Path(folder)
    settings = ModelSettings.read(folder)
    weights = folder / WEIGHTS_FILE
    shapes = {name: tensor.shape for name, tensor in read_header(weights).items()}
    check_tensors(shapes, settings, where=str(weights))
    if last_exit is not None:
        settings = settings.cut_after(last_exit, where=str(weights))
    with safe_open(str(weights), framework="pt") as stored:
        # Copies, because a view has the alignment of the file, and alignment changes rounding.
        tensors = {name: stored.get_tensor(name).to(dtype, copy=not mapped) for name in tensor_shapes(settings)}
    with torch.device("meta"):
        model = MoseModel(MoseConfig.from_settings(settings))
    model.load_state_dict(tensors, assign=True)
    model.train(False)
    return model
