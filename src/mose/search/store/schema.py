"""The tables of an index file, how it is opened, and what its failures mean.

A file is ours if its ``application_id`` says so, and readable if its ``user_version`` is ours.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mose.errors import CodeIndexError, DamagedIndexError, UnwritableIndexError
from mose.search.store.location import HOME_VARIABLE

APPLICATION_ID = 0x4D6F5345  # "MoSE"
FORMAT_VERSION = 6
BUSY_TIMEOUT_MS = 30_000
CACHE_KIB = 32_768
FULL_BYTES = 1_000_000
"""A disk with less room is full: SQLite says only that it could not write."""

TOKENIZER = "porter unicode61 tokenchars '_'"
"""How FTS5 reads the words it is given; a query goes through the same."""

REBUILD = "Run `mose index PATH --rebuild` to make it anew, or `mose forget PATH` to remove it."

TABLES = f"""
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files(
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, hash BLOB NOT NULL, size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, inode INTEGER NOT NULL, doubtful INTEGER NOT NULL,
    language TEXT NOT NULL, cut_by TEXT NOT NULL, trouble TEXT NOT NULL,
    generated INTEGER NOT NULL, skipped TEXT NOT NULL
);
CREATE TABLE skipped(reason TEXT PRIMARY KEY, count INTEGER NOT NULL, examples TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE chunks(
    id INTEGER PRIMARY KEY AUTOINCREMENT, file_id INTEGER NOT NULL, first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL, kind TEXT NOT NULL, symbol TEXT NOT NULL, defines TEXT NOT NULL
);
CREATE INDEX chunks_of_file ON chunks(file_id);
CREATE TABLE texts(
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, signature TEXT NOT NULL, context TEXT NOT NULL,
    text TEXT NOT NULL, sum INTEGER NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5(body, symbol, path, content='', tokenize="{TOKENIZER}");
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, row);
CREATE TABLE exits(
    exit INTEGER PRIMARY KEY, model TEXT NOT NULL, width INTEGER NOT NULL, file TEXT NOT NULL,
    next_row INTEGER NOT NULL
);
CREATE TABLE runs(
    exit INTEGER NOT NULL, first_row INTEGER NOT NULL, ids BLOB NOT NULL, sums BLOB NOT NULL,
    UNIQUE(exit, first_row)
);
"""
# chunks: ids are never used twice: neither a vector nor a search in flight can meet another chunk's text.
# texts: apart from chunks, so that reading every chunk's place does not page through every text.
# texts.sum: a checksum of everything that is stored of the chunk (`mose.search.store.records.chunk_sum`).
# files.cut_by: the grammar and its version, or "lines"; with another one the file is cut again.
# files.trouble: why it was cut by lines nevertheless ("" if it was not).
# files.changed_ns, files.inode: what cannot be set back when a file is replaced by one of equal size and time.
# files.doubtful: changed so shortly before it was read that equal stamps prove nothing.
# files.generated: a mark at its head says that a tool wrote it; it ranks below.
# files.skipped: why its content was left out ("" if indexed); it is not read again unless the reason may have passed.
# A file with chunks that could not be read again later keeps them, and says so here.
# runs: vector rows first_row, first_row + 1, ... of an exit's file belong to these chunk ids (int64);
# runs.sums: a checksum of each of these rows (uint32).


_NOT_THE_FILE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOLFS,
}  # fmt: skip


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether the bytes of a file are to blame for an error, not the disk, its rights or another process.

    Our statements are fixed and the tables were compared with ours when the file was opened: a statement that does
    not fit them, a key that is there twice or a text that is not UTF-8 is damage, too.
    """
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return False  # a mistake of ours
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _NOT_THE_FILE


def damaged(path: Path, why: object, rebuild: str = REBUILD) -> DamagedIndexError:
    """The error for an index that does not hold what was written."""
    return DamagedIndexError(f"{path} is damaged ({str(why).splitlines()[0][:200]})", remedy=rebuild)


@contextmanager
def stored_values(path: Path) -> Iterator[None]:
    """Around code that only takes apart what an index gave.

    Raises:
        DamagedIndexError: In place of what a value of a wrong type or size raises.
    """
    try:
        yield
    except (TypeError, ValueError, AttributeError, OverflowError, LookupError) as error:
        raise damaged(path, error or type(error).__name__) from error


@contextmanager
def clear_errors(path: Path, rebuild: str = REBUILD) -> Iterator[None]:
    """Turns what SQLite raises about a file into errors that say what to do.

    Args:
        path: The file, to be named.
        rebuild: The remedy for a damaged file.

    Raises:
        CodeIndexError: In place of an ``sqlite3.Error`` that the file or the disk is to blame for.
    """
    try:
        yield
    except UnicodeDecodeError as error:  # from the words in which SQLite reports damage
        raise damaged(path, error.reason, rebuild) from error
    except sqlite3.Error as error:
        message = str(error).lower()
        name = getattr(error, "sqlite_errorname", "")
        if "full" in message or (name.startswith("SQLITE_IOERR") and name not in _READ_ERRORS):
            raise UnwritableIndexError(
                f"{path}: the disk is full" if "full" in message or _is_full(path) else f"{path}: cannot be written",
                remedy=f"Make room, or set {HOME_VARIABLE} to a folder that has some. The index itself is unharmed.",
            ) from error
        if "readonly" in message or "unable to open" in message:
            raise UnwritableIndexError(
                f"{path}: cannot be opened for writing", remedy=f"Check its permissions, or set {HOME_VARIABLE}."
            ) from error
        if "locked" in message or "busy" in message:
            what, remedy = "is locked by another process", "Wait until that process ends, then try again."
        elif name in _READ_ERRORS:
            what, remedy = "cannot be read", f"Check the disk. {rebuild}"
        elif is_damage(error):
            raise damaged(path, error, rebuild) from error
        else:
            raise  # a mistake of ours
        raise CodeIndexError(f"{path}: {what}", remedy=remedy) from error


_READ_ERRORS = (
    "SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_DATA", "SQLITE_IOERR_CORRUPTFS",
)  # fmt: skip


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < FULL_BYTES
    except OSError:
        return False


def connect(path: Path, *, read_only: bool, settled: bool = False) -> sqlite3.Connection:
    """An open connection to an index file that is known to be ours; a new file gets its tables.

    Args:
        path: The file.
        read_only: Write nothing into it.
        settled: See `is_settled`: nothing beside it is written, either. Only for `read_only`.

    Raises:
        CodeIndexError: The file is foreign, damaged, of another format, or cannot be opened.
    """
    with clear_errors(path):
        if read_only:
            uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if settled else ''}"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        else:
            _make_private(path)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            _check(connection, path, read_only=read_only)
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
    return connection


def _make_private(path: Path) -> None:
    """Makes a missing file that its owner alone can read; SQLite gives the files beside it the same permissions."""
    with suppress(OSError):  # SQLite says why it cannot be opened
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def is_settled(path: Path) -> bool:
    """Whether everything ever committed is in the index file itself: it can then be read without a trace."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size == 0
    except FileNotFoundError:
        return True


def _check(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    application, version, num_tables = identity_of(connection)
    if application == version == num_tables == 0 and not read_only:
        _create(connection)
    elif application != APPLICATION_ID:
        raise CodeIndexError(
            f"{path} is not an index of mose",
            remedy="Move it away, or run `mose forget PATH` to remove it.",
        )
    elif version != FORMAT_VERSION:
        newer = version > FORMAT_VERSION
        raise CodeIndexError(
            f"{path} was written by {'a newer' if newer else 'an older'} mose",
            got=f"format {version}",
            allowed=f"format {FORMAT_VERSION}",
            remedy=("Upgrade mose, or run" if newer else "Run") + " `mose index PATH --rebuild`.",
        )
    elif not _has_our_tables_alone(connection):
        raise damaged(path, "it holds tables that are not those of mose")
    if not read_only:
        connection.execute("PRAGMA synchronous = NORMAL")


def _has_our_tables_alone(connection: sqlite3.Connection) -> bool:
    """No view, no trigger, no other table: a query of ours reads and runs what we wrote, nothing else."""
    missing = set(_statements())
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if sql in missing:
            missing.remove(sql)
        elif not (kind == "table" and name in _MADE_BY_SQLITE) and not (kind == "index" and sql is None):
            return False
    return not missing


_MADE_BY_SQLITE = {"sqlite_sequence", *(f"words_{part}" for part in ("config", "content", "data", "docsize", "idx"))}


def _statements() -> list[str]:
    return [statement.strip() for statement in TABLES.split(";\n") if statement.strip()]


def _create(connection: sqlite3.Connection) -> None:
    use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # no other process was faster
        for statement in _statements():
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute("COMMIT")


def identity_of(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Application, version and number of tables, as of one moment: another process may be making them."""
    connection.execute("BEGIN")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    num_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    connection.execute("COMMIT")
    return application, version, num_tables


def use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers and a writer do not disturb each other from now on.

    SQLite does not wait here by itself if another process makes the same change.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
