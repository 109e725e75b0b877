"""Bringing an index up to date with its tree, and its vectors down to an exit.

``refresh`` walks the tree and cuts what has changed; chunks and words are committed batch by batch and the
vectors of exit 0 follow right behind. ``deepen`` gives chunks the vectors of a deeper exit, the known ones
first. Both can be killed at any point: what was committed stays, the rest is done by the next call.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mose.errors import CodeIndexError, IndexReplacedError, SourceError
from mose.files import TRANSIENT, SourceFile, WalkLimits, moved_away, walk
from mose.files.disk import identity_of
from mose.files.records import OVERSIZED, printable
from mose.languages import may_be
from mose.progress import Progress, ProgressCallback, no_progress
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.chunking.cut_files import cut_files
from mose.search.chunking.index_words import fingerprint
from mose.search.chunking.prepare import CutFile, CutTask
from mose.search.deepen import DeepenReport, TextEncoder, at_full_width, check_model, deepen, fill_exit_0
from mose.search.store.exchange import exchanging, remove_index, replace_index
from mose.search.store.location import base_folder, index_folder, source_root
from mose.search.store.lock import writer_lock
from mose.search.store.records import KnownFile
from mose.search.store.status import MAX_EXAMPLES, limits_of, skipped_counts
from mose.search.store.store import Store
from mose.search.store.write import merge_words, set_meta, transaction, write_files, write_skipped
from mose.search.store.write_vectors import damaged_rows, need_repair, repair_vectors, write_vectors
from mose.syntax import MISFIT, parser_of
from mose.workers import FAILURES

__all__ = [
    "DeepenReport",
    "RefreshReport",
    "TextEncoder",
    "check_made_by",
    "deepen",
    "forget",
    "made_by",
    "rebuild",
    "refresh",
]

BATCH_CHUNKS = 2_000
BATCH_SECONDS = 2.0
REMOVED_A_BATCH = 200
MERGE_ABOVE_CHUNKS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshReport:
    """What a refresh did."""

    num_added: int = 0
    num_changed: int = 0  # a new time stamp alone does not count
    num_removed: int = 0
    num_new_chunks: int = 0
    skipped: dict[str, int] = field(default_factory=dict)  # reason -> count
    seconds: float = 0.0
    busy: bool = False  # another process is writing; nothing was changed here
    warnings: tuple[str, ...] = ()  # what the user should know, a sentence each


@dataclass(slots=True)
class _Plan:
    tasks: list[CutTask]
    old_ids: dict[str, int]  # path -> file id, of files that are to be cut again
    removed: list[int]
    num_added: int
    num_changed: int = 0  # known once they have been read
    warnings: dict[str, None] = field(default_factory=dict)  # in order, each once


def refresh(
    store: Store,
    root: Path,
    encoder: TextEncoder | None,
    *,
    chunker: ChunkerConfig | None = None,
    limits: WalkLimits | None = None,
    progress: ProgressCallback = no_progress,
    wait: bool = True,
    num_workers: int | None = None,
    model_name: str = "",
) -> RefreshReport:
    """Brings chunks, words and exit 0 up to date with the tree.

    Args:
        store: An index opened to write.
        root: The source tree.
        encoder: Gives the vectors of exit 0, if it has that exit; None for words alone.
        chunker: How to cut; an index keeps to the settings it was made with.
        limits: Which files are too large, from now on; None for those of the last refresh.
        progress: Called with the progress so far.
        wait: Wait while another process writes; False to leave the index as it is then (``busy``).
        num_workers: See `mose.search.chunking.cut_files.cut_files`.
        model_name: How the model was asked for; empty for the shipped one.

    Raises:
        CodeIndexError: The index was made by another chunker or model, or cannot be written.
        SourceError: The tree cannot be read.
    """
    started = time.perf_counter()
    root = source_root(root)
    chunker, asked, limits = chunker or ChunkerConfig(), limits, limits or limits_of(store)
    check_made_by(store, chunker, encoder)
    place = identity_of(str(root))
    found = _walk(root, limits, progress)
    _refuse_empty_mount(store, root, found, place)
    plan = _plan(store, root, found)
    if limits == limits_of(store) and _is_up_to_date(store, plan, found.skipped, encoder):
        return RefreshReport(skipped=skipped_counts(store), seconds=time.perf_counter() - started)
    with store.writing(wait=wait, progress=progress) as mine:
        if not mine:
            return RefreshReport(busy=True, seconds=time.perf_counter() - started)
        check_made_by(store, chunker, encoder)  # another process has perhaps been here
        plan = _plan(store, root, found)
        was_whole = store.complete and store.meta("model") is not None
        was_whole = was_whole and not need_repair(store) and not damaged_rows(store)
        with transaction(store):
            set_meta(store, root=printable(str(root)), chunker=made_by(chunker), place=repr(place))
            set_meta(store, complete="0", pending=str(len(plan.tasks)))
            if encoder is not None:
                set_meta(store, model=encoder.identity, model_name=model_name)
            if asked is not None:
                set_meta(store, max_file_bytes=str(asked.max_file_bytes))
        if not was_whole:
            repair_vectors(store)
        cut = cut_files(root, plan.tasks, limits, chunker, num_workers=num_workers)
        num_new = _store_files(store, cut, plan, encoder, progress)
        write_skipped(store, found.skipped)
        if not was_whole and encoder is not None and 0 in encoder.exits:
            fill_exit_0(store, encoder)
        if num_new > MERGE_ABOVE_CHUNKS:
            merge_words(store)
        if place is None or identity_of(str(root)) != place:  # what could not be read is perhaps only elsewhere now
            raise moved_away(root)
        set_meta(store, complete="1", pending="0", refreshed_at=repr(time.time()))
    return RefreshReport(
        num_added=plan.num_added,
        num_changed=plan.num_changed,
        num_removed=len(plan.removed),
        num_new_chunks=num_new,
        skipped=skipped_counts(store),
        seconds=time.perf_counter() - started,
        warnings=tuple(plan.warnings),
    )


def _refuse_empty_mount(store: Store, root: Path, found: _Found, place: tuple[int, int] | None) -> None:
    """Raise `SourceError` if everything is gone and the folder is another than last time."""
    if found.files or found.skipped or store.meta("place") in (None, repr(place)):
        return
    if store.rows("SELECT 1 FROM files LIMIT 1"):
        raise SourceError(
            f"{root} is empty, and another folder than the one that was indexed: perhaps it is not mounted",
            remedy=f"Mount it, or run `mose forget {root}` if all of it is really gone.",
        )


def made_by(chunker: ChunkerConfig) -> str:
    """The chunker that an index names: its version, its settings, and how words are split."""
    settings = hashlib.blake2b(repr(chunker).encode(), digest_size=6).hexdigest()
    return f"{chunker.version}-{settings}-{fingerprint()}"


def check_made_by(store: Store, chunker: ChunkerConfig, encoder: TextEncoder | None) -> None:
    """Nothing if an index fits the chunker and the model, or is new.

    Raises:
        CodeIndexError: It was made by others.
    """
    made, wanted = store.meta("chunker"), made_by(chunker)
    if made is not None and made != wanted:
        raise CodeIndexError(
            f"the index in {store.folder} was cut by another chunker",
            got=made,
            allowed=wanted,
            remedy=f"Run `mose index {store.meta('root') or 'PATH'} --rebuild`.",
        )
    if encoder is not None:
        check_model(store, encoder)


def is_outdated(store: Store, encoder: TextEncoder) -> bool:
    """True for an index that another version of mose made with its own chunker and model: to be made anew.

    An index of a model that was named is none of these: whoever named it may want it again.
    """
    try:
        check_made_by(store, ChunkerConfig(), encoder)
    except CodeIndexError:
        return not store.meta("model_name")
    return False


def retire(folder: Path, encoder: TextEncoder) -> None:
    """Puts an empty index in the place of one that is outdated, unless another process has done so meanwhile."""
    with suppress(IndexReplacedError), closing(Store.open(folder)) as store, store.writing():
        if is_outdated(store, encoder):
            replace_index(folder)


def rebuild(folder: Path) -> None:
    """Puts an empty index behind an index folder, whatever is there."""
    with exchanging(folder):
        replace_index(folder)


def forget(root: Path | str) -> list[Path]:
    """Removes the index of a tree, wherever it lies; the tree itself may be gone already.

    Returns:
        The index folders that were removed.

    Raises:
        CodeIndexError: A file cannot be removed.
    """
    folder = index_folder(root, must_exist=False)
    base = base_folder(folder)
    if not base.exists():
        return []
    with suppress(IndexReplacedError), writer_lock(base, wait=True):
        return [folder] if remove_index(base) else []
    return []  # another process was faster


_SkippedByWalk = dict[str, tuple[int, list[str]]]  # reason -> count, examples


@dataclass(frozen=True, slots=True)
class _Found:
    """What a walk has found."""

    files: list[SourceFile]
    skipped: _SkippedByWalk
    unreadable: set[str]  # folders, with a slash at the end, and files of which nothing is known today


def _walk(root: Path, limits: WalkLimits, progress: ProgressCallback) -> _Found:
    found = _Found([], {}, set())
    for item in walk(root, limits):
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


def _is_up_to_date(store: Store, plan: _Plan, skipped: _SkippedByWalk, encoder: TextEncoder | None) -> bool:
    if plan.tasks or plan.removed or not store.complete or need_repair(store):
        return False
    if encoder is not None and store.meta("model") is None:
        return False
    known = dict(store.rows("SELECT reason, count FROM skipped"))
    return known == {reason: count for reason, (count, _) in skipped.items()}


_KNOWN_FILES = """
SELECT path, id, size_bytes, modified_ns, changed_ns, inode, doubtful, hash, skipped, language, cut_by, trouble
FROM files
"""


def _plan(store: Store, root: Path, found: _Found) -> _Plan:
    known = {row[0]: KnownFile(*row[1:]) for row in store.rows(_KNOWN_FILES)}
    plan = _Plan(tasks=[], old_ids={}, removed=[], num_added=0)
    for file in found.files:
        old = known.pop(file.path, None)
        if old is None:
            plan.num_added += 1
            plan.tasks.append(CutTask(file=file))
            continue
        task = _task(root, file, old)
        if task is not None:
            plan.old_ids[file.path] = old.id
            plan.tasks.append(task)
    plan.removed.extend(old.id for path, old in known.items() if not _may_be_there(path, found.unreadable))
    return plan


def _task(root: Path, file: SourceFile, old: KnownFile) -> CutTask | None:
    """What is to be done with a file that the index knows, None if nothing."""
    if old.skipped == OVERSIZED:  # the limit may be another now, and the walk found that the file keeps to it
        return CutTask(file=file)
    is_labelled_anew = file.language != old.language and not may_be(file.path, file.language, old.language)
    if is_labelled_anew or old.cut_by != parser_of(old.language):
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
    """Whether a file was perhaps not found only because it, or a folder above it, could not be read."""
    return bool(unreadable) and (
        path in unreadable or any(path[: place + 1] in unreadable for place, char in enumerate(path) if char == "/")
    )


def _store_files(
    store: Store, cut: Iterable[CutFile], plan: _Plan, encoder: TextEncoder | None, progress: ProgressCallback
) -> int:
    """Commits files in batches, the vectors of exit 0 behind each; gives the number of new chunks."""
    num_new = num_done = 0
    at_exit_0 = at_full_width(encoder, 0) if encoder is not None and 0 in encoder.exits else None
    for start in range(0, len(plan.removed), REMOVED_A_BATCH):
        write_files(store, removed=plan.removed[start : start + REMOVED_A_BATCH], files=[])
    for batch in _batches(cut):
        plan.warnings.update(dict.fromkeys(_misfit(file) for file in batch if file.trouble == MISFIT))
        replaced = [plan.old_ids[file.path] for file in batch if not file.same and file.path in plan.old_ids]
        ids = write_files(store, removed=replaced, files=batch)
        plan.num_changed += len(replaced)
        num_new += len(ids)
        num_done += len(batch)
        set_meta(store, pending=str(len(plan.tasks) - num_done))
        progress(Progress("cut", num_done, len(plan.tasks)))
        if at_exit_0 is not None and len(ids):
            chunks = (chunk for file in batch if not file.same for chunk in file.chunks)
            words = [[*chunk.frame_words.split(), *chunk.text_words.split()] for chunk in chunks]
            write_vectors(store, 0, at_exit_0.identity, np.array(ids), at_exit_0.encode_words(words))
    return num_new


def _misfit(file: CutFile) -> str:
    return f"The installed grammar {file.cut_by} does not fit this version of mose: its files are cut by length."


def _batches(cut: Iterable[CutFile]) -> Iterator[list[CutFile]]:
    batch: list[CutFile] = []
    num_chunks, started = 0, time.monotonic()
    for file in cut:
        batch.append(file)
        num_chunks += len(file.chunks)
        if num_chunks >= BATCH_CHUNKS or time.monotonic() - started > BATCH_SECONDS:
            yield batch
            batch, num_chunks, started = [], 0, time.monotonic()
    if batch:
        yield batch
