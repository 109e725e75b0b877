"""All vectors a user ever computed, by model, exit and content, so that nothing is embedded twice.

They only save time. Whatever is wrong with their file, a search does without it and says so.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.database import is_damage, rows_of_keys, transaction
from mose.errors import CodeIndexError
from mose.search.store.shared_file import inode_of, open_shared, replace_damaged, today, trim

USE_NOTED_DAYS = 7
"""A vector that is used again so soon keeps its position in the file: most searches write nothing."""
_SUM_BYTES = 4
_UNIT_TOLERANCE = 0.01


class SharedVectors:
    """The vectors of one model in the file that all trees and processes of a user share.

    Kept in half precision. `as_kept` rounds fresh vectors in the same way, so that
    it makes no difference whether a vector was computed or found.

    Args:
        path: The file; made if it is missing.
        model: Identity of the model.

    Attributes:
        problem: Why the file cannot be used; empty as long as it can.
    """

    def __init__(self, path: Path, *, model: str) -> None:
        self.path = path
        self.problem = ""
        self._model = model
        self._inode = inode_of(path)
        self._connection: sqlite3.Connection | None = None
        with self._doing_without():
            self._connection = open_shared(path)
            self._inode = inode_of(path)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def find(self, exit_layer: int, width: int, keys: Iterable[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Vectors [width] of those keys that are known; one that is not as it was written is left out."""
        wanted = {shared_key(self._model, exit_layer, key): key for key in keys}
        found: dict[bytes, NDArray[np.float32]] = {}
        unsound: list[tuple[int]] = []
        used_again: list[tuple[int]] = []
        recent = range(today() - USE_NOTED_DAYS, today() + 1)
        with self._doing_without():
            sql = "SELECT id, key, day, vector FROM vectors WHERE key IN"
            rows = rows_of_keys(self._connection, sql, list(wanted)) if self._connection is not None else ()
            for row_id, key, day, blob in rows:
                vector = _unpacked(key, blob, width)
                if vector is None or key not in wanted:
                    unsound.append((row_id,))
                    continue
                found[wanted[key]] = vector
                if day not in recent:
                    used_again.append((row_id,))
            if unsound or used_again:
                self._note(unsound, used_again)
        return found

    def add(self, exit_layer: int, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Keep vectors [N, width] under their keys; known keys stay as they are."""
        kept = [shared_key(self._model, exit_layer, key) for key in keys]
        pairs = zip(kept, vectors.astype("<f2"), strict=True)
        rows = [(key, today(), _packed(key, vector)) for key, vector in pairs if _is_unit(vector)]
        with self._doing_without(), self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO vectors(key, day, vector) VALUES (?, ?, ?)", rows)
            trim(connection)

    def _note(self, unsound: Sequence[tuple[int]], used_again: Sequence[tuple[int]]) -> None:
        with self._transaction() as connection:
            connection.executemany("DELETE FROM vectors WHERE id = ?", unsound)
            connection.executemany(
                f"UPDATE vectors SET id = (SELECT max(id) FROM vectors) + 1, day = {today()} WHERE id = ?", used_again
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        if connection is None:
            raise CodeIndexError(self.problem)
        with transaction(connection):
            yield connection

    @contextmanager
    def _doing_without(self) -> Iterator[None]:
        """From the first failure on, nothing is found and nothing is kept."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, CodeIndexError) as error:
            if self.problem:
                return
            self.problem = error.what if isinstance(error, CodeIndexError) else f"{self.path}: {error}"
            self.close()
            if not isinstance(error, CodeIndexError) and is_damage(error):
                with suppress(CodeIndexError):
                    replace_damaged(self.path, self._inode)


def shared_key(model: str, exit_layer: int, key: bytes) -> bytes:
    """The key in the file: 16 bytes of model, exit and the content's own key."""
    return hashlib.blake2b(f"{model} {exit_layer}\0".encode() + key, digest_size=16).digest()


def as_kept(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors rounded as `SharedVectors` keeps them."""
    return vectors.astype(np.float16).astype(np.float32)


def _packed(key: bytes, vector: NDArray[np.float16]) -> bytes:
    data = vector.tobytes()
    return data + zlib.crc32(data, zlib.crc32(key)).to_bytes(_SUM_BYTES, "little")


def _unpacked(key: object, blob: object, width: int) -> NDArray[np.float32] | None:
    """None unless it is what was packed under this key: a unit vector of this width."""
    if not isinstance(key, bytes) or not isinstance(blob, bytes) or len(blob) != 2 * width + _SUM_BYTES:
        return None
    data = blob[:-_SUM_BYTES]
    if zlib.crc32(data, zlib.crc32(key)).to_bytes(_SUM_BYTES, "little") != blob[-_SUM_BYTES:]:
        return None
    vector = np.frombuffer(data, dtype="<f2")
    return vector.astype(np.float32) if _is_unit(vector) else None


def _is_unit(vector: NDArray[np.float16]) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(abs(np.linalg.norm(vector.astype(np.float32)) - 1) < _UNIT_TOLERANCE)
