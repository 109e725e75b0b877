"""All indexes of the user: listing them, removing those whose trees are gone and shared vectors that no index uses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mose.errors import CodeIndexError, DamagedIndexError, IndexReplacedError, MoseError
from mose.search.store.exchange import remove_index
from mose.search.store.exit_vectors import read_entries, read_exit
from mose.search.store.location import (
    INSIDE_NAME,
    POINTER_NAME,
    SHARED_NAME,
    TREES_NAME,
    base_folder,
    current_index,
    read_folders,
)
from mose.search.store.lock import writer_lock
from mose.search.store.schema import clear_errors
from mose.search.store.shared_file import open_shared, trim
from mose.search.store.shared_vectors import shared_key
from mose.search.store.store import Store
from mose.storage import home


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedIndex:
    """An index that was removed, or would be."""

    folder: Path
    root: str  # its tree; "" if it does not say
    reason: str
    size_bytes: int


@dataclass(slots=True, kw_only=True)
class PruneReport:
    """What was removed, or would be in a dry run."""

    indexes: list[PrunedIndex] = field(default_factory=list)
    num_kept: int = 0
    busy: list[Path] = field(default_factory=list)  # left alone: another process is writing
    num_vectors: int = 0  # shared vectors removed
    num_vectors_kept: int = 0
    freed_bytes: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedIndex:
    """One index of this user."""

    root: str
    """Its tree; "" if it does not say."""
    folder: Path
    has_tree: bool
    """Whether the tree is there."""
    size_bytes: int
    num_files: int
    num_chunks: int
    vectors: dict[int, int]
    """Exit -> chunks read at it."""
    refreshed_at: float | None
    """Seconds since the epoch; the last refresh that found a change."""
    trouble: str = ""
    """Why nothing but its size is known, "" if all is."""


def list_indexes() -> Iterator[ListedIndex]:
    """Every index of this user, that of each tree that was searched, in order of their folders' names."""
    for base in bases():
        found = _listed(base)
        if found is not None:
            yield found


def bases() -> Iterator[Path]:
    """The base folders of all trees, in order of their names."""
    trees = home() / TREES_NAME
    for base in sorted(trees.iterdir()) if trees.is_dir() else []:
        if base.is_dir() and not base.is_symlink():
            yield base


def _listed(base: Path) -> ListedIndex | None:
    """The index of a base folder; None if it has none."""
    named = read_folders(base, POINTER_NAME)
    if not named:
        return None
    folder = named[0]
    try:
        if current_index(base) is None:
            raise CodeIndexError("its folder is gone", remedy="`mose prune` removes the rest.")
        with Store.open_to_read(folder) as store:
            vectors = {entry.exit: len(read_exit(store, entry.exit).ids) for entry in read_entries(store)}
            ((num_files,),) = store.rows("SELECT count(*) FROM files WHERE skipped = ''")
            root, refreshed_at = store.meta("root") or "", store.meta("refreshed_at")
            return ListedIndex(
                root=root,
                folder=folder,
                has_tree=bool(root) and Path(root).is_dir(),
                size_bytes=_size_of_index(base, named),
                num_files=num_files,
                num_chunks=len(store.chunk_ids()),
                vectors=vectors,
                refreshed_at=float(refreshed_at) if refreshed_at else None,
            )
    except (MoseError, OSError, ValueError) as error:
        return ListedIndex(
            root="",
            folder=folder,
            has_tree=False,
            size_bytes=_size_of_index(base, named),
            num_files=0,
            num_chunks=0,
            vectors={},
            refreshed_at=None,
            trouble=error.what if isinstance(error, MoseError) else str(error),
        )


def prune(*, dry_run: bool = False) -> PruneReport:
    """Remove indexes whose trees are gone or that cannot be read, then shared vectors that no remaining index uses.

    If it is killed, every index is either whole or gone, and the next call does the rest.

    Raises:
        CodeIndexError: A file cannot be removed.
    """
    report = PruneReport()
    used: set[bytes] = set()
    for base in bases():
        found = _useless(base, used)
        if found is None:
            report.num_kept += 1
        elif dry_run or _remove(base):
            report.indexes.append(found)
            report.freed_bytes += found.size_bytes
        else:
            report.busy.append(base)
    _prune_shared(home() / SHARED_NAME, used, report, dry_run=dry_run)
    return report


def _useless(base: Path, used: set[bytes]) -> PrunedIndex | None:
    """Why the index of a base folder can be removed; None if it is in use, and its keys are added to ``used``."""
    root, reason = "", ""
    named = read_folders(base, POINTER_NAME)
    if not named:
        reason = "left over"
    elif current_index(base) is None:
        reason = "its folder is gone"
    else:
        try:
            with Store.open_to_read(named[0]) as store:
                root = store.meta("root") or ""
                if root and base_folder(Path(root) / INSIDE_NAME) != base:
                    reason = "damaged"
                elif root and not Path(root).is_dir():
                    reason = "its tree is gone"
                else:
                    used.update(_keys(store))
        except DamagedIndexError:
            reason = "damaged"
        except (CodeIndexError, OSError, ValueError):
            return None  # of another version, or being made
    if not reason:
        return None
    return PrunedIndex(folder=base, root=root, reason=reason, size_bytes=_size_of_index(base, named))


def _size_of_index(base: Path, named: Sequence[Path]) -> int:
    files = {path for folder in (base, *named) for path in folder.rglob("*") if path.is_file()}
    return sum(path.lstat().st_size for path in files)


def _keys(store: Store) -> set[bytes]:
    """The keys of all shared vectors that an index may ask for."""
    keys = [key for (key,) in store.rows("SELECT key FROM texts") if isinstance(key, bytes)]
    entries = [entry for entry in read_entries(store) if entry.exit > 0]
    return {shared_key(entry.model, entry.exit, key) for entry in entries for key in keys}


def _remove(base: Path) -> bool:
    """False if another process is writing the index."""
    with suppress(IndexReplacedError), writer_lock(base, wait=False) as mine:
        if mine:
            remove_index(base)
        return mine
    return True  # another process was faster


def _prune_shared(path: Path, used: set[bytes], report: PruneReport, *, dry_run: bool) -> None:
    if not path.is_file():
        return
    before = _size_of(path)
    try:
        with clear_errors(path), closing(open_shared(path)) as connection:
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("CREATE TEMP TABLE used(key BLOB PRIMARY KEY) WITHOUT ROWID")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO used VALUES (?)", [(key,) for key in used])
            (num_before,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
            connection.execute("DELETE FROM vectors WHERE key NOT IN (SELECT key FROM used)")
            trim(connection)
            (report.num_vectors_kept,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
            report.num_vectors = num_before - report.num_vectors_kept
            connection.execute("ROLLBACK" if dry_run else "COMMIT")
            if report.num_vectors and not dry_run:
                with suppress(sqlite3.OperationalError):  # another process reads: its room is used again
                    connection.execute("VACUUM")
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except CodeIndexError as error:
        report.notes.append(f"{error.what.rstrip('.')}: the vectors that all trees share are as they were.")
        return
    if not dry_run:
        report.freed_bytes += max(0, before - _size_of(path))


def _size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
