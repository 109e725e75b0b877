"""Read ``.safetensors`` files with numpy alone, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.errors import ModelError
from mose.model.folder import read_header

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # numpy has no bfloat16: read as bits, widened by ``floats``
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}


class TensorFile(Mapping[str, NDArray[np.generic]]):
    """Name -> array of one file; pages are read when an array is used.

    Args:
        path: A file in safetensors format.

    Raises:
        ModelError: The file is missing, truncated, or not in this format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._entries = read_header(self.path)
        for name, entry in self._entries.items():
            if entry.dtype not in _DTYPES:
                raise ModelError(f"type of {name} in {self.path}", got=entry.dtype, allowed=", ".join(_DTYPES))
        self._bytes = np.memmap(self.path, dtype=np.uint8, mode="r")

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        entry = self._entries[name]
        stored = self._bytes[entry.begin : entry.begin + entry.num_bytes]
        array: NDArray[np.generic] = stored.view(_DTYPES[entry.dtype])
        return array.reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def floats(self, name: str) -> NDArray[np.float32]:
        """One array as float32, whatever float type the file holds.

        Raises:
            ModelError: The file has no such array.
        """
        if name not in self._entries:
            raise ModelError(f"{self.path} has no {name}", remedy="Its config.json does not describe it.")
        array = self[name]
        if self._entries[name].dtype == "BF16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return np.ascontiguousarray(array, dtype=np.float32)
