"""The tables of an index file, how it is opened, and what its failures mean.

A file is ours if its ``application_id`` says so, and readable if its ``user_version`` is ours.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mose.database import create_private, create_tables, identity_of, is_damage, open_connection
from mose.errors import CodeIndexError, DamagedIndexError, UnwritableIndexError
from mose.storage import HOME_VARIABLE

APPLICATION_ID = 0x4D6F5345  # "MoSE"
FORMAT_VERSION = 6
BUSY_TIMEOUT_MS = 30_000
CACHE_KIB = 32_768
FULL_BYTES = 1_000_000
"""A disk with less room is full: SQLite says only that it could not write."""

TOKENIZER = "porter unicode61 tokenchars '_'"
"""How FTS5 reads the words it is given; a query goes through the same."""

REBUILD = "Run `mose index PATH --rebuild` to rebuild it, or `mose forget PATH` to remove it."

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
# texts: apart from chunks, so that reading the location of every chunk does not page through every text.
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


def damaged(path: Path, why: object, rebuild: str = REBUILD) -> DamagedIndexError:
    """The error for an index whose content is not what was written."""
    return DamagedIndexError(f"{path} is damaged ({str(why).splitlines()[0][:200]})", remedy=rebuild)


@contextmanager
def stored_values(path: Path) -> Iterator[None]:
    """For code that only unpacks what an index returned.

    Raises:
        DamagedIndexError: A value has a wrong type or size.
    """
    try:
        yield
    except (TypeError, ValueError, AttributeError, OverflowError, LookupError) as error:
        raise damaged(path, error or type(error).__name__) from error


@contextmanager
def clear_errors(path: Path, rebuild: str = REBUILD) -> Iterator[None]:
    """Turn the errors of SQLite about a file into errors that say what to do.

    Args:
        path: The file, to be named.
        rebuild: The remedy for a damaged file.

    Raises:
        CodeIndexError: An ``sqlite3.Error`` was raised that is due to the file or the disk.
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
        name: Path | str = path
        if read_only:
            name = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if settled else ''}"
        else:
            with suppress(OSError):  # it exists, or SQLite says why it cannot be opened
                create_private(path)
        connection = open_connection(name, wait_ms=BUSY_TIMEOUT_MS)
        try:
            _check(connection, path, read_only=read_only)
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
    return connection


def is_settled(path: Path) -> bool:
    """Whether everything ever committed is in the index file itself: it can then be read without a trace."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size == 0
    except FileNotFoundError:
        return True


def _check(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    application, version, num_tables = identity_of(connection)
    if application == version == num_tables == 0 and not read_only:
        create_tables(connection, _statements(), application_id=APPLICATION_ID, version=FORMAT_VERSION)
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
