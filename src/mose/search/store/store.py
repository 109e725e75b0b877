"""What an index answers: chunks, words, vectors, status. Reading never waits for a writer.

An index is a folder with one SQLite file (WAL) and one flat vector file per exit. Every read takes the
last committed state; ``Store.snapshot`` makes several reads see the same one. Writing goes through
``Store.writing``, which makes sure that the index is still the one of its tree.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mose.errors import CodeIndexError, IndexReplacedError, UnwritableIndexError
from mose.progress import ProgressCallback, no_progress
from mose.search.chunking.names import read_names
from mose.search.store.chunk_table import read_table
from mose.search.store.exchange import exchanging, finish_exchange, remove_lock, replace_index
from mose.search.store.location import DATABASE_NAME, base_folder, current_index, entry_folder
from mose.search.store.lock import writer_lock
from mose.search.store.reader import Reader
from mose.search.store.records import ChunkTable, IndexStatus, StoredChunk, chunk_sum
from mose.search.store.schema import REBUILD, connect, damaged, is_settled
from mose.search.store.status import status_of

_CHUNK = """
SELECT chunks.id, files.path, files.language, first_line, last_line, kind, symbol, signature, context,
    defines, text, key, sum
FROM chunks JOIN files ON files.id = file_id JOIN texts ON texts.id = chunks.id
"""


class Store(Reader):
    """One opened index. Used by one thread at a time: open another one, it costs a millisecond.

    Attributes:
        base: The folder in the user's home that names the index and holds the write lock.
        read_only: True if nothing can be written through this store.
    """

    def __init__(self, base: Path, folder: Path, *, read_only: bool = False) -> None:
        self.base = base
        self.read_only = read_only
        self._may_write = False
        path = folder / DATABASE_NAME
        self._settled = _stamp(path) if read_only and is_settled(path) else None
        super().__init__(folder, connect(path, read_only=read_only, settled=self._settled is not None))

    @classmethod
    def open(cls, folder: Path, *, create: bool = True) -> Store:
        """The index of a folder, to read and write; made first if there is none.

        Args:
            folder: See `mose.search.store.location.index_folder`; the folder of the index itself will do.
            create: False to raise instead of making a new index.

        Raises:
            CodeIndexError: There is none (``create`` False), or it is foreign, damaged or not writable.
        """
        folder = entry_folder(folder)
        base = base_folder(folder)
        finish_exchange(base)
        while True:
            found = _index_behind(folder)
            if found is not None and (create or (found / DATABASE_NAME).is_file()):
                opened = cls._opened(base, found, read_only=False)
                if opened is not None:
                    return opened
            elif not create:
                raise _no_index(folder)
            else:
                with exchanging(folder):
                    if _index_behind(folder) is None:
                        replace_index(folder)

    @classmethod
    def open_to_read(cls, folder: Path) -> Store:
        """The index of a folder as it is now, never written.

        Raises:
            CodeIndexError: There is none, or it is foreign or damaged.
        """
        folder = entry_folder(folder)
        base = base_folder(folder)
        while True:
            found = _index_behind(folder)
            if found is None or not (found / DATABASE_NAME).is_file():
                raise _no_index(folder)
            opened = cls._opened(base, found, read_only=True)
            if opened is not None:
                return opened

    @classmethod
    def _opened(cls, base: Path, folder: Path, *, read_only: bool) -> Store | None:
        """None if another process has just exchanged the index."""
        try:
            _refuse_what_is_not_a_file(folder)
            store = cls(base, folder, read_only=read_only)
        except CodeIndexError:
            if current_index(base) == folder:
                raise
            return None
        if store.is_current():
            return store
        store.close()
        return None

    def go_on_with(self, folder: Path) -> None:
        """Read and write the index of another folder from now on, which has replaced this one."""
        connection = connect(folder / DATABASE_NAME, read_only=False)
        self.close()
        super().__init__(folder, connection)

    def is_current(self) -> bool:
        """Whether this is still the index of its tree: another process may have removed or rebuilt it.

        Of an index that is read as it was when it was opened: whether it is still as it was.
        """
        if current_index(self.base) != self.folder:
            return False
        return self._settled is None or (is_settled(self.path) and _stamp(self.path) == self._settled)

    @contextmanager
    def writing(self, *, wait: bool = True, progress: ProgressCallback = no_progress) -> Iterator[bool]:
        """The right to write this index; everything that writes takes it, and may take it again inside.

        Yields:
            False if another process keeps it and ``wait`` is False.

        Raises:
            IndexReplacedError: Another process has removed or rebuilt the index.
            UnwritableIndexError: The index was opened to read, or cannot be written.
        """
        if self._may_write:
            yield True
            return
        if self.read_only:
            raise UnwritableIndexError(f"{self.path} was opened for reading alone", remedy="Open it again, to write.")
        with writer_lock(self.base, wait=wait, progress=progress) as mine:
            if mine and not self.is_current():
                if current_index(self.base) is None:
                    remove_lock(self.base)  # which has perhaps been made just now
                raise IndexReplacedError(
                    f"the index in {self.base} was removed or rebuilt by another process",
                    remedy="Run the command again.",
                )
            self._may_write = mine
            try:
                yield mine
            finally:
                self._may_write = False

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def chunk_table(self) -> ChunkTable:
        """The location of every chunk."""
        table = read_table(self)
        self._live = (table.generation, table.ids)
        return table

    def keys(self, ids: Iterable[int]) -> dict[int, bytes]:
        """Content keys of chunks by id; equal keys have equal vectors. Ids that are gone are left out."""
        wanted = json.dumps([int(chunk_id) for chunk_id in ids])
        return dict(self.rows("SELECT id, key FROM texts WHERE id IN (SELECT value FROM json_each(?))", (wanted,)))

    def texts(self, ids: Iterable[int]) -> dict[int, str]:
        """Texts of chunks by id. Ids that are gone are left out."""
        wanted = json.dumps([int(chunk_id) for chunk_id in ids])
        return dict(self.rows("SELECT id, text FROM texts WHERE id IN (SELECT value FROM json_each(?))", (wanted,)))

    def chunks(self, ids: Iterable[int]) -> list[StoredChunk]:
        """Chunks in the order of their ids as given; those that are gone are left out."""
        wanted = [int(chunk_id) for chunk_id in ids]
        found = self.rows(f"{_CHUNK} WHERE chunks.id IN (SELECT value FROM json_each(?))", (json.dumps(wanted),))
        by_id = {row[0]: self._stored(row) for row in found}
        return [by_id[chunk_id] for chunk_id in wanted if chunk_id in by_id]

    def _stored(self, row: Sequence[Any]) -> StoredChunk:
        """The chunk of a row, as it was written.

        Raises:
            DamagedIndexError: It is not.
        """
        *values, check = row
        if chunk_sum(*values) != check:
            raise damaged(self.path, f"a chunk of {values[1]!r} is not as it was written")
        chunk_id, path, language, first_line, last_line, kind, symbol, signature, context, defines, text, key = values
        return StoredChunk(
            id=chunk_id,
            path=path,
            language=language,
            first_line=first_line,
            last_line=last_line,
            kind=kind,
            symbol=symbol,
            signature=signature,
            context=context,
            names=read_names(defines),
            text=text,
            key=key,
        )

    def status(self) -> IndexStatus:
        """What the index holds, and how much of the tree that is."""
        return status_of(self)


def _index_behind(folder: Path) -> Path | None:
    """The index that is opened by a folder; one that lies on the other side, home or tree, does not count."""
    found = current_index(base_folder(folder))
    return found if found is not None and found.parent == folder else None


def _no_index(folder: Path) -> CodeIndexError:
    return CodeIndexError(f"there is no index in {folder}", remedy="Run `mose index PATH`.")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _refuse_what_is_not_a_file(folder: Path) -> None:
    """Every file of an index was made by this program: a link or a pipe among them was not."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                    raise CodeIndexError(f"{entry.path} is not a file of mose", remedy=REBUILD)
    except FileNotFoundError:
        return  # removed meanwhile
    except OSError as error:
        raise CodeIndexError(f"{folder} cannot be read: {error.strerror}", remedy="Check its permissions.") from error
