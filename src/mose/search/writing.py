"""Everything that changes an index: one process at a time, one transaction a call."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from mose.search.preparing import CutChunk, CutFile
from mose.search.schema import clear_errors
from mose.search.store import Store
from mose.search.vectors import HEADER_BYTES, VectorFile, is_member, run_members
from mose.search.wording import both_words, path_words, symbol_words

WASTED_ROWS_ALLOWED = 4096
MAX_RUNS = 256
"""Each search that reads a short list adds a run; this many are read at once without being noticed."""


@contextmanager
def transaction(store: Store) -> Iterator[None]:
    """All or nothing: commits at the end, rolls back whatever was raised.

    Raises:
        CodeIndexError: The disk is full, or the index is damaged, not writable or locked for long.
    """
    connection = store.connection
    with clear_errors(store.path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def set_meta(store: Store, **values: str) -> None:
    """Stores settings; inside a transaction or on its own."""
    with clear_errors(store.path):
        store.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def write_files(store: Store, *, removed: Sequence[int], files: Sequence[CutFile]) -> list[int]:
    """Takes out files, puts in files with their chunks and words, in one transaction.

    Args:
        store: The index.
        removed: Ids of files to take out: gone, or about to be replaced.
        files: Files to put in. One marked ``same`` keeps its chunks; only its time stamp is stored.

    Returns:
        Ids of the new chunks in order.
    """
    connection = store.connection
    with transaction(store):
        _remove_files(store, removed)
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
        next_id = first_id = 1 if row is None else row[0] + 1
        changed = bool(removed)
        for file in files:
            if file.same:
                connection.execute(
                    "UPDATE files SET modified_ns = ?, size_bytes = ?, doubtful = ? WHERE path = ?",
                    (file.modified_ns, file.size_bytes, file.doubtful, file.path),
                )
                continue
            changed = True
            cursor = connection.execute(
                "INSERT INTO files(path, hash, size_bytes, modified_ns, doubtful, language, cut_by, skipped) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*_stat(file), file.language, file.cut_by, file.skipped),
            )
            next_id = _add_chunks(store, cursor.lastrowid or 0, file, next_id)
        if changed:
            generation = str(store.generation + 1)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('generation', ?)", (generation,))
    return list(range(first_id, next_id))


def _stat(file: CutFile) -> tuple[str, bytes, int, int, bool]:
    return file.path, file.hash, file.size_bytes, file.modified_ns, file.doubtful


def _add_chunks(store: Store, file_id: int, file: CutFile, next_id: int) -> int:
    ids = range(next_id, next_id + len(file.chunks))
    path = path_words(file.path)
    places: list[tuple[object, ...]] = []
    texts: list[tuple[object, ...]] = []
    words: list[tuple[object, ...]] = []
    for chunk_id, chunk in zip(ids, file.chunks, strict=True):
        places.append((chunk_id, file_id, chunk.first_line, chunk.last_line, chunk.kind, chunk.symbol, chunk.defines))
        texts.append((chunk_id, chunk.key, chunk.signature, chunk.context, chunk.text))
        words.append((chunk_id, body_of(chunk), chunk.symbol_words, path))
    store.connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", places)
    store.connection.executemany("INSERT INTO texts VALUES (?, ?, ?, ?, ?)", texts)
    store.connection.executemany("INSERT INTO words(rowid, body, symbol, path) VALUES (?, ?, ?, ?)", words)
    return ids.stop


def body_of(chunk: CutChunk) -> str:
    """What the lexical index keeps of a chunk's text."""
    return f"{chunk.text_words} {chunk.whole_words}"


def _remove_files(store: Store, file_ids: Sequence[int]) -> None:
    """Takes out files; the word index keeps no text, so it must be told again what it was given."""
    connection = store.connection
    for file_id in file_ids:
        rows = connection.execute(
            "SELECT chunks.id, text, symbol, defines, path FROM chunks JOIN texts ON texts.id = chunks.id "
            "JOIN files ON files.id = file_id WHERE file_id = ?",
            (file_id,),
        ).fetchall()
        words = []
        for chunk_id, text, symbol, defines, path in rows:
            words.append((chunk_id, " ".join(both_words(text)), symbol_words(symbol, defines), path_words(path)))
        connection.executemany(
            "INSERT INTO words(words, rowid, body, symbol, path) VALUES ('delete', ?, ?, ?, ?)", words
        )
        connection.executemany("DELETE FROM texts WHERE id = ?", [(row[0],) for row in rows])
        connection.execute("DELETE FROM chunks WHERE file_id = ?", (file_id,))
        connection.execute("DELETE FROM files WHERE id = ?", (file_id,))


def write_skipped(store: Store, skipped: dict[str, tuple[int, list[str]]]) -> None:
    """Replaces the counts of what the walk left out: reason -> count, examples."""
    rows = [(reason, count, json.dumps(examples)) for reason, (count, examples) in skipped.items()]
    with transaction(store):
        store.connection.execute("DELETE FROM skipped")
        store.connection.executemany("INSERT INTO skipped VALUES (?, ?, ?)", rows)


def merge_words(store: Store) -> None:
    """Merges the word index into one piece; worth it after many changes."""
    with transaction(store):
        store.connection.execute("INSERT INTO words(words) VALUES ('optimize')")


# ---- vectors


def missing_vectors(store: Store, exit_layer: int) -> NDArray[np.int64]:
    """Ids of chunks without a vector at an exit, rising."""
    ids = store.chunk_ids()
    return ids[~is_member(ids, np.sort(store.vector_matrix(exit_layer)[0]))]


def write_vectors(
    store: Store, exit_layer: int, model: str, ids: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Appends vectors [N, width] of chunks: onto the disk first, then into the index.

    The caller holds the write lock and gives no chunk twice.

    Raises:
        CodeIndexError: The exit has vectors of another model, or the disk is full.
    """
    if not len(ids):
        return
    width = vectors.shape[1]
    found = store.rows("SELECT file, next_row FROM exits WHERE exit = ?", (exit_layer,))
    name, next_row = found[0] if found else (f"exit_{exit_layer}.vec", 0)
    file = VectorFile(store.folder, name, model=model, exit_layer=exit_layer, width=width)
    if next_row:
        file.num_rows()  # refuses a file of another model
    file.write(next_row, vectors)
    values = (exit_layer, model, width, name, next_row + len(ids))
    with transaction(store):
        connection = store.connection
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('model', ?)", (model,))
        connection.execute("INSERT OR REPLACE INTO exits VALUES (?, ?, ?, ?, ?)", values)
        connection.execute("INSERT INTO runs VALUES (?, ?, ?)", (exit_layer, next_row, _blob(ids)))
        runs = store.rows("SELECT first_row, ids FROM runs WHERE exit = ? ORDER BY first_row", (exit_layer,))
        if len(runs) > MAX_RUNS:
            _replace_runs(store, exit_layer, run_members(runs)[0])


def _blob(ids: NDArray[np.int64]) -> bytes:
    return ids.astype("<i8").tobytes()


def _replace_runs(store: Store, exit_layer: int, ids: NDArray[np.int64]) -> None:
    """Inside a transaction: rows 0, 1, ... belong to these chunks."""
    store.connection.execute("DELETE FROM runs WHERE exit = ?", (exit_layer,))
    if len(ids):
        store.connection.execute("INSERT INTO runs VALUES (?, 0, ?)", (exit_layer, _blob(ids)))


def need_repair(store: Store) -> bool:
    """Whether a vector file is shorter than the index believes, or most of it unused."""
    num_chunks = store.rows("SELECT count(*) FROM chunks")[0][0]
    for width, name, next_row in store.rows("SELECT width, file, next_row FROM exits"):
        if next_row > 2 * num_chunks + WASTED_ROWS_ALLOWED:
            return True
        try:
            if (store.folder / name).stat().st_size < HEADER_BYTES + 4 * width * next_row:
                return True
        except OSError:
            return True
    return False


def repair_vectors(store: Store) -> None:
    """Forgets rows that a vector file has lost, and moves the rest together where most rows are unused."""
    for exit_layer, model, width, name, next_row in store.rows("SELECT * FROM exits"):
        file = VectorFile(store.folder, name, model=model, exit_layer=exit_layer, width=width)
        num_rows = file.num_rows()
        if num_rows < next_row:
            _forget_rows(store, exit_layer, num_rows)
        ids, rows, matrix = store.vector_matrix(exit_layer)
        if len(matrix) > 2 * len(ids) + WASTED_ROWS_ALLOWED:
            _move_rows(store, file, (exit_layer, model, width), ids, matrix, rows)
    _remove_strays(store)


def _forget_rows(store: Store, exit_layer: int, num_rows: int) -> None:
    runs = store.rows("SELECT first_row, ids FROM runs WHERE exit = ? ORDER BY first_row", (exit_layer,))
    ids, rows = run_members(runs)
    kept = rows < num_rows
    with transaction(store):
        _replace_runs(store, exit_layer, ids[kept])
        if kept.any():
            store.connection.execute("UPDATE exits SET next_row = ? WHERE exit = ?", (num_rows, exit_layer))
        else:
            store.connection.execute("DELETE FROM exits WHERE exit = ?", (exit_layer,))


def _move_rows(
    store: Store,
    old: VectorFile,
    about: tuple[int, str, int],
    ids: NDArray[np.int64],
    matrix: NDArray[np.float32],
    rows: NDArray[np.int64],
) -> None:
    exit_layer, model, width = about
    number = int(old.path.stem.partition(".")[2] or 0) + 1
    name = f"exit_{exit_layer}.{number}.vec"
    new = VectorFile(store.folder, name, model=model, exit_layer=exit_layer, width=width)
    for start in range(0, max(len(ids), 1), 16_384):
        new.write(start, matrix[rows[start : start + 16_384]])
    with transaction(store):
        _replace_runs(store, exit_layer, ids)
        store.connection.execute("INSERT OR REPLACE INTO exits VALUES (?, ?, ?, ?, ?)", (*about, name, len(ids)))


def _remove_strays(store: Store) -> None:
    """Removes vector files that the index does not name: moved away, or left by a crash."""
    named: Iterable[str] = {row[0] for row in store.rows("SELECT file FROM exits")}
    for path in store.folder.glob("exit_*.vec"):
        if path.name not in named:
            path.unlink(missing_ok=True)
