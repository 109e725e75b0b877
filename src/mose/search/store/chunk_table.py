"""Reading the locations of all chunks at once, quickly: they are needed before the first answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.search.store.exit_vectors import is_member
from mose.search.store.reader import Reader
from mose.search.store.records import ChunkTable
from mose.search.store.schema import damaged, stored_values

_FILES = """
SELECT id, path, language, generated FROM files
WHERE skipped = '' OR EXISTS (SELECT 1 FROM chunks WHERE file_id = files.id) ORDER BY id
"""
# A file that can no longer be read keeps its chunks; ``skipped`` says why it was not read again.
_NUMBERS = ("id", "file_id", "first_line", "last_line")
_NAMES = ("kind", "symbol", "defines")
_SEPARATOR = "\x1f"


def read_table(store: Reader) -> ChunkTable:
    """The location of every chunk, in one snapshot."""
    with store.snapshot():
        generation = store.generation
        files = store.rows(_FILES)
        numbers, names = _columns(store)
    file_ids, paths, languages, generated = zip(*files, strict=True) if files else ((), (), (), ())
    ids, owners, first_line, last_line = numbers
    known = np.array(file_ids, dtype=np.int64)
    possible = (
        (np.diff(ids, prepend=0) > 0).all()
        and is_member(owners, known).all()
        and (first_line >= 1).all()
        and (last_line >= first_line).all()
        and (last_line <= np.iinfo(np.int32).max).all()
        and all(isinstance(name, str) for name in (*paths, *languages))
    )
    if not possible:
        raise damaged(store.path, "it names impossible chunks")
    return ChunkTable(
        generation=generation,
        ids=ids,
        file_row=np.searchsorted(known, owners).astype(np.int32),
        first_line=first_line.astype(np.int32),
        last_line=last_line.astype(np.int32),
        kind=names[0],
        symbol=names[1],
        defined=names[2],
        paths=list(paths),
        languages=list(languages),
        generated=[bool(mark) for mark in generated],
    )


def _columns(store: Reader) -> tuple[list[NDArray[np.int64]], list[list[str]]]:
    """Columns joined to one string each by SQLite, which is twice as fast as making a tuple of each row."""
    joined = ", ".join(
        [f"group_concat({name})" for name in _NUMBERS]
        + [f"group_concat({name}, char({ord(_SEPARATOR)}))" for name in _NAMES]
    )
    found = store.rows(f"SELECT {joined} FROM (SELECT * FROM chunks ORDER BY id)")[0]
    if found[0] is None:
        return [np.empty(0, np.int64) for _ in _NUMBERS], [[] for _ in _NAMES]
    with stored_values(store.path):
        numbers = [np.fromstring(column, dtype=np.int64, sep=",") for column in found[: len(_NUMBERS)]]
        names = [column.split(_SEPARATOR) for column in found[len(_NUMBERS) :]]
    num_chunks = store.rows("SELECT count(*) FROM chunks")[0][0]
    if any(len(column) != num_chunks for column in numbers):
        raise damaged(store.path, "it names impossible chunks")
    if all(len(column) == num_chunks for column in names):
        return numbers, names
    return numbers, _names_one_by_one(store)


def _names_one_by_one(store: Reader) -> list[list[str]]:
    """For sources whose names hold the separator itself."""
    rows: list[Any] = store.rows(f"SELECT {', '.join(_NAMES)} FROM chunks ORDER BY id")
    if not all(isinstance(name, str) for row in rows for name in row):
        raise damaged(store.path, "it names impossible chunks")
    return [list(column) for column in zip(*rows, strict=True)]
