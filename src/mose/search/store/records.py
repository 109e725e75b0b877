"""The values that go into an index and come out of it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose.search.chunking.chunk import Chunk
from mose.search.chunking.names import DefinedName, read_names


class KnownFile(NamedTuple):
    """What the index knows about a file."""

    id: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    doubtful: bool
    hash: bytes
    skipped: str
    language: str
    cut_by: str
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChunk(Chunk):
    """One chunk of an index."""

    id: int
    path: str
    key: bytes


def chunk_sum(*values: object) -> int:
    """The checksum that is kept with a chunk: of its id, location, names, text and key, in this order."""
    parts = [value if type(value) is str else repr(value) for value in values]  # repr() of a text is slow
    return zlib.crc32("\0".join(parts).encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, kw_only=True, eq=False)
class ChunkTable:
    """The location of every chunk, N of them in M files, in order of their ids."""

    generation: int
    ids: NDArray[np.int64]  # [N], rising
    file_row: NDArray[np.int32]  # [N], into paths and languages
    first_line: NDArray[np.int32]  # [N]
    last_line: NDArray[np.int32]  # [N]
    symbol: list[str]  # [N], "" where there is none
    kind: list[str]  # [N]
    defined: list[str]  # [N], names as `mose.search.chunking.names` writes them
    paths: list[str]  # [M]
    languages: list[str]  # [M]
    generated: list[bool]  # [M], True where a tool wrote the file

    def __len__(self) -> int:
        return len(self.ids)

    def names_of(self, row: int) -> tuple[DefinedName, ...]:
        """Every name that a chunk defines."""
        return read_names(self.defined[row])

    @cached_property
    def lower_paths(self) -> list[str]:
        """``paths`` in lower case."""
        return [path.lower() for path in self.paths]

    @cached_property
    def path_names(self) -> frozenset[str]:
        """Names of all files, without their endings, and folders, in lower case."""
        parts = {part for path in self.lower_paths for part in path.split("/")}
        return frozenset(part.partition(".")[0] for part in parts)

    def files_named(self, name: str) -> list[int]:
        """Rows of ``paths`` whose last part is a name in lower case, rising."""
        return self._files_by_name.get(name, [])

    @cached_property
    def _files_by_name(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, path in enumerate(self.lower_paths):
            found.setdefault(path.rpartition("/")[2], []).append(row)
        return found

    @cached_property
    def _defined_in_one(self) -> tuple[str, NDArray[np.int64]]:
        """All of ``defined`` in lower case, each name behind a line end, and where each chunk's part begins [N]."""
        parts = [f"\n{names.lower()}" for names in self.defined]
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        return "".join(parts), np.cumsum(lengths) - lengths

    @cached_property
    def rows_by_name(self) -> dict[str, list[int]]:
        """Every name that some chunk defines, in lower case, and the rows of these chunks, rising.

        For many names at once; `rows_defining` finds one in a quarter of the time that this takes to be made.
        """
        found: dict[str, list[int]] = {}
        for row, names in enumerate(self.defined):
            for line in names.split("\n") if names else ():
                rows = found.setdefault(line.partition("\t")[0].lower(), [])
                if not rows or rows[-1] != row:
                    rows.append(row)
        return found

    def rows_defining(self, name: str) -> list[int]:
        """Rows of the chunks that define a name, in any case, rising."""
        if "rows_by_name" in self.__dict__:  # made already
            return self.rows_by_name.get(name.lower(), [])
        text, starts = self._defined_in_one
        wanted = f"\n{name.lower()}\t"
        found: dict[int, None] = {}
        at = text.find(wanted)
        while at >= 0:
            found[int(np.searchsorted(starts, at, side="right")) - 1] = None
            at = text.find(wanted, at + 1)
        return list(found)

    @cached_property
    def _by_file(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.file_row, kind="stable")
        return order, np.searchsorted(self.file_row[order], np.arange(len(self.paths) + 1))

    def rows_of_file(self, file_row: int) -> NDArray[np.int64]:
        """Rows of the chunks of a file, given as a row of ``paths``, rising."""
        order, starts = self._by_file
        return order[starts[file_row] : starts[file_row + 1]]

    def row_at(self, path: str, line: int) -> int | None:
        """The row of the smallest chunk of a file that holds a line (counted from 1); None for any other number."""
        if not 0 < line < 2**31 or path not in self.paths:
            return None
        rows = self.rows_of_file(self.paths.index(path))
        rows = rows[(self.first_line[rows] <= line) & (self.last_line[rows] >= line)]
        return int(min(rows, key=lambda row: self.last_line[row] - self.first_line[row])) if len(rows) else None

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of chunk ids in this table, -1 for ids that it does not have."""
        rows = np.searchsorted(self.ids, ids)
        rows[rows == len(self.ids)] = 0
        if not len(self.ids):
            return np.full(len(ids), -1, dtype=np.int64)
        return np.where(self.ids[rows] == ids, rows, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageStatus:
    """How much of one language is in an index."""

    language: str
    num_files: int
    num_chunks: int
    num_cut_by_lines: int  # their language has no grammar, or there was trouble with them


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStatus:
    """What an index holds, and how much of the tree that is."""

    root: str
    folder: Path
    num_files: int
    num_chunks: int
    num_pending_files: int  # seen by the last refresh and not stored yet
    complete: bool  # the last refresh ran to its end
    skipped: dict[str, int]  # reason -> files and folders left out
    skipped_examples: dict[str, tuple[str, ...]]
    troubles: dict[str, int]  # reason -> files cut by lines although their language has a grammar
    trouble_examples: dict[str, tuple[str, ...]]
    languages: tuple[LanguageStatus, ...]
    vectors: dict[int, int]  # exit -> chunks that have a vector
    damaged: dict[int, int]  # exit -> vectors that are not as they were written; the next run makes them again
    model: str | None
    chunker: str | None
    size_bytes: int
    refreshed_at: float | None  # seconds since the epoch; the last refresh that found a change
