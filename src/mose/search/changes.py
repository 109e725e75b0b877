"""What has changed in a source tree since its index was brought up to date."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from mose.errors import SourceError
from mose.files import TRANSIENT, SourceFile, WalkLimits, walk
from mose.files.disk import identity_of
from mose.files.records import OVERSIZED
from mose.files.walking import Looked
from mose.languages import may_be
from mose.progress import Progress, ProgressCallback
from mose.search.chunking.prepare import CutTask
from mose.search.store.records import KnownFile
from mose.search.store.status import MAX_EXAMPLES
from mose.search.store.store import Store
from mose.search.store.write_vectors import need_repair
from mose.syntax import parser_of
from mose.workers import FAILURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a walk has found."""

    folder: tuple[int, int] | None
    """Which folder was walked, however it is called; None if that is not known."""
    files: list[SourceFile] = field(default_factory=list)
    skipped: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    """Reason -> count and examples of what was left out."""
    unreadable: set[str] = field(default_factory=set)
    """Folders, with a slash at the end, and files of which nothing is known today."""
    looked: Looked = field(default_factory=Looked)
    """What the walk depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be done to the index."""

    tasks: list[CutTask]
    """Files to cut, new or known."""
    old_ids: dict[str, int]
    """Path -> id of the files among them that the index knows."""
    removed: list[int]
    """Ids of files that are gone."""

    @property
    def num_added(self) -> int:
        """Files that the index does not know."""
        return len(self.tasks) - len(self.old_ids)


def walk_tree(root: Path, limits: WalkLimits, progress: ProgressCallback) -> Found:
    """Everything in a tree, read or left out."""
    found = Found(folder=identity_of(str(root)))
    for item in walk(root, limits, found.looked):
        if isinstance(item, SourceFile):
            found.files.append(item)
            if len(found.files) % 1000 == 0:
                progress(Progress("walk", len(found.files), 0))
            continue
        count, examples = found.skipped.get(item.reason, (0, []))
        if len(examples) < MAX_EXAMPLES:
            examples.append(item.path)
        found.skipped[item.reason] = (count + 1, examples)
        if item.reason in TRANSIENT:
            found.unreadable.add(item.path)
    return found


def refuse_empty_mount(store: Store, root: Path, found: Found) -> None:
    """Raise `SourceError` if everything is gone and the folder is another than last time."""
    if found.files or found.skipped or store.meta("place") in (None, repr(found.folder)):
        return
    if store.rows("SELECT 1 FROM files LIMIT 1"):
        raise SourceError(
            f"{root} is empty, and another folder than the one that was indexed: perhaps it is not mounted",
            remedy=f"Mount it, or run `mose forget {root}` if all of it is really gone.",
        )


_AS_BEFORE = """
SELECT path, size_bytes, modified_ns, language, changed_ns, inode, cut_by
FROM files WHERE NOT doubtful AND skipped NOT IN (SELECT value FROM json_each(?))
"""
_KNOWN_FILES = """
SELECT path, id, size_bytes, modified_ns, changed_ns, inode, doubtful, hash, skipped, language, cut_by, trouble
FROM files
"""


def find_changes(store: Store, root: Path, found: Found) -> Changes:
    """What an index lacks of the files that were found, and has too much."""
    as_before = _files_as_before(store)
    changed = [file for file in found.files if file not in as_before]
    if not changed and len(found.files) == store.rows("SELECT count(*) FROM files")[0][0]:
        return Changes(tasks=[], old_ids={}, removed=[])
    known = {row[0]: KnownFile(*row[1:]) for row in store.rows(_KNOWN_FILES)}
    tasks, old_ids = [], {}
    for file in changed:
        old = known.get(file.path)
        task = CutTask(file=file) if old is None else _task(root, file, old)
        if task is not None:
            tasks.append(task)
            if old is not None:
                old_ids[file.path] = old.id
    gone = known.keys() - {file.path for file in found.files}
    removed = [old.id for path, old in known.items() if path in gone and not _may_be_there(path, found.unreadable)]
    return Changes(tasks=tasks, old_ids=old_ids, removed=removed)


def _files_as_before(store: Store) -> set[tuple[object, ...]]:
    """What a walk finds of files that need not be read again: everything that `SourceFile` says of them.

    Most files are among them, and are compared all at once; `_task` looks closely at the others.
    """
    rows = store.rows(_AS_BEFORE, (json.dumps([OVERSIZED, *TRANSIENT]),))
    return {row[:6] for row in rows if row[6] == parser_of(row[3])}


def is_up_to_date(store: Store, found: Found, changes: Changes) -> bool:
    """Whether there is nothing to write."""
    if changes.tasks or changes.removed or not store.complete or need_repair(store):
        return False
    known = dict(store.rows("SELECT reason, count FROM skipped"))
    return known == {reason: count for reason, (count, _) in found.skipped.items()}


def _task(root: Path, file: SourceFile, old: KnownFile) -> CutTask | None:
    """What to do with a file that the index knows; None for nothing."""
    if old.skipped == OVERSIZED:  # the limit may be another now, and the walk found that the file keeps to it
        return CutTask(file=file)
    is_relabelled = file.language != old.language and not may_be(file.path, file.language, old.language)
    if is_relabelled or old.cut_by != parser_of(old.language):
        return CutTask(file=file)
    if old.doubtful and (old.trouble or old.skipped in FAILURES):
        return CutTask(file=file, tried_before=True)
    is_as_before = (
        old.changed_ns == file.changed_ns
        and old.modified_ns == file.modified_ns
        and old.size_bytes == file.size_bytes
        and old.inode == file.inode
    )
    if is_as_before and old.skipped in TRANSIENT:
        is_as_before = not _is_readable(root / file.path)
    elif old.doubtful:
        is_as_before = False
    if is_as_before:
        return None
    return CutTask(file=file, known_hash=old.hash, known_language=old.language, known_skip=old.skipped)


def _is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def _may_be_there(path: str, unreadable: Collection[str]) -> bool:
    """Whether a file may be missing only because it, or a folder above it, could not be read."""
    return bool(unreadable) and (
        path in unreadable or any(path[: end + 1] in unreadable for end, char in enumerate(path) if char == "/")
    )
