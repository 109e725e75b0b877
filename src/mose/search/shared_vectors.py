"""All vectors a user ever made, by model, exit and content: nothing is embedded twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.errors import CodeIndexError
from mose.search.location import make_folder
from mose.search.schema import BUSY_TIMEOUT_MS, clear_errors, identity_of, use_write_ahead_log

SHARED_APPLICATION_ID = 0x4D6F5356  # "MoSV"


class SharedVectors:
    """The vectors of one model in the file that all trees and processes of a user share.

    Kept in half precision. `as_kept` rounds fresh vectors in the same way, so that it cannot be seen
    whether a vector was made here or found here.

    Args:
        path: The file; made if it is missing.
        model: Identity of the model.
    """

    def __init__(self, path: Path, *, model: str) -> None:
        self.path = path
        self._model = model
        if not path.exists():
            make_folder(path.parent)
        with self._errors():
            self._connection = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        application, _, num_tables = identity_of(connection)
        if application == num_tables == 0:
            use_write_ahead_log(connection)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors(model TEXT NOT NULL, exit INTEGER NOT NULL, "
                "key BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY(model, exit, key)) WITHOUT ROWID"
            )
            connection.execute(f"PRAGMA application_id = {SHARED_APPLICATION_ID}")
            connection.execute("COMMIT")
        elif application != SHARED_APPLICATION_ID:
            raise CodeIndexError(f"{self.path} is not a vector store of mose", remedy="Move it away.")
        connection.execute("PRAGMA synchronous = NORMAL")

    def _errors(self) -> AbstractContextManager[None]:
        return clear_errors(self.path, rebuild=f"Delete {self.path}: its vectors are only a saving of time.")

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def find(self, exit_layer: int, keys: Iterable[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Vectors of those keys that are known."""
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, NDArray[np.float32]] = {}
        with self._errors():
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                rows = self._connection.execute(
                    "SELECT key, vector FROM vectors WHERE model = ? AND exit = ? "
                    f"AND key IN ({','.join('?' * len(part))})",
                    (self._model, exit_layer, *part),
                )
                for key, blob in rows:
                    found[key] = np.frombuffer(blob, dtype="<f2").astype(np.float32)
        return found

    def add(self, exit_layer: int, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Keeps vectors [N, width] under their keys; keys that are known already stay as they are."""
        blobs = [row.tobytes() for row in vectors.astype("<f2")]
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)",
                    [(self._model, exit_layer, key, blob) for key, blob in zip(keys, blobs, strict=True)],
                )
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def as_kept(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors rounded as `SharedVectors` keeps them."""
    return vectors.astype(np.float16).astype(np.float32)
