"""The parts of an index that searches keep in memory: the chunk table, words, and the vectors of each exit.

Shapes: N chunks, K chosen chunks, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock, RLock

import numpy as np
from numpy.typing import NDArray

from mose.runtime.encoder import Encoder
from mose.search.deepen import mend_vectors
from mose.search.ranking.word_scores import WordScores
from mose.search.store.exit_vectors import read_exit
from mose.search.store.records import ChunkTable, StoredChunk
from mose.search.store.schema import damaged
from mose.search.store.store import Store

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

MAX_UNSTORED = 10_000
"""Vectors of one exit that are kept in memory for an index that is only read; about 15 MB."""


class LoadedIndex:
    """Reads the chunk table, words and vectors once for all threads, and again when they have changed."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._lock = RLock()
        self._state: tuple[object, int] | None = None
        self._table: ChunkTable | None = None
        self._words: WordScores | None = None
        self._vectors: dict[int, ExitVectors] = {}

    def view(self, store: Store) -> View:
        """The index as it is now."""
        with self._lock:
            if self._table is None or self._words is None or self._state != (store.folder, store.generation):
                self._table = store.chunk_table()
                self._state = (store.folder, self._table.generation)
                self._words = WordScores(self._table)
                self._vectors.clear()
            return View(store=store, table=self._table, words=self._words, loaded=self)

    def vectors(self, store: Store, table: ChunkTable, exit_layer: int) -> ExitVectors:
        """The vectors of an exit, lined up with a chunk table; damaged ones are made again first, if possible."""
        with self._lock:
            known = self._vectors.get(exit_layer)
            if known is None or known.table is not table or known.state != store.vector_state(exit_layer):
                unstored = known.unstored if known is not None and known.table is table else {}
                known = ExitVectors(store, table, exit_layer)
                lacking = exit_layer == 0 and known.num_known < len(table) and store.complete
                if (lacking or known.num_damaged) and not store.read_only:
                    mend_vectors(store, self._encoder, wait=False)
                    known = ExitVectors(store, table, exit_layer)
                known.keep({row: vector for row, vector in unstored.copy().items() if known.row_at[row] < 0})
                self._vectors[exit_layer] = known
            return known


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An index as one search sees it."""

    store: Store
    """A connection that this search alone uses."""
    table: ChunkTable
    words: WordScores
    loaded: LoadedIndex

    def vectors(self, exit_layer: int) -> ExitVectors:
        """The vectors of an exit, as they are now."""
        return self.loaded.vectors(self.store, self.table, exit_layer)

    def chunks(self, rows: Rows) -> list[StoredChunk]:
        """The chunks of rows of the table; those that a writer has just removed are left out."""
        chunks = self.store.chunks(self.table.ids[rows].tolist())
        if len(chunks) < len(rows) and self.store.generation == self.table.generation:
            raise damaged(self.store.path, "chunks have lost their text")
        return chunks


class ExitVectors:
    """Vectors of one exit, lined up with the chunk table: those of the index, and some that it cannot take in.

    Attributes:
        unstored: Row of the table -> vector, of an index that is only read: computed for a search, kept for the next.
    """

    def __init__(self, store: Store, table: ChunkTable, exit_layer: int) -> None:
        self.table = table
        self.state = store.vector_state(exit_layer)
        found = read_exit(store, exit_layer)
        self.matrix = found.matrix
        self.num_damaged = found.num_damaged
        chunks = table.rows_of(found.ids)
        known = chunks >= 0
        self.chunks: Rows = chunks[known]
        self.rows: Rows = found.rows[known]
        self.row_at = np.full(len(table), -1, dtype=np.int64)  # row in the matrix of each chunk, -1 where there is none
        self.row_at[self.chunks] = self.rows
        self.unstored: dict[int, Floats] = {}
        self._lock = Lock()
        self._norms: dict[int, Floats] = {}

    @property
    def num_known(self) -> int:
        """Chunks that have a vector in the index."""
        return len(self.chunks)

    def keep(self, vectors: Mapping[int, Floats]) -> None:
        """Keep vectors of chunks, by row of the table, in memory; of too many those that came first are dropped."""
        with self._lock:
            self.unstored.update(vectors)
            for row in list(self.unstored)[:-MAX_UNSTORED]:
                del self.unstored[row]

    def cosines(self, query: Floats) -> Floats:
        """Cosine of every chunk [N] with a unit query; nan where no vector is known."""
        width = len(query)
        out = np.full(len(self.table), np.nan, dtype=np.float32)
        if not len(self.rows):
            return out
        # Not a product of matrices: its threads spin until the next one, ten times as long as they work.
        values = np.einsum("kw,w->k", self.matrix[:, :width], query)
        out[self.chunks] = self._unit(values[self.rows], self.rows, width)
        return out

    def cosines_at(self, query: Floats, chosen: Rows) -> Floats:
        """Cosines of some chunks with a unit query; nan where no vector is known."""
        rows = self.row_at[chosen]
        known = rows >= 0
        out = np.full(len(chosen), np.nan, dtype=np.float32)
        if known.any():
            out[known] = cosines_of(self.matrix[rows[known]], query)
        for position in np.flatnonzero(~known).tolist() if self.unstored else ():
            vector = self.unstored.get(int(chosen[position]))
            if vector is not None:
                out[position] = cosines_of(vector[np.newaxis], query)[0]
        return out

    def _unit(self, values: Floats, rows: Rows, width: int) -> Floats:
        if width == self.matrix.shape[1]:
            return values
        if width not in self._norms:
            self._norms[width] = np.linalg.norm(self.matrix[:, :width], axis=1).astype(np.float32)
        return np.asarray(values / np.maximum(self._norms[width][rows], 1e-9), dtype=np.float32)


def cosines_of(vectors: Floats, query: Floats) -> Floats:
    """Cosine of each vector [K, W or more] with a unit query [W]; the same whatever stands beside it [K]."""
    leading = vectors[:, : len(query)]
    dots = np.einsum("kw,w->k", leading, query)  # a product of matrices would round by their shape
    return np.asarray(dots / np.maximum(np.sqrt(np.einsum("kw,kw->k", leading, leading)), 1e-9), dtype=np.float32)
