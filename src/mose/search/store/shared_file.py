"""The file of shared vectors: how it is laid out, opened, replaced when it is damaged, and kept small.

Rows are in the order of their last use, which costs nothing to keep: a row is appended when it is made, moved to
the end when it is used again, and removed at the front when the file grows too large. Pages are large enough for
several vectors each, and whole pages become free at the front.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path

from mose.database import create_private, create_tables, identity_of, open_connection
from mose.errors import CodeIndexError
from mose.search.store.location import make_folder, unwritable
from mose.search.store.lock import writer_lock

SHARED_APPLICATION_ID = 0x4D6F5356  # "MoSV"
SHARED_FORMAT = 2
MAX_BYTES = 1 << 30
MAX_AGE_DAYS = 180
WAIT_MS = 2_000
"""How long a search waits for another process before it does without the file."""
_PAGE_BYTES = 16_384
_LOG_BYTES = 16 << 20
_TABLE = (
    "CREATE TABLE vectors(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, day INTEGER NOT NULL, vector BLOB NOT NULL)"
)
_FRONT = "SELECT id, day FROM vectors ORDER BY id LIMIT"
_TRIMMED_AT_ONCE = 1_000
_TRIMMED_SHARE = 0.95  # of the allowed size: what is left after a trimming, so that it is not done every time


def open_shared(path: Path) -> sqlite3.Connection:
    """An open connection; a missing file is created, one of an earlier layout is replaced.

    Raises:
        CodeIndexError: The file is foreign, or cannot be made.
        sqlite3.Error: It is damaged or locked.
    """
    if _is_there(path):
        connection = _connect(path)
        if _is_ours(connection, path):
            return connection
        connection.close()
    make_folder(path.parent)
    with writer_lock(path.parent, wait=False) as mine:
        if not mine:
            raise CodeIndexError(f"{path} is being made by another process", remedy="Try again.")
        if _is_there(path):
            connection = _connect(path)
            if _is_ours(connection, path):  # another process was faster
                return connection
            connection.close()
        _remove(path)
        return _create(path)


def replace_damaged(path: Path, inode: int) -> None:
    """Remove a damaged file unless it is not ours or another process has done so.

    Raises:
        CodeIndexError: It cannot be removed.
    """
    with writer_lock(path.parent, wait=False) as mine:
        if mine and inode_of(path) == inode and _bears_our_mark(path):
            _remove(path)


def _bears_our_mark(path: Path) -> bool:
    """Whether a file that SQLite cannot read was ours once: it says so, or is the first bytes of a database."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return False
    cut_short = len(head) < 100 and head[:16] == b"SQLite format 3\0"[: len(head)]
    return cut_short or head[68:72] == SHARED_APPLICATION_ID.to_bytes(4, "big")


def inode_of(path: Path) -> int:
    """Changes when the file is replaced; 0 if there is none."""
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def today() -> int:
    """Days since the epoch."""
    return int(time.time() // 86_400)


def trim(connection: sqlite3.Connection, *, max_bytes: int | None = None) -> int:
    """Remove vectors at the front, inside a transaction, until the rest is neither old nor too large.

    Returns:
        How many were removed.
    """
    limit = MAX_BYTES if max_bytes is None else max_bytes
    oldest = today() - MAX_AGE_DAYS
    removed = 0
    while True:
        too_large = used_bytes(connection) > limit
        if not too_large and not connection.execute(f"SELECT id FROM ({_FRONT} 1) WHERE day < {oldest}").fetchone():
            return removed
        if too_large and not removed:
            limit = int(limit * _TRIMMED_SHARE)
        taken = f"SELECT id FROM ({_FRONT} {_TRIMMED_AT_ONCE})" + ("" if too_large else f" WHERE day < {oldest}")
        cursor = connection.execute(f"DELETE FROM vectors WHERE id IN ({taken})")
        if cursor.rowcount < 1:
            return removed
        removed += cursor.rowcount


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something; the rest is used again before the file grows."""
    pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return int(pages - free) * _PAGE_BYTES


def _is_there(path: Path) -> bool:
    """Whether there is a file; other users' permissions to read it are removed.

    Raises:
        CodeIndexError: There is something else, such as a link or a pipe.
    """
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise CodeIndexError(f"{path} is not a file", remedy="Move it away.")
        if found.st_mode & 0o077 and hasattr(os, "geteuid") and found.st_uid == os.geteuid():
            path.chmod(0o600)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unwritable(path, error) from error
    return True


def _connect(path: Path) -> sqlite3.Connection:
    connection = open_connection(path, wait_ms=WAIT_MS)
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    return connection


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """False for an empty file and for one of another layout, which are to be replaced."""
    try:
        application, version, num_tables = identity_of(connection)
        if application == num_tables == 0:
            return False
        if application != SHARED_APPLICATION_ID:
            raise CodeIndexError(f"{path} is not a vector store of mose", remedy="Move it away.")
        if version > SHARED_FORMAT:
            raise CodeIndexError(f"{path} was written by a newer mose", remedy="Upgrade mose, or delete it.")
        tables = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return version == SHARED_FORMAT and tables == [(_TABLE,)]


def _create(path: Path) -> sqlite3.Connection:
    try:
        create_private(path)
    except OSError as error:
        raise unwritable(path, error) from error
    connection = _connect(path)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        create_tables(connection, [_TABLE], application_id=SHARED_APPLICATION_ID, version=SHARED_FORMAT)
    except BaseException:
        connection.close()
        raise
    return connection


def _remove(path: Path) -> None:
    """Remove the file, its log first: left behind, the log would be taken for that of a new file."""
    try:
        for suffix in ("-wal", "-shm", ""):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
