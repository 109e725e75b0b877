"""Changes of the vectors of an index: rows are added, checked, and moved together where most are unused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mose.errors import CodeIndexError
from mose.search.store.exit_vectors import (
    ExitEntry,
    VectorFile,
    is_member,
    new_name,
    num_damaged,
    read_entries,
    read_exit,
    read_runs,
    run_members,
    sums_of,
)
from mose.search.store.store import Store
from mose.search.store.write import transaction

WASTED_ROWS_ALLOWED = 4096
MOVED_AT_ONCE = 16_384
MAX_RUNS = 256
"""Each search that reads a short list adds a run; this many are read at once without being noticed."""


def missing_vectors(store: Store, exit_layer: int) -> NDArray[np.int64]:
    """Ids of chunks without a vector at an exit, rising."""
    ids = store.chunk_ids()
    return ids[~is_member(ids, np.sort(read_exit(store, exit_layer).ids))]


def write_vectors(
    store: Store, exit_layer: int, model: str, ids: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Append vectors [N, width] of chunks: to their file first, then to the index.

    The caller gives no chunk twice. Damaged rows are dropped first, with their file.

    Raises:
        CodeIndexError: The exit has vectors of another model, or the disk is full.
    """
    if not len(ids):
        return
    with store.writing():
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
            if store.rows("SELECT count(*) FROM runs WHERE exit = ?", (exit_layer,))[0][0] > MAX_RUNS:
                members = run_members(read_runs(store, exit_layer))
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
    """Drop rows that are lost or damaged, and move the rest together where most rows are unused.

    The caller holds the write lock.
    """
    for entry in read_entries(store):
        found = read_exit(store, entry.exit)
        if found.num_damaged or len(found.matrix) > 2 * len(found.ids) + WASTED_ROWS_ALLOWED:
            _repair_exit(store, entry.exit)
    _remove_strays(store)


def _repair_exit(store: Store, exit_layer: int) -> None:
    """Move the sound rows of an exit to a new file, which replaces the old one."""
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
    """Remove vector files that the index does not name: moved away, or left by a crash."""
    named = {entry.file for entry in read_entries(store)}
    for path in store.folder.glob("exit_*.vec"):
        if path.name not in named:
            path.unlink(missing_ok=True)
