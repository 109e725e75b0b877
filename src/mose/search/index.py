"""``CodeIndex``: one source tree, indexed and searched. The facade of `mose.search`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from mose.errors import (
    CodeIndexError,
    ConfigError,
    DamagedIndexError,
    IndexReplacedError,
    SourceError,
    UnwritableIndexError,
)
from mose.progress import ProgressCallback, no_progress
from mose.runtime.encoder import DEFAULT_MODEL, Encoder
from mose.search.cascade import (
    Asked,
    CascadeConfig,
    ExitVectors,
    cosines_of,
    gather,
    short_list,
    with_deep,
    without_gaps,
)
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.deepen import DeepenReport, deepen, mend_vectors
from mose.search.filters import Names, allowed_chunks
from mose.search.hits import MAX_FOLDED, Hit, SearchStats, best_places, fold_copies, make_hits
from mose.search.opening import ATTEMPTS, Opened, Opening, made_anew
from mose.search.query import Query, checked_query, read_query
from mose.search.ranking.rank import Candidates, RankWeights, rank
from mose.search.ranking.signals import Signals, read_signals
from mose.search.refresh import RefreshReport
from mose.search.store.enclosing import is_part
from mose.search.store.location import source_root
from mose.search.store.records import ChunkTable, IndexStatus, StoredChunk
from mose.search.store.schema import damaged
from mose.search.store.store import Store

T = TypeVar("T")
Mode = Literal["fused", "lexical", "dense"]
DEFAULT_BUDGET_S = 2.0


class CodeIndex:
    """A source tree that can be searched by meaning.

    Threads may share it: searches take turns, while `refresh` and `deepen` go on beside them. If another process
    makes the index anew or removes it, the next call opens the new one.

    Example:
        >>> index = CodeIndex.open("path/to/tree")                    # doctest: +SKIP
        >>> [hit.path for hit in index.search("open a proxy connection", limit=3)]   # doctest: +SKIP
        ['adapters.py', 'utils.py', 'sessions.py']
    """

    def __init__(
        self,
        root: Path,
        store: Store,
        encoder: Encoder,
        *,
        weights: RankWeights | None = None,
        cascade: CascadeConfig | None = None,
        opening: Opening | None = None,
    ) -> None:
        self.root = root
        self.store = store
        self.encoder = encoder
        self.weights = weights or RankWeights()
        self.cascade = cascade or CascadeConfig()
        self.last_refresh: RefreshReport | None = None
        self.last_search: SearchStats | None = None
        self.unwritable: UnwritableIndexError | None = None
        """Why the index is answered from as it is, None if it is not."""
        self._notes: tuple[str, ...] = ()
        self._opening = opening or Opening(root=root, encoder=encoder, update=not store.read_only)
        self._turn = RLock()
        self._mended = False
        self._closed = False
        self._table: ChunkTable | None = None
        self._vectors: dict[int, ExitVectors] = {}

    @classmethod
    def open(
        cls,
        path: str | Path = ".",
        *,
        model: str | Path = DEFAULT_MODEL,
        exit: int | None = None,
        width: int | None = None,
        inside: bool | None = None,
        update: bool = True,
        create: bool = True,
        rebuild: bool = False,
        progress: ProgressCallback = no_progress,
        chunker: ChunkerConfig | None = None,
        max_file_bytes: int | None = None,
    ) -> CodeIndex:
        """The index of a source tree, made or brought up to date first.

        An index that another version of mose made with its shipped model is made anew. One that cannot be written, as
        on a full disk, answers as it is, and ``unwritable`` says why.

        Args:
            path: The source tree.
            model: A shipped model by name, or a runtime folder.
            exit: Exit that the short list is read at; the deepest if None.
            width: Leading dimensions of the vectors to compare; all if None.
            inside: True to keep the index in the tree's ``.mose`` folder.
            update: False to answer from the index as it is, to write nothing, and to fail if there is none.
            create: False to fail if there is no index.
            rebuild: True to make the index anew, where it lies.
            progress: Called with the progress so far.
            chunker: How to cut; needed only to make an index that differs from the default.
            max_file_bytes: Read files up to this size, from now on; as the index was last told if None.

        Raises:
            SourceError: ``path`` is not a folder.
            ModelError: The model is missing, or has no such exit or width.
            CodeIndexError: The index is damaged, foreign, of another model, or cannot be written.
        """
        root = source_root(path)
        encoder = Encoder.load(model, exit=exit, width=width)
        opening = Opening(
            root=root,
            encoder=encoder,
            inside=inside,
            update=update,
            create=create,
            rebuild=rebuild,
            model_name="" if model == DEFAULT_MODEL else str(model),
            chunker=chunker,
            max_file_bytes=max_file_bytes,
        )
        opened = opening.open(progress)
        index = cls(root, opened.store, encoder, opening=opening.again())
        index._keep(opened)
        return index

    def close(self) -> None:
        """Closes the index files; what is asked afterwards is refused."""
        with self._turn:
            self._closed = True
            self.store.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about the answers, one sentence or two each."""
        if self.unwritable is None:
            return self._notes
        return (*self._notes, f"{self.unwritable.what.rstrip('.')}: this answer is from the index as it is.")

    def __enter__(self) -> CodeIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- keeping up

    def refresh(self, *, progress: ProgressCallback = no_progress) -> RefreshReport:
        """Brings the index up to date with the tree; only what has changed is read.

        While another process writes the same index, nothing is done if there is something to answer from.
        """
        self.last_refresh = report = self._beside(lambda store: self._opening.refresh(store, progress))
        return report

    def deepen(
        self,
        *,
        exit: int | None = None,
        budget_s: float | None = None,
        progress: ProgressCallback = no_progress,
    ) -> DeepenReport:
        """Brings every chunk to an exit, the encoder's own if None. What is done stays done when interrupted."""
        _check_budget(budget_s)
        encoder = self.encoder.at(exit=exit)
        return self._beside(lambda store: deepen(store, encoder, encoder.exit, budget_s=budget_s, progress=progress))

    def status(self) -> IndexStatus:
        """What the index holds, and how much of the tree that is."""
        return self._answer(lambda: self.store.status())

    # ---- asking

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        mode: Mode = "fused",
        language: Names = None,
        path: Names = None,
        part: str = "",
        budget_s: float = DEFAULT_BUDGET_S,
        per_file: bool = True,
    ) -> list[Hit]:
        """The best places for a query in words, or for a name.

        Args:
            query: What to look for; of a longer one the first `MAX_QUERY_CHARS` characters.
            limit: At most this many hits.
            mode: "fused", or words ("lexical") or vectors ("dense") alone.
            language: Only files of this language, or of one of these.
            path: Only files that match this pattern, or one of these (as in ``.gitignore``: ``src/``, ``*.py``);
                a pattern that begins with "!" excludes.
            part: Only this folder or file of the tree; ``path`` is relative to the folder then.
            budget_s: Seconds for computing deep vectors of the short list; 0 for none.
            per_file: Each file once, with its best place; False for every chunk.

        Returns:
            Hits, best first.

        Raises:
            ConfigError: The query is empty, or an argument lies outside its range.
        """
        query = checked_query(query)
        asked = Asked(
            query=read_query(query),
            shallow=self._encode(query, 0) if mode != "lexical" and 0 in self.encoder.exits else None,
            deep=self._encode(query, self.encoder.exit) if mode != "lexical" and self.encoder.exit else None,
            lexical=mode != "dense",
        )
        return self._answer(lambda: self._search(asked, limit, language, path, part, budget_s, per_file, mode))

    def like(
        self,
        path: str,
        line: int,
        *,
        limit: int = 10,
        language: Names = None,
        path_pattern: Names = None,
        part: str = "",
        budget_s: float = DEFAULT_BUDGET_S,
        per_file: bool = True,
    ) -> list[Hit]:
        """Code like the code at a line of an indexed file; that place itself is left out.

        Args:
            path: The file, relative to the tree.
            line: Counted from 1.
            limit: As for `search`.
            language: As for `search`.
            path_pattern: As ``path`` of `search`.
            part: As for `search`.
            budget_s: As for `search`.
            per_file: As for `search`.

        Raises:
            SourceError: The index has no such place.
        """
        return self._answer(lambda: self._like(path, line, limit, language, path_pattern, part, budget_s, per_file))

    def has_files(self, part: str) -> bool:
        """Whether the index has a file in this folder of the tree, or this file."""
        return self._answer(lambda: any(is_part(path, part) for path in self._fresh_table().paths))

    # ---- inside

    def _answer(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives for the index that the tree has: asked again if another process exchanged it meanwhile."""
        with self._turn:
            self._need_open()
            for _ in range(ATTEMPTS):
                if not self.store.is_current():
                    self._open_again()
                try:
                    answer = ask()
                except UnwritableIndexError as error:
                    if self.store.read_only:
                        raise
                    self.store.read_only = True
                    self.unwritable = error
                    continue
                except DamagedIndexError as error:
                    self._make_anew(error)
                    continue
                except CodeIndexError:
                    if self.store.is_current():
                        raise
                    continue
                if self.store.is_current():
                    return answer
            raise IndexReplacedError(
                f"the index of {self.root} is removed or made anew all the time by another process",
                remedy="Search again when that process has ended.",
            )

    def _need_open(self) -> None:
        if self._closed:
            raise CodeIndexError(
                f"the index of {self.root} is closed here",
                remedy="Ask inside the `with` block, or open it again: mose.CodeIndex.open(path).",
            )

    def _make_anew(self, error: DamagedIndexError) -> None:
        """Makes a damaged index anew, once for one `CodeIndex`: what is damaged again has a cause that stays."""
        with self._turn:
            if self._mended or not self._opening.update or self.store.read_only:
                raise error
            self._mended = True
            self._opening.discard(self.store.folder)
            self._open_again()
            self._notes = (made_anew(error), *self._notes)

    def _open_again(self) -> None:
        opened = self._opening.open()
        self.store.close()
        self._keep(opened)
        self._table = None
        self._vectors.clear()

    def _keep(self, opened: Opened) -> None:
        self.store, self.last_refresh = opened.store, opened.report
        self.unwritable, self._notes = opened.unwritable, opened.notes

    def _beside(self, work: Callable[[Store], T]) -> T:
        """What ``work`` gives with a connection of its own, so that searches of other threads go on meanwhile."""
        self._need_open()
        if not self._opening.update:
            raise UnwritableIndexError("this index was opened to be left as it is", remedy="Open it with update=True.")
        for attempt in range(ATTEMPTS):
            try:
                with closing(Store.open(self.store.folder, create=False)) as store:
                    return work(store)
            except IndexReplacedError:
                if attempt == ATTEMPTS - 1:
                    raise
            except DamagedIndexError as error:
                self._make_anew(error)
        raise AssertionError

    def _like(
        self,
        path: str,
        line: int,
        limit: int,
        language: Names,
        path_pattern: Names,
        part: str,
        budget_s: float,
        per_file: bool,
    ) -> list[Hit]:
        table = self._fresh_table()
        row = table.row_at(path, line) if 0 < line < 2**31 else None
        chunks = [] if row is None else self._chunks(table, np.array([row]))
        if not chunks:
            raise SourceError(
                f"the index of {self.root} has no line {line} of {path}",
                remedy="Name the file relative to the tree, as hits do, and a line that it has.",
            )
        chunk = chunks[0]
        allowed = np.ones(len(table), dtype=np.bool_)
        allowed[row] = False
        words = read_query(chunk.text)
        asked = Asked(
            query=replace(
                words, words=(), names=(), terms=self._telling(words), is_name=False, is_symbol=False, path=""
            ),
            shallow=self._encode_chunk(chunk, 0) if 0 in self.encoder.exits else None,
            deep=self._encode_chunk(chunk, self.encoder.exit) if self.encoder.exit else None,
            allowed=allowed,
        )
        return self._search(asked, limit, language, path_pattern, part, budget_s, per_file, "fused")

    def _search(
        self,
        asked: Asked,
        limit: int,
        language: Names,
        pattern: Names,
        part: str,
        budget_s: float,
        per_file: bool,
        mode: Mode,
    ) -> list[Hit]:
        if not isinstance(limit, int) or limit < 1:
            raise ConfigError("limit", got=limit, allowed="a whole number, 1 or more")
        _check_budget(budget_s)
        if mode not in get_args(Mode):
            raise ConfigError("mode", got=mode, allowed=", ".join(get_args(Mode)))
        started = time.perf_counter()
        table = self._fresh_table()
        asked = replace(asked, allowed=allowed_chunks(table, asked.allowed, language, pattern, self.root, part))
        weights = {
            "fused": self.weights,
            "lexical": replace(self.weights, dense=0.0, dense_symbol=0.0, dense_shallow=0.0),
            "dense": replace(self.weights, dense=1.0, dense_symbol=1.0, dense_shallow=1.0),
        }[mode]
        exit_layer = self.encoder.exit if asked.deep is not None else None
        shallow = self._vectors_at(0, table) if asked.shallow is not None else None
        deep = self._vectors_at(exit_layer, table) if exit_layer else None
        by_vectors_alone = mode == "dense" and deep is not None and deep.num_known == len(table)
        candidates = gather(self.store, table, asked, shallow, deep if by_vectors_alone else None, self.cascade)
        signals = read_signals(asked.query, table, candidates.rows) if weights.signals else None
        num_encoded, short = 0, np.arange(len(candidates.rows) if by_vectors_alone else 0)
        if exit_layer and asked.deep is not None and deep is not None and len(candidates.rows) and not by_vectors_alone:
            candidates, num_encoded, short = self._read_short_list(
                asked, table, candidates, deep, exit_layer, budget_s, weights, signals
            )
        ranking = rank(asked.query, table, candidates, weights, signals)
        best = best_places(table, candidates, ranking, limit=limit + MAX_FOLDED, per_file=per_file)
        places = fold_copies(table, candidates, best, limit)
        chunks = self._chunks(table, candidates.rows[list(places)])
        hits = make_hits(asked.query, chunks, table, candidates, ranking, places, exit_layer)
        self.last_search = SearchStats(
            num_chunks=len(table),
            num_candidates=len(candidates.rows),
            num_deep=int(np.isfinite(candidates.deep[short]).sum()),
            num_encoded=num_encoded,
            num_short=len(short),
            num_read=(deep.num_known if deep is not None else 0) + num_encoded,
            exit=exit_layer,
            seconds=time.perf_counter() - started,
            has_words=bool(candidates.lexical.any()),
        )
        return hits

    def _read_short_list(
        self,
        asked: Asked,
        table: ChunkTable,
        candidates: Candidates,
        deep: ExitVectors,
        exit_layer: int,
        budget_s: float,
        weights: RankWeights,
        signals: Signals | None,
    ) -> tuple[Candidates, int, NDArray[np.int64]]:
        """Fills in deep cosines of the short list, best first; gives how many were encoded and which are in it."""
        assert asked.deep is not None
        places = short_list(asked, table, candidates, self.cascade, weights, signals)
        candidates = with_deep(candidates, places, deep.cosines_at(asked.deep, candidates.rows[places]))
        missing = places[~np.isfinite(candidates.deep[places])]
        if len(missing) and budget_s > 0:
            ids = table.ids[candidates.rows[missing]].tolist()
            report = deepen(
                self.store,
                self.encoder.at(exit=exit_layer),
                exit_layer,
                ids=ids,
                budget_s=budget_s,
                wait=False,
            )
            cosines = np.full(len(missing), np.nan, dtype=np.float32)
            if report.vectors:
                found = [place for place, chunk_id in enumerate(ids) if chunk_id in report.vectors]
                vectors = np.stack([report.vectors[ids[place]] for place in found])
                cosines[found] = cosines_of(vectors, asked.deep)
            candidates = with_deep(candidates, missing, cosines)
            return without_gaps(candidates, places), report.num_encoded, places
        return without_gaps(candidates, places), 0, places

    def _chunks(self, table: ChunkTable, rows: NDArray[np.int64]) -> list[StoredChunk]:
        """The chunks of rows of a table; those that a writer has just removed are left out."""
        chunks = self.store.chunks(table.ids[rows].tolist())
        if len(chunks) < len(rows) and self.store.generation == table.generation:
            raise damaged(self.store.path, "chunks have lost their text")
        return chunks

    def _fresh_table(self) -> ChunkTable:
        generation = self.store.generation
        if self._table is None or self._table.generation != generation:
            self._table = self.store.chunk_table()
            self._vectors.clear()
        return self._table

    def _vectors_at(self, exit_layer: int, table: ChunkTable) -> ExitVectors:
        known = self._vectors.get(exit_layer)
        if known is None or known.state != self.store.vector_state(exit_layer):
            known = ExitVectors(self.store, table, exit_layer)
            lacking = exit_layer == 0 and known.num_known < len(table) and self.store.complete
            if (lacking or known.num_damaged) and not self.store.read_only:
                mend_vectors(self.store, self.encoder, wait=False)
                known = ExitVectors(self.store, table, exit_layer)
            self._vectors[exit_layer] = known
        return known

    def _encode(self, text: str, exit_layer: int) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.encoder.at(exit=exit_layer).encode([text], kind="query")[0]
        return vector

    def _encode_chunk(self, chunk: StoredChunk, exit_layer: int) -> NDArray[np.float32]:
        encoder = self.encoder.at(exit=exit_layer)
        vector: NDArray[np.float32] = encoder.encode([chunk.text], kind="code", language=chunk.language)[0]
        return vector

    def _telling(self, words: Query, count: int = 24) -> tuple[str, ...]:
        """The rarest words of a long text: those that tell where it comes from."""
        counts = self.store.document_frequencies(words.terms)
        return tuple(sorted((term for term in words.terms if counts[term] > 1), key=counts.__getitem__)[:count])


def _check_budget(budget_s: float | None) -> None:
    if budget_s is not None and not (isinstance(budget_s, int | float) and budget_s >= 0):
        raise ConfigError("budget_s", got=budget_s, allowed="seconds, 0 or more")
