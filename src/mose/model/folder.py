"""Model folders on disk, read without torch."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mose.errors import ModelError
from mose.json_reading import JSON_BYTES, parse_json
from mose.model.settings import ModelSettings
from mose.model.shapes import Shape, tensor_shapes

WEIGHTS_FILE = "model.safetensors"
_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1},
}
"""Bytes of one number, by the safetensors name of its type."""
_MAX_DIMENSIONS = 8
_ALIGNMENT = 8
_PIECE_BYTES = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """Location of one tensor in a safetensors file."""

    file: Path
    dtype: str
    """As safetensors spells it: F32, BF16, ..."""
    shape: Shape
    begin: int
    """First byte, counted from the start of the file."""
    num_bytes: int


def read_header(file: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name; no weights are read.

    Raises:
        ModelError: The file is missing, truncated or not a safetensors file.
    """
    if not file.is_file():
        raise ModelError(f"{file} is missing", remedy="Is this a model folder, completely copied?")
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(size - 8, JSON_BYTES):
                raise ValueError(f"a header of {length:,} bytes")
            header = parse_json(stream.read(length))
        header.pop("__metadata__", None)
        return {name: _stored_tensor(file, name, entry, 8 + length, size) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{file} is damaged or not safetensors ({error})"
        raise ModelError(what, remedy="Copy or convert the model again.") from error


def _stored_tensor(file: Path, name: str, entry: Mapping[str, Any], start: int, size: int) -> StoredTensor:
    dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise ValueError(f"{name} has numbers that are not counts")
    num_bytes = _BYTES[dtype] * math.prod(shape)
    if len(shape) > _MAX_DIMENSIONS or end - begin != num_bytes or start + end > size:
        raise ValueError(f"{name} has a shape or offsets that the file cannot hold")
    return StoredTensor(file=file, dtype=dtype, shape=shape, begin=start + begin, num_bytes=num_bytes)


def check_tensors(found: Mapping[str, Shape], settings: ModelSettings, *, where: str) -> None:
    """Raise `ModelError`, which names the wrong tensor, unless names and shapes are those of the settings."""
    expected = tensor_shapes(settings)
    advice = "Does config.json belong to these weights?"
    missing = [name for name in expected if name not in found]
    if missing:
        raise ModelError(f"{where} has no tensor {_some(missing)}", remedy=advice)
    extra = [name for name in found if name not in expected]
    if extra:
        raise ModelError(f"{where} has a tensor unknown to its config: {_some(extra)}", remedy=advice)
    for name, shape in expected.items():
        if tuple(found[name]) != shape:
            got = tuple(found[name])
            raise ModelError(f"{where}: shape of {name}", got=got, allowed=str(shape), remedy=advice)


def copy_tensors(tensors: Mapping[str, StoredTensor], target: Path) -> None:
    """Write stored tensors under new names, byte for byte, in pieces, so that memory does not grow with the model.

    Args:
        tensors: Name in the new file -> where the tensor lies.
        target: The new file.

    Raises:
        ModelError: A source ends early, as if it was changed in the meantime.
    """
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
    with target.open("wb") as write:
        write.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            _copy_bytes(tensors[name], write)


def _copy_bytes(tensor: StoredTensor, write: BinaryIO) -> None:
    with tensor.file.open("rb") as read:
        read.seek(tensor.begin)
        left = tensor.num_bytes
        while left > 0:
            piece = read.read(min(left, _PIECE_BYTES))
            if not piece:
                raise ModelError(f"{tensor.file} ends early", remedy="Copy the model again.")
            left -= write.write(piece)


def write_config(folder: Path, settings: ModelSettings) -> None:
    """Write ``config.json``, and what tells sentence-transformers how to read the folder."""
    values = {"model_type": "mose", "architectures": ["MoseModel"], **settings.to_json()}
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    write_modules(folder)


def write_modules(folder: Path) -> None:
    """Write ``modules.json``, the list of classes by which sentence-transformers reads a folder."""
    module = {"idx": 0, "name": "0", "path": "", "type": "mose.integrations.sentence_transformers.MultiExitEncoder"}
    (folder / "modules.json").write_text(json.dumps([module], indent=2) + "\n", encoding="utf-8")


def copy_file(file: Path, target: Path) -> None:
    """Copy a file of a model folder.

    Raises:
        ModelError: It is a link that leads out of the folder, to what is not the model's. (The hub's cache keeps the
            files of a repository in a folder of their own, with links to them.)
    """
    folder, found = file.parent.resolve(), file.resolve()
    is_of_hub = folder.parent.name == "snapshots" and found.parent == folder.parent.parent / "blobs"
    if not found.is_relative_to(folder) and not is_of_hub:
        raise ModelError(f"{file} is a link to a file of another folder", remedy="Copy the model with all its files.")
    shutil.copyfile(found, target)


def copy_companions(source: Path, target: Path) -> None:
    """Copy the tokenizer, the card and the licences of a model folder."""
    for file in sorted(source.iterdir()):
        named = file.name in ("tokenizer.json", "README.md") or file.name.startswith(("LICENSE", "NOTICE"))
        if file.is_file() and named and not (target / file.name).exists():
            copy_file(file, target / file.name)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
