"""Embeddings kept by content: one SQLite file per system, one row per text and template.

A row holds the whole width of every exit in float32, so any later choice of exits and widths is free. Rows are
committed batch by batch: a killed run loses at most one batch, and the next run continues from there.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.database import open_connection, rows_of_keys, transaction, use_write_ahead_log
from mose.errors import DataError

Vectors = dict[int, NDArray[np.float32]]
_FORMAT = 1
_WAIT_MS = 60_000


def key_of(text: str, template: str) -> bytes:
    """Key of a text in its template: 16 bytes."""
    digest = blake2b(digest_size=16)
    for part in (template, text):
        encoded = part.encode("utf-8", "replace")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


class EmbeddingCache:
    """The vectors of one system.

    Args:
        folder: Folder for the files of all systems; created if missing.
        identity: Identity of the system; each identity has its own file.
        widths: Exit -> dimensions of the system.

    Raises:
        DataError: The folder cannot be written, or the file is damaged.
    """

    def __init__(self, folder: Path, identity: str, widths: Mapping[int, int]) -> None:
        shape = "-".join(f"{exit_layer}x{width}" for exit_layer, width in sorted(widths.items()))
        name = re.sub(r"[^\w.-]", "_", f"{identity}-{blake2b(shape.encode(), digest_size=4).hexdigest()}")
        self.path = folder / f"{name}.v{_FORMAT}.db"
        self._widths = dict(sorted(widths.items()))
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = open_connection(self.path, wait_ms=_WAIT_MS)
            use_write_ahead_log(self._connection)
            self._connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, rows BLOB NOT NULL)")

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """Positions of the keys that are not in the cache; the first position of equal keys."""
        with self._explained():
            known = {key for (key,) in rows_of_keys(self._connection, "SELECT key FROM vectors WHERE key IN", keys)}
        positions = []
        for position, key in enumerate(keys):
            if key not in known:
                known.add(key)
                positions.append(position)
        return positions

    def add(self, keys: Sequence[bytes], vectors: Mapping[int, NDArray[np.float32]]) -> None:
        """Store the vectors of some texts in one transaction.

        Args:
            keys: N keys.
            vectors: Every exit of the system -> float32 [N, width].
        """
        rows = np.concatenate([vectors[exit_layer] for exit_layer in self._widths], axis=1, dtype=np.float32)
        values = [(key, row.tobytes()) for key, row in zip(keys, rows, strict=True)]
        with self._explained(), transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", values)

    def get(self, keys: Sequence[bytes]) -> Vectors:
        """Exit -> float32 [N, width] of keys that are in the cache.

        Raises:
            DataError: The file is damaged.
            KeyError: A key is not in the cache.
        """
        total = sum(self._widths.values())
        rows = np.empty((len(keys), total), dtype=np.float32)
        positions: dict[bytes, list[int]] = {}
        for position, key in enumerate(keys):
            positions.setdefault(key, []).append(position)
        with self._explained():
            query = "SELECT key, rows FROM vectors WHERE key IN"
            for key, values in rows_of_keys(self._connection, query, list(positions)):
                if len(values) != 4 * total:
                    raise DataError(f"{self.path} is damaged", remedy="Delete it; its vectors are computed again.")
                rows[positions.pop(key)] = np.frombuffer(values, dtype=np.float32)
        if positions:
            raise KeyError(next(iter(positions)))
        found, start = {}, 0
        for exit_layer, width in self._widths.items():
            found[exit_layer] = np.ascontiguousarray(rows[:, start : start + width])
            start += width
        return found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise `DataError` for errors of SQLite and the file system."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise DataError(
                f"embedding cache {self.path}: {error}",
                remedy="Name another folder with --cache, or delete the file; its vectors are computed again.",
            ) from error
