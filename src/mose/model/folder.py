"""Model folders on disk, read without torch."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mose.errors import ModelError
from mose.model.settings import ModelSettings
from mose.model.shapes import Shape, tensor_shapes
from mose.parsing import parse_json

WEIGHTS_FILE = "model.safetensors"
_LARGEST_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """Where one tensor lies in a safetensors file."""

    dtype: str
    """As safetensors spells it: F32, BF16, ..."""
    shape: Shape
    begin: int
    """First byte, counted from the start of the file."""
    num_bytes: int


def read_header(file: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name; no weights are read.

    Raises:
        ModelError: The file is missing, truncated or no safetensors file.
    """
    if not file.is_file():
        raise ModelError(f"{file} is missing", remedy="Is this a model folder, completely copied?")
    damaged = ModelError(f"{file} is damaged or not safetensors", remedy="Copy or convert the model again.")
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LARGEST_HEADER_BYTES:
                raise damaged
            header = parse_json(stream.read(length))
        header.pop("__metadata__", None)
        tensors = {
            name: StoredTensor(
                dtype=entry["dtype"],
                shape=tuple(entry["shape"]),
                begin=8 + length + entry["data_offsets"][0],
                num_bytes=entry["data_offsets"][1] - entry["data_offsets"][0],
            )
            for name, entry in header.items()
        }
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged from error
    if file.stat().st_size < max((tensor.begin + tensor.num_bytes for tensor in tensors.values()), default=0):
        raise damaged
    return tensors


def check_tensors(found: Mapping[str, Shape], settings: ModelSettings, *, where: str) -> None:
    """Nothing if the tensors are those that the settings ask for.

    Raises:
        ModelError: A tensor is missing, unexpected, or has another shape; it is named.
    """
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


def write_config(folder: Path, settings: ModelSettings) -> None:
    """Writes ``config.json``."""
    values = {"model_type": "mose", "architectures": ["MoseModel"], **settings.to_json()}
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def copy_companions(source: Path, target: Path) -> None:
    """Copies the tokenizer, the card and the licences of a model folder."""
    for file in sorted(source.iterdir()):
        named = file.name in ("tokenizer.json", "README.md") or file.name.startswith(("LICENSE", "NOTICE"))
        if file.is_file() and named and not (target / file.name).exists():
            shutil.copyfile(file, target / file.name)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
