"""Cut a model after an exit by copying the bytes of the tensors that are kept. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from mose.model.folder import (
    WEIGHTS_FILE,
    check_tensors,
    copy_companions,
    copy_tensors,
    read_header,
    write_config,
)
from mose.model.settings import ModelSettings
from mose.model.shapes import tensor_shapes
from mose.storage import new_folder, require_apart


def cut(model: str | Path, exit_layer: int, out: str | Path) -> None:
    """Write the model without the blocks above an exit; all remaining exits compute the same bit for bit.

    Args:
        model: A model folder.
        exit_layer: The new last exit.
        out: Folder for the cut model; a folder that mose wrote is replaced.

    Raises:
        ModelError: The model is damaged or has no such exit.
        OutputError: ``out`` is not a folder that mose wrote, or is the model.

    Example:
        >>> cut("runs/small", 3, "runs/small-3")                      # doctest: +SKIP
    """
    model = Path(model)
    settings = ModelSettings.read(model)
    weights = model / WEIGHTS_FILE
    tensors = read_header(weights)
    check_tensors({name: tensor.shape for name, tensor in tensors.items()}, settings, where=str(weights))
    shorter = settings.cut_after(exit_layer, where=str(weights))
    require_apart(Path(out), model)
    with new_folder(out) as folder:
        write_config(folder, shorter)
        kept = {name: tensors[name] for name in tensor_shapes(shorter)}
        copy_tensors(kept, folder / WEIGHTS_FILE)
        copy_companions(model, folder)
