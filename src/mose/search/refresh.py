"""Bringing an index up to date with its tree.

`refresh` walks the tree and cuts what has changed; chunks and words are committed batch by batch, the vectors of exit 0
after each batch. It can be killed at any point: what was committed stays, the next call does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mose.files import WalkLimits, moved_away
from mose.files.disk import identity_of
from mose.files.records import printable
from mose.files.watch import Mark, Watch
from mose.progress import Progress, ProgressCallback, no_progress
from mose.runtime.encoder import Encoder
from mose.search.changes import Changes, Found, find_changes, is_up_to_date, refuse_empty_mount, walk_tree
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.chunking.cut_files import cut_files
from mose.search.chunking.prepare import CutFile
from mose.search.deepen import at_full_width, fill_exit_0
from mose.search.lifecycle import begin_alike, check_maker, chunker_identity
from mose.search.store.location import source_root
from mose.search.store.status import limits_of, skipped_counts
from mose.search.store.store import Store
from mose.search.store.write import merge_words, set_meta, transaction, write_files, write_skipped
from mose.search.store.write_vectors import damaged_rows, need_repair, repair_vectors, write_vectors
from mose.syntax import MISFIT

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


def refresh(
    store: Store,
    root: Path,
    encoder: Encoder,
    *,
    limits: WalkLimits | None = None,
    progress: ProgressCallback = no_progress,
    wait: bool = True,
    num_workers: int | None = None,
    model_name: str = "",
    watch: Watch | None = None,
    begins_alike: bool = True,
) -> RefreshReport:
    """Bring chunks, words and exit 0 up to date with the tree.

    Args:
        store: An index opened to write.
        root: The source tree.
        encoder: Gives the vectors of exit 0, if it has that exit.
        limits: Which files are too large, from now on; None for those of the last refresh.
        progress: Called with the progress so far.
        wait: Wait while another process writes; False to leave the index as it is then (``busy``).
        num_workers: See `mose.search.chunking.cut_files.cut_files`.
        model_name: How the model was asked for; empty for the shipped one.
        watch: Told what the index is up to date with.
        begins_alike: Whether a new index may begin with that of a similar tree (`mose.search.lifecycle.begin_alike`).

    Raises:
        CodeIndexError: The index was made by another chunker or model, or cannot be written.
        SourceError: The tree cannot be read.
    """
    started = time.perf_counter()
    root = source_root(root)
    new_limits, limits = limits, limits or limits_of(store)
    check_maker(store, encoder)
    mark = None if watch is None else watch.mark()
    found = walk_tree(root, limits, progress)
    walk_s = time.perf_counter() - started
    refuse_empty_mount(store, root, found)
    changes = find_changes(store, root, found)
    if limits == limits_of(store) and is_up_to_date(store, found, changes):
        _cover(watch, mark, store, found, walk_s)
        return RefreshReport(skipped=skipped_counts(store), seconds=time.perf_counter() - started)
    with store.writing(wait=wait, progress=progress) as mine:
        if not mine:
            return RefreshReport(busy=True, seconds=time.perf_counter() - started)
        check_maker(store, encoder)  # another process has perhaps been here
        if begins_alike and store.generation == 0:
            begin_alike(store, printable(str(root)), {file.path: file.size_bytes for file in found.files}, encoder)
        changes = find_changes(store, root, found)
        is_sound = store.complete and not need_repair(store) and not damaged_rows(store)
        with transaction(store):
            set_meta(store, root=printable(str(root)), place=repr(found.folder), chunker=chunker_identity())
            set_meta(store, model=encoder.identity, model_name=model_name)
            set_meta(store, complete="0", pending=str(len(changes.tasks)))
            if new_limits is not None:
                set_meta(store, max_file_bytes=str(new_limits.max_file_bytes))
        if not is_sound:
            repair_vectors(store)
        cut = cut_files(root, changes.tasks, limits, ChunkerConfig(), num_workers=num_workers)
        report = _store_changes(store, changes, cut, encoder, progress)
        write_skipped(store, found.skipped)
        if not is_sound and 0 in encoder.exits:
            fill_exit_0(store, encoder)
        if report.num_new_chunks > MERGE_ABOVE_CHUNKS:
            merge_words(store)
        if found.folder is None or identity_of(str(root)) != found.folder:
            raise moved_away(root)  # what could not be read is perhaps only elsewhere now
        set_meta(store, complete="1", pending="0", refreshed_at=repr(time.time()))
    _cover(watch, mark, store, found, walk_s)
    return replace(report, skipped=skipped_counts(store), seconds=time.perf_counter() - started)


def _cover(watch: Watch | None, mark: Mark | None, store: Store, found: Found, walk_s: float) -> None:
    if watch is not None and mark is not None:
        watch.cover(mark, found.looked, store.folder, walk_s)


def _store_changes(
    store: Store, changes: Changes, cut: Iterable[CutFile], encoder: Encoder, progress: ProgressCallback
) -> RefreshReport:
    """Commit files in batches, the vectors of exit 0 after each batch."""
    num_changed = num_new = num_done = 0
    warnings: dict[str, None] = {}  # in order, each once
    at_exit_0 = at_full_width(encoder, 0) if 0 in encoder.exits else None
    for start in range(0, len(changes.removed), REMOVED_A_BATCH):
        write_files(store, removed=changes.removed[start : start + REMOVED_A_BATCH], files=[])
    for batch in _batches(cut):
        warnings.update(dict.fromkeys(_misfit(file) for file in batch if file.trouble == MISFIT))
        replaced = [changes.old_ids[file.path] for file in batch if not file.same and file.path in changes.old_ids]
        ids = write_files(store, removed=replaced, files=batch)
        num_changed += len(replaced)
        num_new += len(ids)
        num_done += len(batch)
        set_meta(store, pending=str(len(changes.tasks) - num_done))
        progress(Progress("cut", num_done, len(changes.tasks)))
        if at_exit_0 is not None and len(ids):
            chunks = (chunk for file in batch if not file.same for chunk in file.chunks)
            words = [[*chunk.frame_words.split(), *chunk.text_words.split()] for chunk in chunks]
            write_vectors(store, 0, at_exit_0.identity, np.array(ids), at_exit_0.encode_words(words))
    return RefreshReport(
        num_added=changes.num_added,
        num_changed=num_changed,
        num_removed=len(changes.removed),
        num_new_chunks=num_new,
        warnings=tuple(warnings),
    )


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
