"""The chunks that may answer a search: those that words, exit 0, a definition or the name of their file speak for.

Shapes: N chunks, C candidates, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.runtime.encoder import Encoder
from mose.search.loaded import ExitVectors, View
from mose.search.options import SearchOptions
from mose.search.query import Query
from mose.search.ranking.matching import stem
from mose.search.ranking.rank import Candidates, to_one
from mose.search.ranking.signals import Evidence
from mose.search.store.store import Store
from mose.tokenizer import Kind

if TYPE_CHECKING:
    from mose.search.long.readings import Readings

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeConfig:
    """How many chunks pass from one stage to the next."""

    num_lexical: int = 300
    """Best chunks by words that become candidates."""
    num_dense: int = 200
    """Best chunks by vectors that become candidates, of each exit that is read."""
    num_definitions: int = 50
    """Chunks that define a name of the query that become candidates."""
    num_asked: int = 200
    """Chunks of the file that the query names that become candidates."""
    num_deep: int = 48
    """Candidates that are scored at the exit asked for: the short list."""
    max_postings: int = 20_000
    """Words so common that together they stand in more chunks are left to the ranking, rarest kept first."""
    column_weights: tuple[float, float, float] = (1.0, 2.0, 2.0)
    """BM25 weights of body, symbol and path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One search: what for, how, and among which chunks."""

    query: Query
    options: SearchOptions
    encoder: Encoder
    """At the exit and width that were asked for."""
    shallow: Floats | None
    """Query vector at exit 0 [W]; None to leave exit 0 out."""
    deep: Floats | None
    """Query vector at the exit asked for [W]; None for words and exit 0 alone."""
    allowed: NDArray[np.bool_] | None = None
    """Which rows of the chunk table may be answers [N]; None for all."""
    readings: Readings | None = None
    """How a long question is read; None for any other."""


def make_request(
    query: Query, options: SearchOptions, encoder: Encoder, text: str, kind: Kind, language: str | None = None
) -> Request:
    """A search for a query with the vectors of a text, encoded as ``kind`` says."""

    def encode(exit_layer: int) -> Floats:
        vector: Floats = encoder.at(exit=exit_layer).encode([text], kind=kind, language=language)[0]
        return vector

    by_vectors = options.mode != "lexical"
    return Request(
        query=query,
        options=options,
        encoder=encoder,
        shallow=encode(0) if by_vectors and 0 in encoder.exits else None,
        deep=encode(encoder.exit) if by_vectors and encoder.exit else None,
    )


def gather(
    view: View,
    request: Request,
    evidence: Evidence,
    shallow: ExitVectors | None,
    deep: ExitVectors | None,
    config: CascadeConfig,
) -> Candidates:
    """The candidates of a search.

    Args:
        view: The index.
        request: The search.
        evidence: Chunks that the query points at.
        shallow: Vectors of exit 0, if there are any.
        deep: Vectors of the exit asked for, to score every chunk by them; None to score none.
        config: How many of each.
    """
    store, uses_words = view.store, request.options.mode != "dense"
    found: list[Rows] = []
    queries = (request.query,) if request.readings is None else request.readings.queries
    max_postings = config.max_postings if len(queries) == 1 else config.max_postings // 4  # a long one has many words
    terms_of = [_affordable(view, query.terms, max_postings) if uses_words else () for query in queries]
    lexical = [view.words.sums(store, terms, config.column_weights) for terms in terms_of]
    for scores in lexical:
        found.append(best_by_words(scores, config.num_lexical // len(queries), request.allowed))
    found.append(_pointed_at(evidence, request, config))
    if uses_words and not any(terms_of) and request.query.is_name and not _begins_a_word(store, request.query):
        shallow = deep = None  # a name that nothing is called: the nearest vectors are no answer
    shallow_cosines = deep_cosines = None
    if request.shallow is not None and shallow is not None and deep is None:
        shallow_cosines = shallow.cosines(request.shallow)
        found.append(_best(shallow_cosines, config.num_dense, request.allowed))
    if request.deep is not None and deep is not None:
        deep_cosines = deep.cosines(request.deep)
        found.append(_best(deep_cosines, config.num_dense, request.allowed))
    # Not np.unique: it imports numpy.ma, a tenth of the whole start-up.
    rows = np.array(sorted({row for rows in found for row in rows.tolist()}), dtype=np.int64)
    if request.allowed is not None:
        rows = rows[request.allowed[rows]]
    words = [scores[rows].astype(np.float32) for scores in lexical]
    unknown = np.full(len(rows), np.nan, dtype=np.float32)
    return Candidates(
        rows=rows,
        lexical=words[0] if len(words) == 1 else np.mean([to_one(own) for own in words], axis=0),
        shallow=unknown if shallow_cosines is None else shallow_cosines[rows],
        deep=unknown if deep_cosines is None else deep_cosines[rows],
    )


def best_by_words(scores: NDArray[np.float64], count: int, allowed: NDArray[np.bool_] | None) -> Rows:
    """Rows of the chunks with the best scores above 0, best first; of equals the first.

    Args:
        scores: Of all chunks [N].
        count: At most this many.
        allowed: Which rows may be answers [N]; None for all.
    """
    rows = np.flatnonzero(scores if allowed is None else scores * allowed)
    if len(rows) > count:
        rows = rows[scores[rows] >= np.partition(scores[rows], -count)[-count]]  # with all that tie for the last rank
    return rows[np.argsort(-scores[rows], kind="stable")[:count]]


def _pointed_at(evidence: Evidence, request: Request, config: CascadeConfig) -> Rows:
    found: list[int] = []
    for strengths, count in ((evidence.defined, config.num_definitions), (evidence.pointed, config.num_asked)):
        allowed = [row for row in strengths if request.allowed is None or request.allowed[row]]
        found += sorted(allowed, key=lambda row: (-strengths[row], row))[:count]
    return np.array(found, dtype=np.int64)


def _affordable(view: View, terms: tuple[str, ...], max_postings: int) -> tuple[str, ...]:
    """The rarest words whose occurrences together stay below a bound; at least one that occurs."""
    counts = view.words.counts(view.store, terms)
    chosen: list[str] = []
    total = 0
    for term in sorted((term for term in terms if counts[term] > 0), key=lambda term: counts[term]):
        if chosen and total + counts[term] > max_postings:
            break
        chosen.append(term)
        total += counts[term]
    return tuple(chosen)


def _begins_a_word(store: Store, query: Query) -> bool:
    """Whether the tree has a longer form of one of the words: "router" where there is "routing"."""
    return any(store.has_beginning(stem(word)) for word in query.words)


def _best(cosines: Floats, count: int, allowed: NDArray[np.bool_] | None) -> Rows:
    values = np.where(np.isfinite(cosines), cosines, -np.inf)
    if allowed is not None:
        values = np.where(allowed, values, -np.inf)
    rows = np.argpartition(-values, count)[:count] if len(values) > count else np.arange(len(values))
    return rows[np.isfinite(values[rows])].astype(np.int64)
