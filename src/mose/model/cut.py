"""Cut a model after an exit by copying the bytes of the tensors that are kept. Needs no torch."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from mose.model.folder import (
    WEIGHTS_FILE,
    StoredTensor,
    check_tensors,
    copy_companions,
    read_header,
    write_config,
)
from mose.model.settings import ModelSettings
from mose.model.shapes import tensor_shapes
from mose.storage import new_folder

_ALIGNMENT = 8
_PIECE_BYTES = 16_000_000


def cut(model: str | Path, exit_layer: int, out: str | Path) -> None:
    """Write the model without the blocks above an exit; all remaining exits compute the same bit for bit.

    Args:
        model: A model folder.
        exit_layer: The new last exit.
        out: Folder for the cut model; a folder that mose wrote is replaced.

    Raises:
        ModelError: The model is damaged or has no such exit.
        OutputError: ``out`` is not a folder that mose wrote.

    Example:
        >>> cut("runs/small", 3, "runs/small-3")                      # doctest: +SKIP
    """
    model = Path(model)
    settings = ModelSettings.read(model)
    weights = model / WEIGHTS_FILE
    tensors = read_header(weights)
    check_tensors({name: tensor.shape for name, tensor in tensors.items()}, settings, where=str(weights))
    shorter = settings.cut_after(exit_layer, where=str(weights))
    with new_folder(out) as folder:
        write_config(folder, shorter)
        kept = {name: tensors[name] for name in tensor_shapes(shorter)}
        _copy_tensors(weights, kept, folder / WEIGHTS_FILE)
        copy_companions(model, folder)


def _copy_tensors(source: Path, tensors: dict[str, StoredTensor], target: Path) -> None:
    """Copy tensors byte for byte, whatever their dtype."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    # Wide types first, as the safetensors library writes them, keeps every tensor aligned.
    width_of = {name: tensor.num_bytes / max(1, math.prod(tensor.shape)) for name, tensor in tensors.items()}
    order = sorted(tensors, key=lambda name: (-width_of[name], name))
    for name in order:
        tensor = tensors[name]
        offsets = [position, position + tensor.num_bytes]
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        position += tensor.num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with source.open("rb") as read, target.open("wb") as write:
        write.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            read.seek(tensors[name].begin)
            left = tensors[name].num_bytes
            while left > 0:
                left -= write.write(read.read(min(left, _PIECE_BYTES)))
