"""Everything that changes an index: one process at a time, one transaction a call.

Whatever writes does so inside ``Store.writing``; `transaction` and `write_vectors` see to it themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from mose.errors import CodeIndexError
from mose.search.chunking.index_words import both_words, path_words, symbol_words
from mose.search.chunking.names import bare_names
from mose.search.chunking.prepare import CutChunk, CutFile
from mose.search.store.exit_vectors import (
    ExitEntry,
    VectorFile,
    is_member,
    new_name,
    num_damaged,
    read_entries,
    read_exit,
    run_members,
    sums_of,
)
from mose.search.store.records import chunk_sum
from mose.search.store.schema import clear_errors, damaged, stored_values
from mose.search.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")

WASTED_ROWS_ALLOWED = 4096
MOVED_AT_ONCE = 16_384
MAX_ID = 1 << 53
MAX_RUNS = 256
"""Each search that reads a short list adds a run; this many are read at once without being noticed."""


@contextmanager
def transaction(store: Store) -> Iterator[None]:
    """All or nothing: commits at the end, rolls back whatever was raised.

    Raises:
        CodeIndexError: The disk is full, or the index is damaged, not writable or locked for long.
    """
    connection = store.connection
    with store.writing(), clear_errors(store.path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def while_writing(change: Callable[Concatenate[Store, P], T]) -> Callable[Concatenate[Store, P], T]:
    """A change of an index that takes the right to write for as long as it runs."""

    @wraps(change)
    def with_the_right(store: Store, /, *args: P.args, **options: P.kwargs) -> T:
        with store.writing():
            return change(store, *args, **options)

    return with_the_right


def set_meta(store: Store, **values: str) -> None:
    """Stores settings; inside a transaction or on its own."""
    with store.writing(), clear_errors(store.path):
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
        next_id = first_id = _last_id(store) + 1
        changed = bool(removed)
        for file in files:
            if file.same:
                connection.execute(
                    "UPDATE files SET size_bytes = ?, modified_ns = ?, changed_ns = ?, inode = ?, doubtful = ?, "
                    "skipped = ? WHERE path = ?",
                    (*_stamps(file), file.skipped, file.path),
                )
                continue
            changed = True
            cursor = connection.execute(
                "INSERT INTO files(path, hash, size_bytes, modified_ns, changed_ns, inode, doubtful, language, cut_by, "
                "trouble, generated, skipped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    file.path,
                    file.hash,
                    *_stamps(file),
                    file.language,
                    file.cut_by,
                    file.trouble,
                    file.generated,
                    file.skipped,
                ),
            )
            next_id = _add_chunks(store, cursor.lastrowid or 0, file, next_id)
        if changed:
            generation = str(store.generation + 1)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('generation', ?)", (generation,))
    return list(range(first_id, next_id))


def _last_id(store: Store) -> int:
    """The largest id that a chunk ever had."""
    found = store.rows("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'")
    last = found[0][0] if found else 0
    if not isinstance(last, int) or not 0 <= last <= MAX_ID:
        raise damaged(store.path, f"its last chunk is {last!r}")
    return last


def _stamps(file: CutFile) -> tuple[int, int, int, int, bool]:
    return file.size_bytes, file.modified_ns, file.changed_ns, file.inode, file.doubtful


def _add_chunks(store: Store, file_id: int, file: CutFile, next_id: int) -> int:
    ids = range(next_id, next_id + len(file.chunks))
    path = path_words(file.path)
    places: list[tuple[object, ...]] = []
    texts: list[tuple[object, ...]] = []
    words: list[tuple[object, ...]] = []
    for chunk_id, chunk in zip(ids, file.chunks, strict=True):
        places.append((chunk_id, file_id, chunk.first_line, chunk.last_line, chunk.kind, chunk.symbol, chunk.defines))
        place = (file.path, file.language, chunk.first_line, chunk.last_line, chunk.kind, chunk.symbol)
        content = (chunk.signature, chunk.context, chunk.defines, chunk.text, chunk.key)
        check = chunk_sum(chunk_id, *place, *content)
        texts.append((chunk_id, chunk.key, chunk.signature, chunk.context, chunk.text, check))
        words.append((chunk_id, body_of(chunk), chunk.symbol_words, path))
    store.connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", places)
    store.connection.executemany("INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?)", texts)
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
        with stored_values(store.path):
            words = [
                (chunk_id, " ".join(both_words(text)), symbol_words(symbol, bare_names(defines)), path_words(path))
                for chunk_id, text, symbol, defines, path in rows
            ]
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
    return ids[~is_member(ids, np.sort(read_exit(store, exit_layer).ids))]


@while_writing
def write_vectors(
    store: Store, exit_layer: int, model: str, ids: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Appends vectors [N, width] of chunks: onto the disk first, then into the index.

    The caller gives no chunk twice. Damaged rows are dropped first, with their file.

    Raises:
        CodeIndexError: The exit has vectors of another model, or the disk is full.
    """
    if not len(ids):
        return
    if num_damaged(store, exit_layer):
        _repair_exit(store, exit_layer)
    width = vectors.shape[1]
    found = [entry for entry in read_entries(store) if entry.exit == exit_layer]
    fresh = ExitEntry(exit=exit_layer, model=model, width=width, file=new_name(exit_layer), next_row=0)
    old = found[0] if found else fresh
    if (old.model, old.width) != (model, width):
        raise CodeIndexError(
            f"exit {exit_layer} of the index in {store.folder} has vectors of another model",
            got=f"{old.model}, {old.width} wide",
            allowed=f"{model}, {width} wide",
            remedy="Run `mose index PATH --rebuild`, or name the model that made them.",
        )
    VectorFile(store.folder, old.file, width=width).write(old.next_row, vectors)
    with transaction(store):
        store.connection.execute("INSERT OR IGNORE INTO meta VALUES ('model', ?)", (model,))
        if not found:
            _drop_runs(store, exit_layer)  # there are none, unless damage has taken their entry
        _put_entry(store, replace(old, next_row=old.next_row + len(ids)))
        _put_run(store, exit_layer, old.next_row, ids, sums_of(old, ids, vectors))
        runs = store.rows("SELECT first_row, ids, sums FROM runs WHERE exit = ? ORDER BY first_row", (exit_layer,))
        if len(runs) > MAX_RUNS:
            members = run_members(runs)
            _drop_runs(store, exit_layer)
            _put_run(store, exit_layer, 0, members[0], members[2])


def _put_entry(store: Store, entry: ExitEntry) -> None:
    values = (entry.exit, entry.model, entry.width, entry.file, entry.next_row)
    store.connection.execute("INSERT OR REPLACE INTO exits VALUES (?, ?, ?, ?, ?)", values)


def _put_run(store: Store, exit_layer: int, first_row: int, ids: NDArray[np.int64], sums: NDArray[np.uint32]) -> None:
    values = (exit_layer, first_row, ids.astype("<i8").tobytes(), sums.astype("<u4").tobytes())
    store.connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", values)


def _drop_runs(store: Store, exit_layer: int) -> None:
    store.connection.execute("DELETE FROM runs WHERE exit = ?", (exit_layer,))


def need_repair(store: Store) -> bool:
    """Whether a vector file is shorter than the index believes, or most of it unused."""
    num_chunks = store.rows("SELECT count(*) FROM chunks")[0][0]
    for entry in read_entries(store):
        if entry.next_row > 2 * num_chunks + WASTED_ROWS_ALLOWED:
            return True
        try:
            if (store.folder / entry.file).stat().st_size < 4 * entry.width * entry.next_row:
                return True
        except OSError:
            return True
    return False


def damaged_rows(store: Store) -> dict[int, int]:
    """Exit -> rows that are lost or not as they were written; exits that are sound are left out."""
    damaged = {entry.exit: num_damaged(store, entry.exit) for entry in read_entries(store)}
    return {exit_layer: count for exit_layer, count in damaged.items() if count}


def repair_vectors(store: Store) -> None:
    """Drops rows that are lost or damaged, and moves the rest together where most rows are unused.

    The caller holds the write lock.
    """
    for entry in read_entries(store):
        found = read_exit(store, entry.exit)
        if found.num_damaged or len(found.matrix) > 2 * len(found.ids) + WASTED_ROWS_ALLOWED:
            _repair_exit(store, entry.exit)
    _remove_strays(store)


def _repair_exit(store: Store, exit_layer: int) -> None:
    """Moves the sound rows of an exit to a new file, which takes the place of the old one."""
    (entry,) = (entry for entry in read_entries(store) if entry.exit == exit_layer)
    found = read_exit(store, exit_layer)
    moved = replace(entry, file=new_name(exit_layer), next_row=len(found.ids))
    file = VectorFile(store.folder, moved.file, width=entry.width)
    sums = [np.empty(0, np.uint32)]
    for start in range(0, len(found.ids), MOVED_AT_ONCE):
        part = slice(start, start + MOVED_AT_ONCE)
        vectors = found.matrix[found.rows[part]]
        file.write(start, vectors)
        sums.append(sums_of(moved, found.ids[part], vectors))
    with transaction(store):
        _drop_runs(store, exit_layer)
        if len(found.ids):
            _put_entry(store, moved)
            _put_run(store, exit_layer, 0, found.ids, np.concatenate(sums))
        else:
            store.connection.execute("DELETE FROM exits WHERE exit = ?", (exit_layer,))
    _remove_strays(store)


def _remove_strays(store: Store) -> None:
    """Removes vector files that the index does not name: moved away, or left by a crash."""
    named: Iterable[str] = {entry.file for entry in read_entries(store)}
    for path in store.folder.glob("exit_*.vec"):
        if path.name not in named:
            path.unlink(missing_ok=True)
