"""``CodeIndex``: one source tree, indexed and searched. The facade of `mose.search`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mose.errors import SourceError, UnwritableIndexError
from mose.progress import ProgressCallback, no_progress
from mose.runtime.encoder import DEFAULT_MODEL, Encoder
from mose.search.cascade import answer
from mose.search.chunking.chunk import embedding_text
from mose.search.connections import Connections
from mose.search.deepen import DeepenReport, deepen
from mose.search.filters import allowed_chunks
from mose.search.hits import Hits
from mose.search.loaded import LoadedIndex, View
from mose.search.opening import Opened, Opening
from mose.search.options import SearchOptions, check_budget
from mose.search.query import MAX_WORDS_CHARS, Query, checked_query, is_long, read_query, read_words
from mose.search.ranking.candidates import CascadeConfig, Request, make_request
from mose.search.ranking.line_filter import at_lines, chunks_with_lines
from mose.search.ranking.rank import RankWeights
from mose.search.refresh import RefreshReport
from mose.search.snippet import Lines, read_file, read_lines
from mose.search.store.location import is_part, source_root
from mose.search.store.records import IndexStatus
from mose.search.store.store import Store

_DEFAULTS = SearchOptions()


class CodeIndex:
    """A source tree that can be searched by meaning.

    Several threads may use it at once, and none waits while another one searches or reads code with the model. On an
    index that does not change, each gets the answers that it would get alone; while another thread or process stores
    changes of the tree, an answer may miss what is just being replaced. If another process rebuilds or removes the
    index, the next call continues with the new one.

    Attributes:
        root: The source tree.
        encoder: The model, at the exit and width of the requests that choose none.
        weights: How much each signal counts in the ranking.
        cascade: How many chunks pass from one stage of a search to the next.

    Example:
        >>> index = CodeIndex.open("path/to/tree")                    # doctest: +SKIP
        >>> [hit.path for hit in index.search("open a proxy connection", SearchOptions(limit=3))]  # doctest: +SKIP
        ['adapters.py', 'utils.py', 'sessions.py']
    """

    def __init__(self, opening: Opening, opened: Opened) -> None:
        self.root = opening.root
        self._opening = opening
        self.encoder = opening.encoder
        self.weights = RankWeights()
        self.cascade = CascadeConfig()
        self._connections = Connections(opening, opened)
        self._loaded = LoadedIndex(opening.encoder)

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
        max_file_bytes: int | None = None,
    ) -> CodeIndex:
        """The index of a source tree, made or brought up to date first.

        An index that another version of mose made with its shipped model is rebuilt. One that cannot be written, as
        on a full disk, answers as it is, and ``unwritable`` says why.

        Args:
            path: The source tree.
            model: A shipped model by name, or a runtime folder.
            exit: Exit of the requests that choose none; the deepest if None.
            width: Width of the requests that choose none; all dimensions if None.
            inside: True to keep the index in the tree's ``.mose`` folder.
            update: False to answer from the index as it is, to write nothing, and to fail if there is none.
            create: False to fail if there is no index.
            rebuild: True to rebuild the index, where it is.
            progress: Called with the progress so far.
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
            max_file_bytes=max_file_bytes,
        )
        return cls(opening, opening.open(progress))

    def close(self) -> None:
        """Close the index files; what is asked afterwards is refused."""
        self._connections.close()

    @property
    def store(self) -> Store:
        """The connection that was opened first, to look inside; only for as long as no other thread searches."""
        return self._connections.opened.store

    @property
    def last_refresh(self) -> RefreshReport | None:
        """What the last refresh did, None if there was none."""
        return self._connections.opened.report

    @property
    def unwritable(self) -> UnwritableIndexError | None:
        """Why the index is answered from as it is, None if it is not."""
        return self._connections.opened.unwritable

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about the answers, one sentence or two each."""
        opened = self._connections.opened
        if opened.unwritable is None:
            return opened.notes
        return (*opened.notes, f"{opened.unwritable.what.rstrip('.')}: this answer is from the index as it is.")

    def __enter__(self) -> CodeIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- keeping up

    def refresh(self, *, progress: ProgressCallback = no_progress) -> RefreshReport:
        """Bring the index up to date with the tree; only what has changed is read.

        While another process or thread writes the same index, nothing is done if there is something to answer from.
        """
        return self._connections.refresh(progress)

    def is_fresh(self, since: float, *, waits: bool = False) -> bool:
        """Whether a watcher is sure that the index holds the tree as it was at a moment of the monotonic clock."""
        return self._connections.read(lambda store: self._opening.is_fresh(store, since, waits=waits))

    def deepen(
        self,
        *,
        exit: int | None = None,
        budget_s: float | None = None,
        progress: ProgressCallback = no_progress,
    ) -> DeepenReport:
        """Read every chunk at an exit, the encoder's own if None. What is done stays done when interrupted."""
        if budget_s is not None:
            check_budget(budget_s)
        encoder = self.encoder.at(exit=exit)
        return self._connections.write(
            lambda store: deepen(store, encoder, encoder.exit, budget_s=budget_s, progress=progress)
        )

    def status(self) -> IndexStatus:
        """What the index holds, and how much of the tree that is."""
        return self._connections.read(lambda store: store.status())

    # ---- asking

    def search(
        self, query: str, options: SearchOptions = _DEFAULTS, *, progress: ProgressCallback = no_progress
    ) -> Hits:
        """The best chunks for a query in words, or for a name.

        Args:
            query: What to look for; of a longer one the first `MAX_QUERY_CHARS` characters.
            options: How to search.
            progress: Called as the short list is read. What it raises ends the search; vectors read so far are kept.

        Returns:
            Hits, best first.

        Raises:
            ConfigError: The query is empty, or no file passes the filters.
            ModelError: The model has no such exit or width.
        """
        query = checked_query(query)
        request = _request_for(query, options, self._encoder_for(options))
        return self._connections.read(lambda store: self._answer(self._loaded.view(store), request, progress))

    def like(
        self, path: str, line: int, options: SearchOptions = _DEFAULTS, *, progress: ProgressCallback = no_progress
    ) -> Hits:
        """Code like the code at a line of an indexed file, which itself is left out.

        Args:
            path: The file, relative to the tree.
            line: Counted from 1.
            options: How to search.
            progress: As for `search`.

        Raises:
            SourceError: The index has no such file or line.
            ConfigError: No file passes the filters.
            ModelError: The model has no such exit or width.
        """
        encoder = self._encoder_for(options)
        return self._connections.read(
            lambda store: self._like(self._loaded.view(store), path, line, options, encoder, progress)
        )

    def lines(self, path: str, line: int, last_line: int | None = None) -> Lines:
        """Lines of an indexed file, from the index alone.

        Args:
            path: The file, relative to the tree.
            line: The first line, counted from 1.
            last_line: The last line; None for all of the definition that holds ``line``.

        Raises:
            SourceError: The index has no such file or line.
        """
        found = self._connections.read(lambda store: read_lines(self._loaded.view(store), path, line, last_line))
        if found is None:
            raise self._no_line(path, line)
        return found

    def file(self, path: str, *, around: int = 1) -> Lines:
        """The lines of an indexed file, from the index alone; of a very long one, those around a line.

        Args:
            path: The file, relative to the tree.
            around: A line, counted from 1.

        Raises:
            SourceError: The index has no such file.
        """
        found = self._connections.read(lambda store: read_file(self._loaded.view(store), path, around))
        if found is None:
            raise self._no_line(path, around)
        return found

    def has_files(self, part: str) -> bool:
        """Whether the index has a file in this folder of the tree, or this file."""
        return self._connections.read(
            lambda store: any(is_part(path, part) for path in self._loaded.view(store).table.paths)
        )

    def _encoder_for(self, options: SearchOptions) -> Encoder:
        return self.encoder.at(exit=options.exit, width=options.width)

    def _no_line(self, path: str, line: int) -> SourceError:
        return SourceError(
            f"the index of {self.root} has no line {line} of {path}",
            remedy="Name the file relative to the tree, as hits do, and a line that it has.",
        )

    def _like(
        self,
        view: View,
        path: str,
        line: int,
        options: SearchOptions,
        encoder: Encoder,
        progress: ProgressCallback,
    ) -> Hits:
        row = view.table.row_at(path, line)
        chunks = [] if row is None else view.chunks(np.array([row]))
        if not chunks:
            raise self._no_line(path, line)
        chunk = chunks[0]
        words = read_words(chunk.text)
        terms = _rarest_terms(view, words)
        query = replace(words, words=(), terms=terms)
        request = make_request(query, options, encoder, embedding_text(chunk, chunk.path), "code", chunk.language)
        others = np.arange(len(view.table)) != row
        return self._answer(view, replace(request, allowed=others), progress)

    def _answer(self, view: View, request: Request, progress: ProgressCallback) -> Hits:
        options = request.options
        allowed = allowed_chunks(view.table, request.allowed, options.language, options.path, self.root, options.part)
        if options.filters_lines:
            allowed = chunks_with_lines(view, allowed, options)
        hits = answer(view, replace(request, allowed=allowed), self.weights, self.cascade, progress)
        return at_lines(hits, options) if options.filters_lines else hits


def _request_for(query: str, options: SearchOptions, encoder: Encoder) -> Request:
    if is_long(query):
        from mose.search.long.readings import readings_of

        readings = readings_of(query)
        if readings is not None:
            return replace(make_request(readings.whole, options, encoder, readings.lead, "query"), readings=readings)
    query = query[:MAX_WORDS_CHARS]
    return make_request(read_query(query), options, encoder, query, "query")


def _rarest_terms(view: View, query: Query, count: int = 24) -> tuple[str, ...]:
    """The rarest terms of a long text that occur elsewhere, too: those that say most about where it comes from."""
    counts = view.words.counts(view.store, query.terms)
    return tuple(sorted((term for term in query.terms if counts[term] > 1), key=counts.__getitem__)[:count])
