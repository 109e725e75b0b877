"""Byte strings on the disk, read one by one: what is kept in them may be larger than memory.

The file has no name, so that it is gone when the process ends, however that may be.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mose.errors import OutputError


class DiskItems:
    """Byte strings by number.

    Args:
        items: Taken one by one.
        folder: Folder on the disk that takes the file.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.

    Example:
        >>> items = DiskItems([b"one", b"two"], Path(tempfile.gettempdir()))
        >>> items[1], items.span(0, 2)
        (b'two', b'onetwo')
    """

    def __init__(self, items: Iterable[bytes], folder: Path) -> None:
        ends = array("q", [0])
        try:
            self._file = _file_in(folder)
            for item in items:
                ends.append(ends[-1] + self._file.write(item))
            self._file.flush()
        except OSError as error:  # readers of pair files raise errors of their own
            raise OutputError(f"rows cannot be kept in {folder}: {error.strerror}",
                              remedy="Set MOSE_HOME to a folder on a disk with room for them.") from error  # fmt: skip
        self.ends: NDArray[np.int64] = np.array(ends, dtype=np.int64)
        """Where each item begins; the last one is the size of the file."""

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> bytes:
        return self.span(number, number + 1)

    def span(self, first: int, end: int) -> bytes:
        """Items ``first`` to ``end - 1``, joined."""
        start = int(self.ends[first])
        return _read(self._file, start, int(self.ends[end]) - start)

    def __getstate__(self) -> dict[str, Any]:
        """For a system without fork: the whole content."""
        return self.__dict__ | {"_file": self.span(0, len(self))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._file = _file_in(Path(tempfile.gettempdir()))
        self._file.write(state["_file"])
        self._file.flush()


def _file_in(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder, prefix="mose-rows-")


def _read(file: IO[bytes], start: int, size: int) -> bytes:
    if hasattr(os, "pread"):  # forked processes share the position of the file
        return os.pread(file.fileno(), size, start)
    file.seek(start)
    return file.read(size)
