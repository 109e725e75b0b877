"""The cascade over exits: everything shallow, the short list deep, the rest when there is time.

1. Words and exit 0 score every chunk and name the candidates.
2. The best candidates are scored at the exit asked for; vectors that are missing are computed on demand,
   within a time budget, and kept.

Deep vectors that happen to be known of other chunks count for nothing: the same question has the same answer,
whatever was asked before and however much of the tree has been read.

Shapes: N chunks, C candidates, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mose.search.deepen import TextEncoder, deepen
from mose.search.loaded import ExitVectors, LoadedIndex, cosines_of
from mose.search.query import Query
from mose.search.ranking.matching import stem
from mose.search.ranking.rank import Candidates, RankWeights, rank
from mose.search.ranking.signals import Signals, asked_rows, definitions_of
from mose.search.store.records import ChunkTable
from mose.search.store.store import Store

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
class Asked:
    """One search: what for, how, and among which chunks."""

    query: Query
    shallow: Floats | None
    """Query vector at exit 0 [W]; None to leave exit 0 out."""
    deep: Floats | None
    """Query vector at the exit asked for [W]; None for words and exit 0 alone."""
    lexical: bool = True
    """False to leave words out."""
    allowed: NDArray[np.bool_] | None = None
    """Which rows of the chunk table may be answers [N]; None for all."""


def gather(
    store: Store,
    table: ChunkTable,
    asked: Asked,
    shallow: ExitVectors | None,
    deep: ExitVectors | None,
    config: CascadeConfig,
) -> Candidates:
    """Stage 1: every chunk that words, exit 0, a definition or the name of its file speak for.

    Args:
        store: The index, for its words.
        table: Its chunks.
        asked: The search.
        shallow: Vectors of exit 0, if there are any.
        deep: Vectors of the exit asked for, to score every chunk by them; None for the short list alone.
        config: How many of each.
    """
    found: list[Rows] = []
    lexical = np.zeros(len(table), dtype=np.float32)
    terms = _affordable(store, asked.query.terms, config.max_postings) if asked.lexical else ()
    if terms:
        rows, scores = _by_words(store, table, asked, config, terms)
        lexical[rows] = scores
        found.append(rows[: config.num_lexical])
    found.append(_by_name(table, asked, config))
    if asked.lexical and not terms and asked.query.is_name and not _begins_a_word(store, asked.query):
        shallow = deep = None  # a name that nothing is called: the nearest vectors are no answer
    shallow_cosines = deep_cosines = None
    if asked.shallow is not None and shallow is not None and deep is None:
        shallow_cosines = shallow.cosines(asked.shallow)
        found.append(_best(shallow_cosines, config.num_dense, asked.allowed))
    if asked.deep is not None and deep is not None:
        deep_cosines = deep.cosines(asked.deep)
        found.append(_best(deep_cosines, config.num_dense, asked.allowed))
    # Not np.unique: it imports numpy.ma, a tenth of the whole start-up.
    rows = np.array(sorted({row for rows in found for row in rows.tolist()}), dtype=np.int64)
    if asked.allowed is not None:
        rows = rows[asked.allowed[rows]]
    if terms:
        silent = rows[lexical[rows] == 0]
        lexical[silent] = _scores_of(store, table, silent, config, terms)
    unknown = np.full(len(rows), np.nan, dtype=np.float32)
    return Candidates(
        rows=rows,
        lexical=lexical[rows],
        shallow=unknown if shallow_cosines is None else shallow_cosines[rows],
        deep=unknown if deep_cosines is None else deep_cosines[rows],
    )


def short_list(
    asked: Asked,
    table: ChunkTable,
    candidates: Candidates,
    config: CascadeConfig,
    weights: RankWeights,
    signals: Signals | None,
) -> Rows:
    """Stage 2: candidates to be read at the exit asked for, best first, as places among the candidates.

    They are chosen by words, exit 0 and all signals, whatever deep vectors happen to be known, so that
    what is computed for a query does not depend on what was asked before.
    """
    unread = Candidates(
        rows=candidates.rows,
        lexical=candidates.lexical,
        shallow=candidates.shallow,
        deep=np.full(len(candidates.rows), np.nan, dtype=np.float32),
    )
    score = rank(asked.query, table, unread, weights, signals).score
    return np.argsort(-score, kind="stable")[: config.num_deep]


def read_short_list(
    store: Store,
    loaded: LoadedIndex,
    asked: Asked,
    table: ChunkTable,
    candidates: Candidates,
    short: Rows,
    encoder: TextEncoder,
    budget_s: float,
) -> tuple[Candidates, int]:
    """The candidates with the deep cosines of the short list, and how many vectors were computed for it."""
    assert asked.deep is not None
    cosines = loaded.vectors(store, table, encoder.exit).cosines_at(asked.deep, candidates.rows[short])
    missing = np.flatnonzero(~np.isfinite(cosines))
    num_encoded = 0
    if len(missing) and budget_s > 0:
        rows = candidates.rows[short[missing]]
        ids = table.ids[rows].tolist()
        report = deepen(store, encoder, encoder.exit, ids=ids, budget_s=budget_s, wait=False)
        num_encoded = report.num_encoded
        fresh = [position for position, chunk_id in enumerate(ids) if chunk_id in report.vectors]
        if len(fresh) < len(ids):  # time is up, or another thread or process has stored some meanwhile
            cosines[missing] = loaded.vectors(store, table, encoder.exit).cosines_at(asked.deep, rows)
        if fresh:
            vectors = np.stack([report.vectors[ids[position]] for position in fresh])
            cosines[missing[fresh]] = cosines_of(vectors, asked.deep)
    return without_gaps(with_deep(candidates, short, cosines), short), num_encoded


def with_deep(candidates: Candidates, places: Rows, cosines: Floats) -> Candidates:
    """The candidates with more deep cosines filled in."""
    deep = candidates.deep.copy()
    deep[places] = cosines
    return Candidates(rows=candidates.rows, lexical=candidates.lexical, shallow=candidates.shallow, deep=deep)


def without_gaps(candidates: Candidates, places: Rows) -> Candidates:
    """The candidates with the deep cosines of the short list up to the first place that has none.

    What lies behind an unread place has been read for some other question, and would overtake it.
    """
    unread = np.flatnonzero(~np.isfinite(candidates.deep[places]))
    if not len(unread):
        return candidates
    behind = places[unread[0] :]
    return with_deep(candidates, behind, np.full(len(behind), np.nan, dtype=np.float32))


def _by_words(
    store: Store, table: ChunkTable, asked: Asked, config: CascadeConfig, terms: tuple[str, ...]
) -> tuple[Rows, Floats]:
    limit = config.num_lexical if asked.allowed is None else config.max_postings
    ids, scores = store.lexical(any_of(terms), limit, config.column_weights)
    return _known(table, ids, scores, asked.allowed)


def _scores_of(store: Store, table: ChunkTable, rows: Rows, config: CascadeConfig, terms: tuple[str, ...]) -> Floats:
    """BM25 of chunks that became candidates for another reason; 0 where no word occurs."""
    out = np.zeros(len(rows), dtype=np.float32)
    ids, scores = store.lexical_of(any_of(terms), table.ids[rows], config.column_weights)
    out[np.searchsorted(table.ids[rows], ids)] = scores
    return out


def _by_name(table: ChunkTable, asked: Asked, config: CascadeConfig) -> Rows:
    """Chunks that define a name of the query, and those of the file that it names."""
    found: list[int] = []
    for strengths, count in (
        (definitions_of(asked.query, table) if asked.query.names else {}, config.num_definitions),
        (asked_rows(asked.query, table) if asked.query.path else {}, config.num_asked),
    ):
        allowed = [row for row in strengths if asked.allowed is None or asked.allowed[row]]
        found += sorted(allowed, key=lambda row: (-strengths[row], row))[:count]
    return np.array(found, dtype=np.int64)


def _known(table: ChunkTable, ids: Rows, scores: Floats, allowed: NDArray[np.bool_] | None) -> tuple[Rows, Floats]:
    rows = table.rows_of(ids)
    keep = rows >= 0
    if allowed is not None:
        keep &= allowed[rows]
    return rows[keep], scores[keep]


def any_of(terms: tuple[str, ...] | list[str]) -> str:
    """The FTS5 expression for chunks that hold any of the words.

    Example:
        >>> any_of(["open", "proxy"])
        '"open" OR "proxy"'
    """
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)


def _affordable(store: Store, terms: tuple[str, ...], max_postings: int) -> tuple[str, ...]:
    """The rarest words whose occurrences together stay below a bound; at least one that occurs."""
    counts = store.document_frequencies(terms)
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
