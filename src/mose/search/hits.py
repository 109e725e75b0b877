"""What a search gives back: hits with the parts of their scores, and what the search did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mose.search.query import Query, last_name
from mose.search.ranking.copies import original_of
from mose.search.ranking.rank import Candidates, Ranking
from mose.search.ranking.signals import best_definition
from mose.search.store.records import ChunkTable, StoredChunk

MAX_FOLDED = 40
"""How far below the hits copies of them are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Why a hit ranks where it ranks: weighted parts that sum to its score before ``factor``."""

    dense: float = 0.0
    """Vectors, at the exit named by ``exit``."""
    lexical: float = 0.0
    """Words (BM25)."""
    definition: float = 0.0
    """Defines a name of the query."""
    asked: float = 0.0
    """Is in the file, or on the line, that is the whole query."""
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
    line: int | None = None
    """The line that was asked for: it passes the filter of lines, defines the name of the query, or the query says its
    number."""
    column: int | None = None
    """Where on ``line`` the filter of lines matches, in characters from 1."""
    copies: tuple[str, ...] = ()
    """Files further down that repeat this one, as builds and former versions do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStats:
    """What a search did, for those who want to know how honest its answer is."""

    num_chunks: int
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
    has_words: bool
    """Some word of the query occurs where was searched; if not, the hits are the nearest by meaning alone."""


def hit_as_dict(hit: Hit, root: Path) -> dict[str, object]:
    """A hit with everything that an editor or agent needs to show or open it.

    Args:
        hit: The hit.
        root: The tree, as the caller names it.
    """
    parts = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(hit.parts).items()}
    return {
        "path": hit.path,
        "absolute_path": str(root / hit.path),
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "symbol": hit.symbol,
        "line": hit.line,
        "column": hit.column,
        "kind": hit.kind,
        "language": hit.language,
        "score": round(hit.score, 4),
        "exit": hit.parts.exit,
        "text": hit.text,
        "copies": list(hit.copies),
        "parts": parts,
    }


class Hits(list[Hit]):
    """The hits of one search, best first, and in ``stats`` what the search did."""

    def __init__(self, hits: Iterable[Hit], stats: SearchStats) -> None:
        super().__init__(hits)
        self.stats = stats


def best_positions(
    table: ChunkTable, candidates: Candidates, ranking: Ranking, *, limit: int, per_file: bool
) -> list[int]:
    """Positions of the best candidates, best first; ties go to the chunk that comes first in the index.

    Args:
        table: All chunks.
        candidates: Those that were scored.
        ranking: Their scores.
        limit: At most this many.
        per_file: Each file once.
    """
    chosen: list[int] = []
    seen: set[int] = set()
    for position in np.lexsort((candidates.rows, -ranking.score)).tolist():
        if ranking.score[position] <= 0:
            break  # nothing speaks for it
        file = int(table.file_row[candidates.rows[position]])
        if per_file and file in seen:
            continue
        seen.add(file)
        chosen.append(position)
        if len(chosen) == limit:
            break
    return chosen


def fold_copies(
    table: ChunkTable, candidates: Candidates, positions: Sequence[int], limit: int
) -> dict[int, tuple[str, ...]]:
    """The best ``limit`` positions, each with the files further down that repeat its definition.

    Args:
        table: All chunks.
        candidates: Those that were scored.
        positions: The best candidates, best first, more than ``limit`` where some may be folded.
        limit: At most this many.
    """
    folded: dict[int, tuple[str, ...]] = {}
    shown: dict[tuple[str, str], int] = {}
    for position in positions:
        row = int(candidates.rows[position])
        path = table.paths[table.file_row[row]]
        symbol = last_name(table.symbol[row])
        original = original_of(table, int(table.file_row[row]))
        first = shown.get((original or path, symbol))
        if first is not None and original and symbol:
            folded[first] = (*folded[first], path)
        elif len(folded) < limit:
            folded[position] = ()
            shown[original or path, symbol] = position
            shown.setdefault((path, symbol), position)
    return folded


def make_hits(
    query: Query,
    chunks: Sequence[StoredChunk],
    table: ChunkTable,
    candidates: Candidates,
    ranking: Ranking,
    positions: Mapping[int, tuple[str, ...]],
    exit_layer: int | None,
) -> list[Hit]:
    """Hits of the candidates at some positions; a chunk that a writer has just removed is left out.

    Args:
        query: What was asked.
        chunks: The stored chunks of these candidates, in any order.
        table: All chunks.
        candidates: Those that were scored.
        ranking: Their scores.
        positions: Which of the candidates, best first, each with the files that repeat it.
        exit_layer: Exit of the candidates' deep cosines.
    """
    by_id = {chunk.id: chunk for chunk in chunks}
    hits = []
    for position, copies in positions.items():
        chunk = by_id.get(int(table.ids[candidates.rows[position]]))
        if chunk is not None:
            symbol, line = _asked_for(query, chunk, ranking, position)
            hits.append(
                Hit(
                    path=chunk.path,
                    start_line=chunk.first_line,
                    end_line=chunk.last_line,
                    symbol=symbol,
                    kind=chunk.kind,
                    line=line,
                    copies=copies,
                    language=chunk.language,
                    score=float(ranking.score[position]),
                    text=chunk.text,
                    parts=_parts(candidates, ranking, position, exit_layer),
                )
            )
    return hits


def _asked_for(query: Query, chunk: StoredChunk, ranking: Ranking, position: int) -> tuple[str, int | None]:
    """The symbol to show of a chunk, and the line that was asked for, if one was."""
    if query.line is not None and "asked" in ranking.parts and ranking.parts["asked"][position] > 0:
        return chunk.symbol, query.line if chunk.first_line <= query.line <= chunk.last_line else None
    wanted = best_definition(query, chunk.names, chunk.path)
    if wanted is None or not query.is_name:
        return chunk.symbol, None
    return wanted.symbol, chunk.first_line + wanted.line


def _parts(candidates: Candidates, ranking: Ranking, position: int, exit_layer: int | None) -> Parts:
    deep, shallow = float(candidates.deep[position]), float(candidates.shallow[position])
    if np.isfinite(deep):
        depth, cosine = exit_layer, deep
    elif np.isfinite(shallow):
        depth, cosine = 0, shallow
    else:
        depth, cosine = None, None
    return Parts(
        **{name: float(part[position]) for name, part in ranking.parts.items()},
        factor=float(ranking.factor[position]),
        exit=depth,
        cosine=cosine,
        bm25=float(candidates.lexical[position]),
    )
