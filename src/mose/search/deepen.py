"""Giving chunks the vectors of an exit: known ones first, then those of the encoder, window by window.

The write lock is held for the moment of writing only, so that a search can refresh the index while it is
being deepened. Whatever was computed goes to the shared vectors first: even if the index cannot be written
now, nothing is computed twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mose.progress import Progress, ProgressCallback, no_progress
from mose.runtime.encoder import Encoder
from mose.search.chunking.chunk import embedding_text
from mose.search.lifecycle import check_model
from mose.search.store.exit_vectors import is_member
from mose.search.store.location import SHARED_NAME
from mose.search.store.records import StoredChunk
from mose.search.store.shared_vectors import SharedVectors, as_kept
from mose.search.store.store import Store
from mose.search.store.write_vectors import damaged_rows, missing_vectors, repair_vectors, write_vectors
from mose.storage import home

FIRST_WINDOW = 16
LARGEST_WINDOW = 512
WINDOW_SECONDS = 1.0
LOOKUP_WINDOW = 2_000
TABLE_WINDOW = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepenReport:
    """What a deepening did."""

    num_wanted: int  # chunks that had no vector at the exit
    num_reused: int = 0  # found among the shared vectors
    num_encoded: int = 0
    num_left: int = 0  # still without, the budget being spent
    stored: bool = True  # False if another process was writing (kept among the shared vectors only) or nobody may
    seconds: float = 0.0
    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)  # by id, if ids were given


def deepen(
    store: Store,
    encoder: Encoder,
    exit_layer: int,
    *,
    ids: Sequence[int] | NDArray[np.int64] | None = None,
    budget_s: float | None = None,
    progress: ProgressCallback = no_progress,
    wait: bool = True,
) -> DeepenReport:
    """Give chunks their vectors at an exit; those that have one already cost nothing.

    On Ctrl-C everything committed so far stays.

    Args:
        store: An index; if it was opened to read, the vectors are returned and not stored.
        encoder: The model that the index was made with.
        exit_layer: One of its exits.
        ids: Chunks to do, most wanted first; all chunks if None, short ones first.
        budget_s: Stop before this many seconds have passed, as well as can be foreseen.
        progress: Called after each window.
        wait: Wait for another process that writes, instead of leaving vectors unstored.

    Raises:
        CodeIndexError: The index was made by another model, or cannot be written.
    """
    started = time.perf_counter()
    check_model(store, encoder)
    if ids is None and need_mending(store, encoder):
        mend_vectors(store, encoder, wait=wait)
    work = _Work(store, encoder, exit_layer, wait=wait, keep=ids is not None)
    missing = missing_vectors(store, exit_layer)
    if ids is not None:
        given = np.array(list(dict.fromkeys(int(chunk_id) for chunk_id in ids)), dtype=np.int64)
        missing = given[is_member(given, missing)]
    if not len(missing):
        return DeepenReport(num_wanted=0, seconds=time.perf_counter() - started)
    deadline = None if budget_s is None or math.isinf(budget_s) else started + budget_s
    with _shared_vectors(store, encoder) as shared:
        left = missing if shared is None else _reuse(work, shared, missing)
        for window in _windows(work, _in_order(store, left, by_length=ids is None), deadline):
            _encode_window(work, shared, window)
            progress(Progress(f"exit {exit_layer}", work.num_reused + work.num_encoded, len(missing)))
    return DeepenReport(
        num_wanted=len(missing),
        num_reused=work.num_reused,
        num_encoded=work.num_encoded,
        num_left=len(missing) - work.num_reused - work.num_encoded,
        stored=work.stored,
        seconds=time.perf_counter() - started,
        vectors=work.vectors,
    )


@contextmanager
def _shared_vectors(store: Store, encoder: Encoder) -> Iterator[SharedVectors | None]:
    """The shared vectors; None for an index opened to read, for which nothing at all is written."""
    if store.read_only:
        yield None
        return
    with closing(SharedVectors(home() / SHARED_NAME, model=encoder.identity)) as shared:
        yield shared


def at_full_width(encoder: Encoder, exit_layer: int) -> Encoder:
    """The encoder at an exit, with every dimension: an index serves all widths."""
    return encoder.at(exit=exit_layer, width=encoder.manifest.widths[exit_layer])


def fill_exit_0(store: Store, encoder: Encoder) -> None:
    """Give exit 0 to chunks that lack it, as after a crash."""
    missing = missing_vectors(store, 0)
    table = at_full_width(encoder, 0)
    for start in range(0, len(missing), TABLE_WINDOW):
        ids = missing[start : start + TABLE_WINDOW]
        chunks = store.chunks(ids)
        vectors = table.encode([embedding_text(chunk, chunk.path) for chunk in chunks], kind="code")
        write_vectors(store, 0, encoder.identity, np.array([chunk.id for chunk in chunks]), vectors)


def need_mending(store: Store, encoder: Encoder) -> bool:
    """Whether vectors are damaged, or those of exit 0, which every chunk has, are not all there."""
    lacks_exit_0 = 0 in encoder.exits and store.complete and len(missing_vectors(store, 0)) > 0
    return lacks_exit_0 or bool(damaged_rows(store))


def mend_vectors(store: Store, encoder: Encoder, *, wait: bool) -> None:
    """Drop damaged vectors and make those of exit 0 again; deeper ones are made when they are asked for.

    Nothing is done while another process is writing, unless it is waited for.
    """
    with store.writing(wait=wait) as mine:
        if mine:
            repair_vectors(store)
            if 0 in encoder.exits:
                fill_exit_0(store, encoder)


class _Work:
    """One deepening: what it needs, and what it has done so far."""

    def __init__(self, store: Store, encoder: Encoder, exit_layer: int, *, wait: bool, keep: bool) -> None:
        self.store = store
        self.encoder = at_full_width(encoder, exit_layer)
        self.exit_layer = exit_layer
        self.width = encoder.manifest.widths[exit_layer]
        self.wait = wait
        self.keep = keep
        self.num_reused = self.num_encoded = 0
        self.rate: float | None = None  # chunks a second, of the last window: longer ones take longer
        self.stored = True
        self.vectors: dict[int, NDArray[np.float32]] = {}
        self.state: object = self._state()

    def write(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Store vectors of chunks that still lack them."""
        if self.keep:
            self.vectors.update(zip(ids.tolist(), vectors, strict=True))
        if self.store.read_only:
            self.stored = False
            return
        with self.store.writing(wait=self.wait) as mine:
            if not mine:
                self.stored = False
                return
            if self.state != self._state():
                self.state = None  # another process has written: what was missing once is perhaps not any more
                wanted = is_member(ids, missing_vectors(self.store, self.exit_layer))
                ids, vectors = ids[wanted], vectors[wanted]
            write_vectors(self.store, self.exit_layer, self.encoder.identity, ids, vectors)
            if self.state is not None:
                self.state = self._state()

    def _state(self) -> tuple[object, int]:
        return self.store.vector_state(self.exit_layer), self.store.generation


def _reuse(work: _Work, shared: SharedVectors, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Store the vectors that are known already; return the ids that are left."""
    left: list[int] = []
    for start in range(0, len(ids), LOOKUP_WINDOW):
        window = ids[start : start + LOOKUP_WINDOW].tolist()
        keys = work.store.keys(window)
        found = shared.find(work.exit_layer, work.width, keys.values())
        known = [chunk_id for chunk_id in window if keys.get(chunk_id) in found]
        left.extend(chunk_id for chunk_id in window if chunk_id in keys and keys[chunk_id] not in found)
        if known:
            work.write(np.array(known), np.stack([found[keys[chunk_id]] for chunk_id in known]))
            work.num_reused += len(known)
    return np.array(left, dtype=np.int64)


def _in_order(store: Store, ids: NDArray[np.int64], *, by_length: bool) -> list[int]:
    if not by_length:
        return [int(chunk_id) for chunk_id in ids]
    lengths = dict(store.rows("SELECT id, length(text) FROM texts"))
    return sorted((int(chunk_id) for chunk_id in ids), key=lambda chunk_id: (lengths.get(chunk_id, 0), chunk_id))


def _windows(work: _Work, ids: list[int], deadline: float | None) -> Iterator[list[int]]:
    """Slices of about a second's work, the last one as large as the time left allows."""
    start, size = 0, FIRST_WINDOW
    while start < len(ids):
        now = time.perf_counter()
        rate = work.rate
        if rate is not None:
            size = min(LARGEST_WINDOW, max(FIRST_WINDOW, int(rate * WINDOW_SECONDS)))
        if deadline is not None:
            if now >= deadline:
                return
            if rate is not None:
                size = min(size, int(rate * (deadline - now)))
            if size < 1:
                return
        yield ids[start : start + size]
        start += size


def _encode_window(work: _Work, shared: SharedVectors | None, window: list[int]) -> None:
    chunks = work.store.chunks(window)
    by_key: dict[bytes, StoredChunk] = {}
    for chunk in chunks:
        by_key.setdefault(chunk.key, chunk)
    started = time.perf_counter()
    fresh = work.encoder.encode(
        [embedding_text(chunk, chunk.path) for chunk in by_key.values()],
        kind="code",
        language=[chunk.language for chunk in by_key.values()],
    )
    seconds = time.perf_counter() - started
    work.num_encoded += len(window)
    work.rate = len(window) / max(seconds, 1e-6)
    if not chunks:
        return
    vectors = as_kept(fresh)
    if shared is not None:
        shared.add(work.exit_layer, list(by_key), vectors)
    row_of = {key: row for row, key in enumerate(by_key)}
    ids = np.array([chunk.id for chunk in chunks], dtype=np.int64)
    work.write(ids, vectors[[row_of[chunk.key] for chunk in chunks]])
