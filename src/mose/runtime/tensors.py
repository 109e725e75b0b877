"""Reading ``.safetensors`` files with numpy alone, without copying what is not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.errors import ModelError
from mose.parsing import parse_json

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # numpy has no bfloat16: read as bits, widened by ``floats``
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
_MAX_HEADER_BYTES = 100_000_000


class TensorFile(Mapping[str, NDArray[np.generic]]):
    """Name -> array of one file, memory-mapped: pages are read when an array is used.

    Args:
        path: A file in safetensors format.

    Raises:
        ModelError: The file is missing, shorter than its header says, or not in this format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ModelError(f"{self.path} is missing")
        size = self.path.stat().st_size
        try:
            with self.path.open("rb") as file:
                header_bytes = int.from_bytes(file.read(8), "little")
                if not 2 <= header_bytes <= min(size - 8, _MAX_HEADER_BYTES):
                    raise ModelError(f"{self.path} is not a safetensors file, or was cut short")
                header = parse_json(file.read(header_bytes))
            header.pop("__metadata__", None)
            self._entries = {
                name: (_DTYPES[entry["dtype"]], tuple(entry["shape"]), *entry["data_offsets"])
                for name, entry in header.items()
            }
            self._bfloat16 = frozenset(name for name, entry in header.items() if entry["dtype"] == "BF16")
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{self.path} is not a safetensors file ({error})") from error
        self._start = 8 + header_bytes
        if self._start + max((entry[3] for entry in self._entries.values()), default=0) > size:
            raise ModelError(f"{self.path} was cut short", remedy="Copy or download the model again.")
        self._bytes = np.memmap(self.path, dtype=np.uint8, mode="r")

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        dtype, shape, begin, end = self._entries[name]
        array: NDArray[np.generic] = self._bytes[self._start + begin : self._start + end].view(dtype)
        return array.reshape(shape)

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
        if name in self._bfloat16:
            return (array.astype(np.uint32) << 16).view(np.float32)
        return np.ascontiguousarray(array, dtype=np.float32)
