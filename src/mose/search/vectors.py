"""Vectors of a tree on disk: one flat file per exit.

The file holds unit rows in the order in which they were made. Which chunk a row belongs to is known to
the index alone and is committed there after the row has reached the disk: a row that the index does not name
does not exist.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.errors import CodeIndexError
from mose.search.location import unwritable
from mose.search.schema import REBUILD

if TYPE_CHECKING:
    from mose.search.store import Store

MAGIC = b"MoSEvec1"
HEADER_BYTES = 4096
_NAME = re.compile(r"exit_\d+(\.\d+)?\.vec")


class VectorFile:
    """A flat file of float32 rows for one exit of one model.

    Args:
        folder: The index folder.
        name: The file in it; made on the first write.
        model: Identity of the model whose vectors these are.
        exit_layer: Their exit.
        width: Numbers a row.

    Raises:
        CodeIndexError: The name is none that this module gives: the index was tampered with.
    """

    def __init__(self, folder: Path, name: str, *, model: str, exit_layer: int, width: int) -> None:
        if not _NAME.fullmatch(name):
            raise CodeIndexError(f"{folder} names a file that is not its own", got=name, remedy=REBUILD)
        self.path = folder / name
        self._about = {"model": model, "exit": exit_layer, "width": width}
        self._row_bytes = 4 * width
        self._width = width

    def num_rows(self) -> int:
        """Whole rows in the file, 0 if it is missing or its header was lost.

        Raises:
            CodeIndexError: The file holds vectors of another model, exit or width.
        """
        try:
            with self.path.open("rb") as file:
                header = file.read(HEADER_BYTES)
                size_bytes = file.seek(0, os.SEEK_END)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise unwritable(self.path, error) from error
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            return 0
        try:
            about = json.loads(header[len(MAGIC) :].rstrip(b"\0"))
        except ValueError:
            return 0
        if about != self._about:
            raise CodeIndexError(
                f"{self.path} holds vectors of another model",
                got=about,
                allowed=str(self._about),
                remedy="Run `mose index PATH --rebuild`, or name the model that made them.",
            )
        return (size_bytes - HEADER_BYTES) // self._row_bytes

    def write(self, first_row: int, vectors: NDArray[np.float32]) -> None:
        """Puts rows [N, width] at ``first_row`` and waits until the disk has them.

        Raises:
            CodeIndexError: The disk is full or the file cannot be written.
        """
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(self.path, flags, 0o644)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                if first_row == 0:
                    header = MAGIC + json.dumps(self._about).encode()
                    _write_all(file.fileno(), 0, header.ljust(HEADER_BYTES, b"\0"))
                offset = HEADER_BYTES + first_row * self._row_bytes
                _write_all(file.fileno(), offset, np.ascontiguousarray(vectors, dtype="<f4").tobytes())
                getattr(os, "fdatasync", os.fsync)(file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def map(self, num_rows: int) -> NDArray[np.float32]:
        """The first ``num_rows`` rows as a read-only map [R, width]; fewer if the file lost its end.

        Raises:
            CodeIndexError: The file holds vectors of another model, exit or width.
        """
        num_rows = min(num_rows, self.num_rows())
        if num_rows == 0:
            return np.empty((0, self._width), dtype=np.float32)
        try:
            return np.memmap(self.path, dtype="<f4", mode="r", offset=HEADER_BYTES, shape=(num_rows, self._width))
        except FileNotFoundError:
            return np.empty((0, self._width), dtype=np.float32)


def _write_all(descriptor: int, offset: int, data: bytes) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_matrix(store: Store, exit_layer: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """See `mose.search.store.Store.vector_matrix`."""
    while True:
        with store.snapshot():
            found = store.rows("SELECT model, width, file, next_row FROM exits WHERE exit = ?", (exit_layer,))
            runs = store.rows("SELECT first_row, ids FROM runs WHERE exit = ? ORDER BY first_row", (exit_layer,))
            live = store.chunk_ids()
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), np.float32)
        model, width, name, next_row = found[0]
        file = VectorFile(store.folder, name, model=model, exit_layer=exit_layer, width=width)
        matrix = file.map(next_row)
        if len(matrix) == next_row or store.vector_state(exit_layer)[0] == name:
            break  # else a writer has moved the vectors to another file meanwhile
    ids, rows = run_members(runs)
    keep = (rows < len(matrix)) & is_member(ids, live)
    return ids[keep], rows[keep], matrix


def run_members(runs: Sequence[tuple[int, bytes]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Chunk ids and rows of stored runs (``first_row``, ``ids``), in order of rows."""
    if not runs:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    ids = [np.frombuffer(blob, dtype="<i8") for _, blob in runs]
    rows = [np.arange(first, first + len(part)) for (first, _), part in zip(runs, ids, strict=True)]
    return np.concatenate(ids).astype(np.int64, copy=False), np.concatenate(rows)


def is_member(ids: NDArray[np.int64], rising: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which ids occur in a rising array."""
    if not len(rising):
        return np.zeros(len(ids), dtype=np.bool_)
    places = np.searchsorted(rising, ids)
    places[places == len(rising)] = 0
    return np.asarray(rising[places] == ids)
