"""SQLite as all our files use it: indexes, shared vectors, and the embeddings of an evaluation."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_KEYS_AT_ONCE = 500
_NOT_THE_FILE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOLFS,
}  # fmt: skip


def open_connection(path: Path | str, *, wait_ms: int) -> sqlite3.Connection:
    """A connection that trusts nothing in the file and begins a transaction only when told to.

    Args:
        path: The file, or a ``file:`` URI of it.
        wait_ms: How long to wait for another process.
    """
    is_uri = isinstance(path, str)
    connection = sqlite3.connect(path, uri=is_uri, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def create_private(path: Path) -> None:
    """Create an empty file that its owner alone can read; SQLite gives the files beside it the same permissions.

    Raises:
        OSError: It exists, or cannot be created.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: commits at the end, rolls back whatever was raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def create_tables(
    connection: sqlite3.Connection, statements: Sequence[str], *, application_id: int, version: int
) -> None:
    """Make an empty file ours, unless another process was faster."""
    use_write_ahead_log(connection)
    with transaction(connection):
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {application_id}")
            connection.execute(f"PRAGMA user_version = {version}")


def identity_of(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Application, version and number of tables, as of one moment: another process may be making them."""
    connection.execute("BEGIN")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    num_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    connection.execute("COMMIT")
    return application, version, num_tables


def use_write_ahead_log(connection: sqlite3.Connection, *, wait_s: float = 30.0) -> None:
    """Let readers and a writer work side by side from now on.

    SQLite does not wait here by itself if another process makes the same change.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
    connection.execute("PRAGMA synchronous = NORMAL")


def rows_of_keys(connection: sqlite3.Connection, select: str, keys: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
    """Rows for many keys, some hundreds at once.

    Args:
        connection: The file.
        select: A query up to the list of keys, so that it ends in ``IN``.
        keys: What to look for.
    """
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        part = keys[start : start + _KEYS_AT_ONCE]
        yield from connection.execute(f"{select} ({','.join('?' * len(part))})", part).fetchall()


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether the bytes of a file are to blame for an error, not the disk, its rights or another process.

    Our statements are fixed and the tables were compared with ours when the file was opened: a statement that does
    not fit them, a duplicate key or a text that is not UTF-8 is damage, too.
    """
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return False  # a mistake of ours
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _NOT_THE_FILE
