"""The cascade over exits: everything shallow, the short list deep, the rest when there is time.

1. Words and exit 0 score every chunk and name the candidates.
2. The best candidates are scored at the exit asked for; vectors that are missing are computed on demand,
   within a time budget, and kept.

Deep vectors that happen to be known of other chunks count for nothing: the same question has the same answer,
whatever was asked before and however much of the tree has been read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mose.progress import ProgressCallback
from mose.search.deepen import deepen
from mose.search.hits import MAX_FOLDED, Hits, SearchStats, best_positions, fold_copies, make_hits
from mose.search.loaded import View, cosines_of
from mose.search.options import Mode
from mose.search.ranking.candidates import CascadeConfig, Request, gather
from mose.search.ranking.fit_tokens import CHARS_PER_TOKEN, cover
from mose.search.ranking.rank import Candidates, RankWeights, rank
from mose.search.ranking.signals import Evidence, Signals, read_evidence, read_signals
from mose.search.store.records import ChunkTable

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def answer(
    view: View, request: Request, weights: RankWeights, config: CascadeConfig, progress: ProgressCallback
) -> Hits:
    """The hits of a search.

    Args:
        view: The index.
        request: The search.
        weights: How much each signal counts.
        config: How many chunks pass from one stage to the next.
        progress: Called as the short list is read.
    """
    started = time.perf_counter()
    options, table = request.options, view.table
    if request.readings is not None:
        weights = request.readings.weights(weights)
        evidence = request.readings.evidence(table)
    else:
        evidence = read_evidence(request.query, table)
    weights = _weights_for(options.mode, weights)
    exit_layer = request.encoder.exit if request.deep is not None else None
    shallow = view.vectors(0) if request.shallow is not None else None
    deep = view.vectors(exit_layer) if exit_layer else None
    num_known = deep.num_known + len(deep.unstored) if deep is not None else 0
    by_vectors_alone = options.mode == "dense" and deep is not None and deep.num_known == len(table)
    candidates = gather(view, request, evidence, shallow, deep if by_vectors_alone else None, config)
    signals = _signals(request, evidence, table, candidates.rows) if weights.signals else None
    num_encoded, short = 0, np.arange(len(candidates.rows) if by_vectors_alone else 0)
    if deep is not None and len(candidates.rows) and not by_vectors_alone:
        short = _short_list(view, request, candidates, weights, signals, config.num_deep)
        candidates, num_encoded = _read_short_list(view, request, candidates, short, progress)
    ranking = rank(request.query, table, candidates, weights, signals)
    budget = options.limit_tokens
    limit = options.limit if budget is None else len(candidates.rows)
    per_file = options.per_file and budget is None
    best = best_positions(table, candidates, ranking, limit=limit + MAX_FOLDED, per_file=per_file)
    positions = fold_copies(table, candidates, best, limit)
    chunks = view.chunks(candidates.rows[list(positions)])
    if budget is not None:
        sizes = {chunk.id: len(chunk.text) for chunk in chunks}
        covering = _covering(table, candidates.rows[list(positions)], ranking.score[list(positions)], sizes, budget)
        positions = {position: positions[position] for position in np.array(list(positions))[covering].tolist()}
    hits = make_hits(request.query, chunks, table, candidates, ranking, positions, exit_layer)
    stats = SearchStats(
        num_chunks=len(table),
        num_deep=int(np.isfinite(candidates.deep[short]).sum()),
        num_encoded=num_encoded,
        num_short=len(short),
        num_read=num_known + num_encoded,
        exit=exit_layer,
        seconds=time.perf_counter() - started,
        has_words=bool(candidates.lexical.any()),
    )
    return Hits(hits, stats)


def _signals(request: Request, evidence: Evidence, table: ChunkTable, rows: Rows) -> Signals:
    if request.readings is not None:
        return request.readings.signals(evidence, table, rows)
    return read_signals(request.query, table, rows, evidence)


def _covering(table: ChunkTable, rows: Rows, scores: Floats, sizes: Mapping[int, int], max_tokens: int) -> list[int]:
    """Positions among the rows, best first, of those that are chosen for a budget; sizes are by chunk id."""
    return cover(
        scores.tolist(),
        table.file_row[rows].tolist(),
        [sizes.get(chunk_id, 0) for chunk_id in table.ids[rows].tolist()],
        max_tokens * CHARS_PER_TOKEN,
    )


def _weights_for(mode: Mode, weights: RankWeights) -> RankWeights:
    if mode == "lexical":
        return replace(weights, dense=0.0, dense_symbol=0.0, dense_shallow=0.0)
    if mode == "dense":
        return replace(weights, dense=1.0, dense_symbol=1.0, dense_shallow=1.0)
    return weights


def _short_list(
    view: View,
    request: Request,
    candidates: Candidates,
    weights: RankWeights,
    signals: Signals | None,
    num_deep: int,
) -> Rows:
    """Stage 2: candidates to be read at the exit asked for, best first, as positions among the candidates.

    They are chosen by words, exit 0 and all signals; the candidates carry no deep cosine yet, whatever vectors happen
    to be known, so that what is computed for a query does not depend on what was asked before.
    """
    score = rank(request.query, view.table, candidates, weights, signals).score
    return np.argsort(-score, kind="stable")[:num_deep]


def _read_short_list(
    view: View, request: Request, candidates: Candidates, short: Rows, progress: ProgressCallback
) -> tuple[Candidates, int]:
    """The candidates with the deep cosines of the short list, and how many vectors were computed for it."""
    assert request.deep is not None
    encoder, budget_s = request.encoder, request.options.budget_s
    cosines = view.vectors(encoder.exit).cosines_at(request.deep, candidates.rows[short])
    missing = np.flatnonzero(~np.isfinite(cosines))
    num_encoded = 0
    if len(missing) and budget_s > 0:
        rows = candidates.rows[short[missing]]
        ids = view.table.ids[rows].tolist()
        report = deepen(view.store, encoder, encoder.exit, ids=ids, budget_s=budget_s, progress=progress, wait=False)
        num_encoded = report.num_encoded
        fresh = [position for position, chunk_id in enumerate(ids) if chunk_id in report.vectors]
        if len(fresh) < len(ids):  # time is up, or another thread or process has stored some meanwhile
            cosines[missing] = view.vectors(encoder.exit).cosines_at(request.deep, rows)
        if fresh:
            vectors = np.stack([report.vectors[ids[position]] for position in fresh])
            cosines[missing[fresh]] = cosines_of(vectors, request.deep)
            if view.store.read_only:
                view.vectors(encoder.exit).keep(dict(zip(rows[fresh].tolist(), vectors, strict=True)))
    return _without_gaps(_with_deep(candidates, short, cosines), short), num_encoded


def _with_deep(candidates: Candidates, positions: Rows, cosines: Floats) -> Candidates:
    """The candidates with more deep cosines filled in."""
    deep = candidates.deep.copy()
    deep[positions] = cosines
    return replace(candidates, deep=deep)


def _without_gaps(candidates: Candidates, positions: Rows) -> Candidates:
    """The candidates with the deep cosines of the short list up to the first that has none.

    What ranks below an unread one has been read for some other question, and would overtake it.
    """
    unread = np.flatnonzero(~np.isfinite(candidates.deep[positions]))
    if not len(unread):
        return candidates
    below = positions[unread[0] :]
    return _with_deep(candidates, below, np.full(len(below), np.nan, dtype=np.float32))
