"""What an index answers: chunks, words, vectors, status. Reading never waits for a writer.

An index is a folder with one SQLite file (WAL) and one flat vector file per exit. Every read takes the
last committed state; ``Store.snapshot`` makes several reads see the same one. Writing goes through
``Store.writing``, which makes sure that the index is still the one of its tree.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.errors import CodeIndexError, IndexReplacedError, UnwritableIndexError
from mose.progress import ProgressCallback, no_progress
from mose.search.chunking.names import read_names
from mose.search.store.chunk_table import read_table
from mose.search.store.exchange import exchanging, finish_exchange, remove_lock, replace_index
from mose.search.store.exit_vectors import read_entries, read_exit
from mose.search.store.location import DATABASE_NAME, base_folder, current_index, entry_folder
from mose.search.store.lock import writer_lock
from mose.search.store.reader import Reader
from mose.search.store.records import ChunkTable, IndexStatus, StoredChunk, chunk_sum
from mose.search.store.schema import REBUILD, TOKENIZER, clear_errors, connect, damaged, is_settled, stored_values
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
        self._stemmer: sqlite3.Connection | None = None

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
        """None if another process has exchanged the index in this moment."""
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

    def is_current(self) -> bool:
        """Whether this is still the index of its tree: another process may have removed it or made it anew.

        Of an index that is read as it was when it was opened: whether it is still as it was.
        """
        if current_index(self.base) != self.folder:
            return False
        return self._settled is None or (is_settled(self.path) and _stamp(self.path) == self._settled)

    @contextmanager
    def writing(self, *, wait: bool = True, progress: ProgressCallback = no_progress) -> Iterator[bool]:
        """The right to write this index: everything that writes takes it, and may take it again inside.

        Args:
            wait: See `mose.search.store.lock.writer_lock`.
            progress: As well.

        Yields:
            False if another process keeps it and ``wait`` is False.

        Raises:
            IndexReplacedError: Another process has removed the index or made it anew.
            UnwritableIndexError: The index was opened to read, or cannot be written.
        """
        if self._may_write:
            yield True
            return
        if self.read_only:
            raise UnwritableIndexError(f"{self.path}: was opened for reading, not for writing")
        with writer_lock(self.base, wait=wait, progress=progress) as mine:
            if mine and not self.is_current():
                if current_index(self.base) is None:
                    remove_lock(self.base)  # which has perhaps been made just now
                raise IndexReplacedError(
                    f"the index in {self.base} was removed or made anew by another process",
                    remedy="Run the command again.",
                )
            self._may_write = mine
            try:
                yield mine
            finally:
                self._may_write = False

    def close(self) -> None:
        """Closes the files; the store cannot be used afterwards."""
        self.connection.close()
        if self._stemmer is not None:
            self._stemmer.close()
            self._stemmer = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- chunks

    def chunk_table(self) -> ChunkTable:
        """The place of every chunk."""
        table = read_table(self)
        self._live = (table.generation, table.ids)
        return table

    def texts(self, ids: Iterable[int]) -> dict[int, str]:
        """Texts of chunks by id; ids that are gone are left out."""
        return self._by_id("text", ids)

    def keys(self, ids: Iterable[int]) -> dict[int, bytes]:
        """Content keys of chunks by id; equal keys have equal vectors."""
        return self._by_id("key", ids)

    def _by_id(self, column: str, ids: Iterable[int]) -> dict[int, Any]:
        wanted = json.dumps([int(chunk_id) for chunk_id in ids])
        sql = f"SELECT texts.id, texts.{column} FROM json_each(?) AS wanted JOIN texts ON texts.id = value"
        return dict(self.rows(sql, (wanted,)))

    def chunk(self, chunk_id: int) -> StoredChunk | None:
        """One chunk, None if it is gone."""
        found = self.chunks([chunk_id])
        return found[0] if found else None

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

    # ---- words

    def lexical(
        self, match: str, limit: int, column_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Best chunks by BM25 for an FTS5 expression.

        Args:
            match: FTS5 query syntax; columns are ``body``, ``symbol`` and ``path``.
            limit: At most this many.
            column_weights: Of body, symbol and path.

        Returns:
            Chunk ids [K] and scores [K], higher is better, best first.

        Raises:
            CodeIndexError: ``match`` is not valid FTS5 syntax, or the index cannot be read.
        """
        body, symbol, path = (float(weight) for weight in column_weights)
        sql = "SELECT rowid, rank FROM words WHERE words MATCH ? AND rank MATCH ? ORDER BY rank LIMIT ?"
        with clear_errors(self.path):
            try:
                found = self.connection.execute(sql, (match, f"bm25({body}, {symbol}, {path})", limit)).fetchall()
            except sqlite3.OperationalError as error:
                if not any(word in str(error) for word in ("syntax error", "unterminated", "no such column")):
                    raise
                raise CodeIndexError(f"{match!r} is not a query of words ({error})") from error
        with stored_values(self.path):
            ids = np.array([row[0] for row in found], dtype=np.int64)
            scores = -np.array([row[1] for row in found], dtype=np.float32)
        if not np.isfinite(scores).all():
            raise damaged(self.path, "its word index counts what cannot be")
        return ids, scores

    def lexical_of(
        self, match: str, ids: NDArray[np.int64], column_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """BM25 of some chunks for an FTS5 expression; those that do not match are left out.

        Args:
            match: As for `lexical`.
            ids: The chunks.
            column_weights: Of body, symbol and path.
        """
        body, symbol, path = (float(weight) for weight in column_weights)
        found = self.rows(
            f"SELECT rowid, bm25(words, {body}, {symbol}, {path}) FROM words "
            "WHERE words MATCH ? AND +rowid IN (SELECT value FROM json_each(?))",
            (match, json.dumps(ids.tolist())),
        )
        with stored_values(self.path):
            return np.array([row[0] for row in found], np.int64), -np.array([row[1] for row in found], np.float32)

    def document_frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """How many chunks hold each word, inflected forms counted together as the index does.

        Args:
            terms: Words as `mose.words.split_words` gives them, or whole identifiers in lower case.
        """
        stems = {term: self._stem(term) for term in dict.fromkeys(terms)}
        found = self.rows(
            "SELECT term, doc FROM vocabulary WHERE term IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(set(stems.values()))),),
        )
        counts = dict(found)
        return {term: counts.get(stem, 0) for term, stem in stems.items()}

    def has_beginning(self, letters: str) -> bool:
        """Whether any word of the index, in the form that it keeps, begins with these letters, three or more."""
        sql = "SELECT 1 FROM vocabulary WHERE term >= ? AND term < ? LIMIT 1"
        return len(letters) > 2 and bool(self.rows(sql, (letters, letters + "\U0010ffff")))

    def _stem(self, term: str) -> str:
        """The form under which the index keeps a word; asked of FTS5, which alone knows."""
        if self._stemmer is None:
            self._stemmer = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._stemmer.execute(f'CREATE VIRTUAL TABLE one USING fts5(word, tokenize="{TOKENIZER}")')
            self._stemmer.execute("CREATE VIRTUAL TABLE stems USING fts5vocab(one, instance)")
        self._stemmer.execute("DELETE FROM one")
        self._stemmer.execute("INSERT INTO one VALUES (?)", (term,))
        row = self._stemmer.execute("SELECT term FROM stems").fetchone()
        return "" if row is None else str(row[0])

    # ---- vectors

    def exits(self) -> dict[int, int]:
        """Exits that have vectors -> their width."""
        return {entry.exit: entry.width for entry in read_entries(self)}

    def vector_matrix(self, exit_layer: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Every vector of an exit that belongs to a chunk of today and is as it was written.

        Returns:
            Chunk ids [M], their rows [M], and the file as a read-only map [R, W], unit rows. Rows of chunks
            that are gone are in the map and not among the rows.

        Raises:
            CodeIndexError: The file cannot be read, or is not named as one of ours.
        """
        found = read_exit(self, exit_layer)
        return found.ids, found.rows, found.matrix

    # ---- status

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
        return  # removed while it was looked at
    except OSError as error:
        raise CodeIndexError(f"{folder} cannot be read: {error.strerror}", remedy="Check its permissions.") from error
