"""Vectors of a tree on disk: one flat file per exit.

The file holds unit rows in the order in which they were made, and nothing else. Which chunk a row belongs to, and a
checksum of both, is known to the index alone and is committed there after the row has reached the disk: a row that
the index does not name does not exist, and a row that does not fit its checksum is not read.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.errors import DamagedIndexError
from mose.search.store.location import unwritable
from mose.search.store.reader import Reader
from mose.search.store.schema import REBUILD, damaged

MAX_WIDTH = 1 << 16
_NAME = re.compile(r"exit_\d{1,4}(\.\d{1,9})?\.vec")
_MAX_ROWS = 1 << 40
_WRITE = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def new_name(exit_layer: int) -> str:
    """The name of a new file. No name is used twice, so the name tells readers whether the file is another one."""
    return f"exit_{exit_layer}.{secrets.randbelow(10**9)}.vec"


class VectorFile:
    """A flat file of float32 rows.

    Args:
        folder: The index folder.
        name: The file in it; made on the first write.
        width: Numbers a row.

    Raises:
        DamagedIndexError: The name is not one that `new_name` gives.
    """

    def __init__(self, folder: Path, name: str, *, width: int) -> None:
        if not _NAME.fullmatch(name):
            raise DamagedIndexError(f"{folder} names a file that is not its own", got=name, remedy=REBUILD)
        self.path = folder / name
        self._row_bytes = 4 * width
        self._width = width

    def write(self, first_row: int, vectors: NDArray[np.float32]) -> None:
        """Write rows [N, width] at ``first_row`` and wait until the disk has them.

        Raises:
            CodeIndexError: The disk is full or the file cannot be written.
        """
        try:
            descriptor = os.open(self.path, _WRITE, 0o600)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
                _write_all(file.fileno(), first_row * self._row_bytes, data)
                getattr(os, "fdatasync", os.fsync)(file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def map(self, num_rows: int) -> NDArray[np.float32]:
        """The first ``num_rows`` rows as a read-only map [R, width]; fewer if the file is missing or lost its end.

        Raises:
            CodeIndexError: The file cannot be read.
        """
        try:
            with os.fdopen(os.open(self.path, _READ), "rb") as file:
                status = os.fstat(file.fileno())
                num_rows = min(num_rows, status.st_size // self._row_bytes) if stat.S_ISREG(status.st_mode) else 0
                if num_rows > 0:
                    return np.memmap(file, dtype="<f4", mode="r", shape=(num_rows, self._width))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise unwritable(self.path, error) from error
        return np.empty((0, self._width), dtype=np.float32)


def _write_all(descriptor: int, offset: int, data: bytes) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


# ---- what the index says of the rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitEntry:
    """What the index says of one exit's file."""

    exit: int
    model: str
    width: int
    file: str
    next_row: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExitMatrix:
    """Every vector of an exit that belongs to a chunk of today and is as it was written."""

    ids: NDArray[np.int64]  # [M], chunks
    rows: NDArray[np.int64]  # [M], of the matrix
    matrix: NDArray[np.float32]  # [R, W], a read-only map
    num_damaged: int = 0  # as `num_damaged` counts them


def read_entries(store: Reader) -> list[ExitEntry]:
    """What the index says of its exits, shallowest first.

    Raises:
        DamagedIndexError: An entry is impossible.
    """
    entries = []
    for row in store.rows("SELECT exit, model, width, file, next_row FROM exits ORDER BY exit"):
        exit_layer, model, width, file, next_row = row
        sound = (
            all(isinstance(value, int) for value in (exit_layer, width, next_row))
            and all(isinstance(value, str) for value in (model, file))
            and exit_layer >= 0
            and 1 <= width <= MAX_WIDTH
            and 0 <= next_row <= _MAX_ROWS
        )
        if not sound:
            raise damaged(store.path, f"it describes vectors as {row}")
        entries.append(ExitEntry(exit=exit_layer, model=model, width=width, file=file, next_row=next_row))
    return entries


def read_exit(store: Reader, exit_layer: int) -> ExitMatrix:
    """The vectors of an exit; each row is checked once a process."""
    found = _sound_rows(store, exit_layer)
    keep = is_member(found.ids, store.chunk_ids())
    return replace(found, ids=found.ids[keep], rows=found.rows[keep])


def num_damaged(store: Reader, exit_layer: int) -> int:
    """Rows of an exit that are named, and lost or not as they were written.

    Asked before every batch that is written, so it reads nothing of the chunks.
    """
    return _sound_rows(store, exit_layer).num_damaged


def _sound_rows(store: Reader, exit_layer: int) -> ExitMatrix:
    """As `read_exit`, with the rows of chunks that are gone."""
    while True:
        with store.snapshot():
            found = [entry for entry in read_entries(store) if entry.exit == exit_layer]
            runs = read_runs(store, exit_layer)
        if not found:
            none = np.empty(0, np.int64)
            return ExitMatrix(ids=none, rows=none, matrix=np.empty((0, 0), np.float32))
        entry = found[0]
        matrix = VectorFile(store.folder, entry.file, width=entry.width).map(entry.next_row)
        if len(matrix) == entry.next_row or store.vector_state(exit_layer)[0] == entry.file:
            break  # else a writer has moved the vectors to another file meanwhile
    ids, rows, sums = run_members(runs)
    sound = rows < len(matrix)
    sound[sound] = _checked(store, entry, matrix)[rows[sound]] == sums[sound] - _seeds(entry, ids[sound])
    lost = entry.next_row - int(np.count_nonzero(sound))
    return ExitMatrix(ids=ids[sound], rows=rows[sound], matrix=matrix, num_damaged=lost)


def _checked(store: Reader, entry: ExitEntry, matrix: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Sums of the rows of a file; only those not seen before by this store are computed."""
    name, sums = store.row_sums.get(entry.exit, ("", np.empty(0, np.uint32)))
    if name != entry.file or len(sums) > len(matrix):
        sums = np.empty(0, np.uint32)
    if len(sums) < len(matrix):
        sums = np.concatenate([sums, row_sums(matrix[len(sums) :])])
        store.row_sums[entry.exit] = (entry.file, sums)
    return sums


def row_sums(vectors: NDArray[np.float32]) -> NDArray[np.uint32]:
    """A checksum [N] of each row: as fast as memory, and any changed number changes it."""
    words = np.ascontiguousarray(vectors, dtype="<f4").view("<u4")
    odd = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint32) * np.uint32(0x9E3779B1)
    return np.asarray(words @ odd, dtype=np.uint32)


def _seeds(entry: ExitEntry, ids: NDArray[np.int64]) -> NDArray[np.uint32]:
    """What ties the checksums to chunk, model and exit."""
    about = zlib.crc32(f"{entry.model} {entry.exit} {entry.width}".encode())
    return ids.astype(np.uint32) * np.uint32(0x85EBCA6B) + np.uint32(about)


def sums_of(entry: ExitEntry, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The checksums [N] under which the vectors [N, W] of chunks are kept."""
    return row_sums(vectors) + _seeds(entry, ids)


def read_runs(store: Reader, exit_layer: int) -> list[Sequence[Any]]:
    """The stored runs of an exit (``first_row``, ``ids``, ``sums``), in order of rows."""
    return store.rows("SELECT first_row, ids, sums FROM runs WHERE exit = ? ORDER BY first_row", (exit_layer,))


def run_members(runs: Sequence[Sequence[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """Chunk ids, rows and checksums of stored runs (``first_row``, ``ids``, ``sums``), in order of rows.

    An impossible run is left out: its rows count as lost.
    """
    ids, rows, sums = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.uint32)]
    end = 0
    for first_row, id_blob, sum_blob in runs:
        if not (isinstance(id_blob, bytes) and isinstance(sum_blob, bytes) and isinstance(first_row, int)):
            continue
        if len(id_blob) != 2 * len(sum_blob) or len(id_blob) % 8 or not end <= first_row <= _MAX_ROWS:
            continue
        end = first_row + len(id_blob) // 8
        ids.append(np.frombuffer(id_blob, dtype="<i8"))
        sums.append(np.frombuffer(sum_blob, dtype="<u4"))
        rows.append(np.arange(first_row, end))
    return np.concatenate(ids), np.concatenate(rows), np.concatenate(sums)


def is_member(ids: NDArray[np.int64], rising: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which ids occur in a rising array."""
    if not len(rising):
        return np.zeros(len(ids), dtype=np.bool_)
    positions = np.searchsorted(rising, ids)
    positions[positions == len(rising)] = 0
    return np.asarray(rising[positions] == ids)
