"""Reading an opened index: its settings, the rows of its tables, and several reads of one state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.search.store.location import DATABASE_NAME
from mose.search.store.schema import clear_errors, stored_values


class Reader:
    """What every part of the store stands on: a connection to the database, and what was read from it already.

    Attributes:
        folder: The folder of this very index; its name is the index's identity.
        path: The database in it.
        connection: For the modules that write (`mose.search.store.write`).
        row_sums: Exit -> vector file, and the sums of its rows that were read already (`exit_vectors.py`).
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.path = folder / DATABASE_NAME
        self.connection = connection
        self.row_sums: dict[int, tuple[str, NDArray[np.uint32]]] = {}
        self._live: tuple[int, NDArray[np.int64]] | None = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see one state of the index, whatever a writer commits meanwhile."""
        if self.connection.in_transaction:
            yield
            return
        with clear_errors(self.path):
            self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """The result of one query, all of it."""
        with clear_errors(self.path):
            return self.connection.execute(sql, values).fetchall()

    def meta(self, key: str) -> str | None:
        """One stored setting, None if it was never set."""
        with clear_errors(self.path):
            row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @property
    def generation(self) -> int:
        """Rises with every change of files and chunks (not of vectors)."""
        with stored_values(self.path):
            return int(self.meta("generation") or 0)

    @property
    def complete(self) -> bool:
        """The last refresh ran to its end."""
        return self.meta("complete") == "1"

    def chunk_ids(self) -> NDArray[np.int64]:
        """Ids of all chunks, rising."""
        generation = self.generation
        if self._live is None or self._live[0] != generation:
            with self.snapshot():
                found = self.rows("SELECT group_concat(id) FROM (SELECT id FROM chunks ORDER BY id)")[0][0]
                self._live = (self.generation, np.fromstring(found or "", dtype=np.int64, sep=","))
        return self._live[1]

    def vector_state(self, exit_layer: int) -> tuple[str, int]:
        """Changes whenever vectors of an exit were added or moved; compare to know whether to read again."""
        found = self.rows("SELECT file, next_row FROM exits WHERE exit = ?", (exit_layer,))
        return (found[0][0], found[0][1]) if found else ("", 0)
