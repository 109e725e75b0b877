"""What a search gives back: hits with the parts of their scores, and what the search did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mose.search.rank import Candidates, Ranking
from mose.search.records import ChunkTable, StoredChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Why a hit stands where it stands: weighted parts that sum to its score before ``factor``."""

    dense: float = 0.0
    """Vectors, at the exit named by ``exit``."""
    lexical: float = 0.0
    """Words (BM25)."""
    definition: float = 0.0
    """Defines a name of the query."""
    path: float = 0.0
    """Words of the query in the file's or folder's name."""
    symbol: float = 0.0
    """Words of the query in the names defined here."""
    file: float = 0.0
    """Other good chunks in the same file."""
    factor: float = 1.0
    """Below 1 for tests, copies, generated files, re-exports, prose."""
    exit: int | None = None
    """Depth at which the chunk was read; None if words alone spoke for it."""
    cosine: float | None = None
    """Cosine of query and chunk at that exit, -1 to 1."""
    bm25: float = 0.0
    """Raw BM25 score, 0 or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One answer: lines of a file, best first by ``score`` (0 to 1)."""

    path: str
    start_line: int
    end_line: int
    symbol: str
    kind: str = ""
    """What the lines are, e.g. "function" or "class"; "text" where they follow no definition."""
    language: str
    score: float
    text: str
    parts: Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStats:
    """What the last search did, for those who want to know how honest its answer is."""

    num_chunks: int
    num_candidates: int
    num_deep: int
    """Candidates of the short list that were scored at ``exit``."""
    num_encoded: int
    """Of these, how many were computed for this search."""
    num_short: int
    """Size of the short list; more than ``num_deep`` if the budget ran out."""
    num_read: int
    """Chunks of the whole tree that have a vector at ``exit``."""
    exit: int | None
    seconds: float


def best_places(
    table: ChunkTable, candidates: Candidates, ranking: Ranking, *, limit: int, per_file: bool
) -> list[int]:
    """Places of the best candidates, best first; ties go to the chunk that comes first in the index.

    Args:
        table: All chunks.
        candidates: Those that were scored.
        ranking: Their scores.
        limit: At most this many.
        per_file: Each file once.
    """
    chosen: list[int] = []
    seen: set[int] = set()
    for place in np.lexsort((candidates.rows, -ranking.score)).tolist():
        file = int(table.file_row[candidates.rows[place]])
        if per_file and file in seen:
            continue
        seen.add(file)
        chosen.append(place)
        if len(chosen) == limit:
            break
    return chosen


def make_hits(
    chunks: Sequence[StoredChunk],
    table: ChunkTable,
    candidates: Candidates,
    ranking: Ranking,
    places: Sequence[int],
    exit_layer: int | None,
) -> list[Hit]:
    """Hits of the places; a chunk that a writer has just removed is left out.

    Args:
        chunks: The stored chunks of the places, in any order.
        table: All chunks.
        candidates: Those that were scored.
        ranking: Their scores.
        places: Which of the candidates, best first.
        exit_layer: Exit of the candidates' deep cosines.
    """
    by_id = {chunk.id: chunk for chunk in chunks}
    hits = []
    for place in places:
        chunk = by_id.get(int(table.ids[candidates.rows[place]]))
        if chunk is not None:
            hits.append(
                Hit(
                    path=chunk.path,
                    start_line=chunk.first_line,
                    end_line=chunk.last_line,
                    symbol=chunk.symbol,
                    kind=chunk.kind,
                    language=chunk.language,
                    score=float(ranking.score[place]),
                    text=chunk.text,
                    parts=_parts(candidates, ranking, place, exit_layer),
                )
            )
    return hits


def _parts(candidates: Candidates, ranking: Ranking, place: int, exit_layer: int | None) -> Parts:
    deep, shallow = float(candidates.deep[place]), float(candidates.shallow[place])
    if np.isfinite(deep):
        depth, cosine = exit_layer, deep
    elif np.isfinite(shallow):
        depth, cosine = 0, shallow
    else:
        depth, cosine = None, None
    return Parts(
        **{name: float(part[place]) for name, part in ranking.parts.items()},
        factor=float(ranking.factor[place]),
        exit=depth,
        cosine=cosine,
        bm25=float(candidates.lexical[place]),
    )
