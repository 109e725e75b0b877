"""Ranking: words and vectors fused, then what a reader of code would look at.

Every signal lies between 0 and 1 and has one weight. A chunk's score is the weighted sum of its signals,
times a factor for files that are seldom meant (tests, vendored copies, re-exports), divided by the sum of
the weights in play, so that scores lie between 0 and 1 and each hit can show its parts.

Shapes: C candidates, F files, E exits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mose.search.query import Query
from mose.search.ranking.signals import Signals, read_signals
from mose.search.store.records import ChunkTable

__all__ = ["Candidates", "RankWeights", "Ranking", "file_coherence", "rank", "stretched", "to_one"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankWeights:
    """How much each signal counts. Round numbers: the ranking is flat around them."""

    text: float = 1.0
    """Words and vectors together."""
    dense: float = 0.6
    """Share of the vectors in ``text`` for a query in words; the rest is BM25."""
    dense_symbol: float = 0.3
    """The same for a query that is one name: spelling says more than meaning."""
    dense_shallow: float = 0.5
    """The same where only exit 0 has been read."""
    definition: float = 1.5
    """The chunk defines the name that is the whole query."""
    mention: float = 0.4
    """The chunk defines a name that a longer query mentions."""
    path: float = 0.8
    """Share of the query's words found in the file's name, half of that in its folder's name."""
    symbol: float = 0.2
    """Share of the query's words found in the names that the chunk defines."""
    asked: float = 4.0
    """The file, or the line of it, that is the whole query."""
    file: float = 0.3
    """The file has many good chunks, not one lucky one."""
    signals: bool = True
    """False for the fused text score alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Chunks that may be an answer, with what is known of each."""

    rows: NDArray[np.int64]  # [C] into the chunk table
    lexical: Floats  # [C] BM25, 0 where no word occurs
    shallow: Floats  # [C] cosine at exit 0, nan where unknown
    deep: Floats  # [C] cosine at the exit asked for, nan where unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Scores [C] in the order of the candidates, and their parts: weighted, and summing to score / ``factor``."""

    score: Floats
    is_deep: NDArray[np.bool_]
    factor: Floats
    parts: dict[str, Floats] = field(default_factory=dict)


def rank(
    query: Query,
    table: ChunkTable,
    candidates: Candidates,
    weights: RankWeights | None = None,
    signals: Signals | None = None,
) -> Ranking:
    """Scores of all candidates.

    A candidate whose deep vector is known is scored by it; the others are scored by exit 0 and rank below,
    for the two cosines cannot be compared.

    Args:
        query: What was asked.
        table: All chunks of the index.
        candidates: Those to score.
        weights: How much each signal counts.
        signals: Those of the candidates, where they are known already.
    """
    weights = weights or RankWeights()
    if signals is None and weights.signals:
        signals = read_signals(query, table, candidates.rows)
    files = table.file_row[candidates.rows]
    is_deep = np.isfinite(candidates.deep)
    share = weights.dense_symbol if query.is_symbol else weights.dense
    if share < 1:
        share *= query.readable  # what the encoder cannot read is left to the words
    deep = _score(query, files, candidates, candidates.deep, share, weights, signals)
    if is_deep.all():
        return deep
    shallow_known = np.isfinite(candidates.shallow).any()
    share = min(share, weights.dense_shallow) if shallow_known else 0.0
    shallow = _score(query, files, candidates, candidates.shallow, share, weights, signals)
    if not is_deep.any():
        return shallow
    below = np.float32(deep.score[is_deep].min() / max(float(shallow.score[~is_deep].max()), 1e-9))
    below = np.float32(0.999) * min(below, np.float32(1.0))
    return Ranking(
        score=np.where(is_deep, deep.score, shallow.score * below),
        is_deep=is_deep,
        factor=deep.factor,
        parts={name: np.where(is_deep, part, shallow.parts[name] * below) for name, part in deep.parts.items()},
    )


def _score(
    query: Query,
    files: NDArray[np.int32],
    candidates: Candidates,
    cosine: Floats,
    dense_share: float,
    weights: RankWeights,
    signals: Signals | None,
) -> Ranking:
    # The root lifts the middle: training on contrasts leaves few cosines near the best, though many chunks are good.
    dense = dense_share * np.sqrt(stretched(cosine))
    lexical = (1 - dense_share) * to_one(candidates.lexical)
    parts = {"dense": weights.text * dense, "lexical": weights.text * lexical}
    total = weights.text
    factor = np.ones(len(files), dtype=np.float32)
    if weights.signals and signals is not None:
        parts["file"] = weights.file * file_coherence(parts["dense"] + parts["lexical"], files)
        total += weights.file
        if query.words:
            parts["path"] = weights.path * signals.path
            parts["symbol"] = weights.symbol * signals.symbol
            total += weights.path + weights.symbol
        if signals.definition.any():
            definition = weights.definition if query.is_name else weights.mention
            parts["definition"] = definition * signals.definition
            total += definition
        if signals.asked.any():
            parts["asked"] = weights.asked * signals.asked
            total += weights.asked
        factor = signals.factor
    parts = {name: (part / total).astype(np.float32) for name, part in parts.items()}
    score = np.sum(list(parts.values()), axis=0, dtype=np.float32) * factor
    return Ranking(score=score, is_deep=np.isfinite(cosine), factor=factor, parts=parts)


def stretched(values: Floats) -> Floats:
    """Values stretched so that the lowest is 0 and the highest 1; unknown ones (nan) count as lowest.

    Example:
        >>> stretched(np.array([0.2, np.nan, 0.6, 0.4], dtype=np.float32)).round(2).tolist()
        [0.0, 0.0, 1.0, 0.5]
    """
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), dtype=np.float32)
    low, high = values[known].min(), values[known].max()
    if high - low < 1e-9:
        return known.astype(np.float32)
    return np.where(known, (values - low) / (high - low), 0.0).astype(np.float32)


def to_one(values: Floats) -> Floats:
    """Values divided by the highest; all 0 if none is above 0."""
    high = values.max(initial=0.0)
    return (values / high if high > 0 else np.zeros_like(values)).astype(np.float32)


def file_coherence(text: Floats, files: NDArray[np.int32], best: int = 50) -> Floats:
    """How much of the best chunks' score is in each candidate's file, the richest file at 1 [C].

    Only what a chunk has above the last of the ``best`` counts, so that long files gain nothing by length.
    """
    if not len(text):
        return text
    order = np.argsort(-text, kind="stable")[:best]
    above = text[order] - text[order[-1]]
    sums = np.zeros(int(files.max()) + 1, dtype=np.float32)
    np.add.at(sums, files[order], above)
    return to_one(sums)[files]
