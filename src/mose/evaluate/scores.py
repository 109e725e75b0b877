"""Scores of systems on tasks, at every exit and width asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.cache import EmbeddingCache, Vectors
from mose.evaluate.embedding import embed_tasks, side_vectors
from mose.evaluate.result import Cell, Score, TaskInfo
from mose.evaluate.systems.ladder import CheckpointLadder, RuntimeLadder
from mose.evaluate.systems.protocol import Embedder, Scorer
from mose.evaluate.tasks.values import RetrievalTask, Texts
from mose.metrics import ranking
from mose.progress import Progress, ProgressCallback
from mose.runtime.table import unit_rows

METRICS = ("mrr", "recall@10", "ndcg@10")
"""Reported for every task, whatever its headline metric."""


def run_system(
    system: Embedder | Scorer,
    tasks: Sequence[RetrievalTask],
    cache_folder: Path,
    progress: ProgressCallback,
    *,
    exits: Sequence[int] | None = None,
    widths: Sequence[int] = (),
) -> Iterator[Score]:
    """Scores of one system on every task.

    Args:
        system: The system to score.
        tasks: What to rank.
        cache_folder: Folder of the embedding caches.
        progress: Called with the progress so far.
        exits: Exits to score; all if None.
        widths: Narrower widths to score besides the full one, where an exit is wider.
    """
    name = system.card.name
    if isinstance(system, Scorer):
        for number, task in enumerate(tasks, start=1):
            index = system.index(task.corpus)
            asked = zip(task.queries.texts, task.queries.languages, strict=True)
            scores_QC = np.stack([index.scores(text, language) for text, language in asked])
            yield _score(task, scores_QC, system=name, exit_layer=None, width=None, keep=True)
            progress(Progress(stage=f"{name}: score", done=number, total=len(tasks)))
        return
    with EmbeddingCache(cache_folder, system.identity, system.widths) as cache:
        embed_tasks(system, tasks, cache, progress)
        for task, queries, corpus in _sides(system, tasks, cache, progress, "score"):
            for exit_layer in system.widths if exits is None else exits:
                full = system.widths[exit_layer]
                for width in (full, *sorted({width for width in widths if width < full}, reverse=True)):
                    scores_QC = similarity(queries[exit_layer], corpus[exit_layer], width)
                    keep = width == full
                    yield _score(task, scores_QC, system=name, exit_layer=exit_layer, width=width, keep=keep)


def run_matrix(
    system: Embedder,
    tasks: Sequence[RetrievalTask],
    cache_folder: Path,
    progress: ProgressCallback,
    *,
    exits: Sequence[int],
) -> Iterator[Cell]:
    """The exit x exit matrix: queries at one exit, corpus at another, both at the width that all exits have.

    Embeddings come from the cache that ``run_system`` filled.
    """
    width = min(system.widths[exit_layer] for exit_layer in exits)
    with EmbeddingCache(cache_folder, system.identity, system.widths) as cache:
        for task, queries, corpus in _sides(system, tasks, cache, progress, "exit x exit"):
            for query_exit in exits:
                for corpus_exit in exits:
                    scores_QC = similarity(queries[query_exit], corpus[corpus_exit], width)
                    value = float(per_query(task, scores_QC)[task.metric].mean())
                    yield Cell(task=task.name, query_exit=query_exit, corpus_exit=corpus_exit, width=width, value=value)


def run_own_parts(
    system: RuntimeLadder | CheckpointLadder,
    tasks: Sequence[RetrievalTask],
    cache_folder: Path,
    progress: ProgressCallback,
    *,
    exits: Sequence[int],
) -> Iterator[Score]:
    """Scores of the exits that hold a share of exit 0, without it: what their blocks and head do alone.

    Embeddings come from the cache that ``run_system`` filled.
    """
    columns = {exit_layer: own for exit_layer in exits if (own := system.own_columns(exit_layer)) is not None}
    if not columns:
        return
    with EmbeddingCache(cache_folder, system.identity, system.widths) as cache:
        for task, queries, corpus in _sides(system, tasks, cache, progress, "own parts"):
            for exit_layer, own in columns.items():
                scores_QC = similarity(queries[exit_layer][:, own], corpus[exit_layer][:, own], len(own))
                yield _score(task, scores_QC, system=system.card.name, exit_layer=exit_layer, width=len(own), keep=True)


def _sides(
    system: Embedder, tasks: Sequence[RetrievalTask], cache: EmbeddingCache, progress: ProgressCallback, stage: str
) -> Iterator[tuple[RetrievalTask, Vectors, Vectors]]:
    """Each task with the vectors of its queries and of its corpus, from the filled cache."""
    for number, task in enumerate(tasks, start=1):
        yield task, side_vectors(system, task.queries, cache), side_vectors(system, task.corpus, cache)
        progress(Progress(stage=f"{system.card.name}: {stage}", done=number, total=len(tasks)))


def similarity(queries_QW: NDArray[np.float32], corpus_CW: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Cosine of the leading dimensions, float32 [Q, C]."""
    return unit_rows(queries_QW[:, :width]) @ unit_rows(corpus_CW[:, :width]).T


def per_query(task: RetrievalTask, scores_QC: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Metric -> float64 [Q]: the task's own and ``METRICS``."""
    ranks = ranking.relevant_ranks(scores_QC, task.corpus.ids, task.relevant, task.excluded)
    return {name: ranking.metric(name)(ranks) for name in dict.fromkeys((task.metric, *METRICS))}


def shortened(task: RetrievalTask, limit: int) -> RetrievalTask:
    """A sample of a task, for a quick run: at most ``limit`` queries, their answers, and ``limit`` other rows.

    The pool is smaller than the task's own, so the numbers are higher and comparable to nothing else.
    """
    chance = np.random.default_rng(0)
    queries = np.sort(chance.permutation(len(task.queries.ids))[:limit]).tolist()
    answers = {row for query in queries for row in task.relevant[query]}
    others = [row for row in chance.permutation(len(task.corpus.ids)).tolist() if row not in answers][:limit]
    rows = sorted(answers.union(others))
    new_row = {row: number for number, row in enumerate(rows)}

    def kept(sets: Sequence[frozenset[int]]) -> tuple[frozenset[int], ...]:
        return tuple(frozenset(new_row[row] for row in sets[query] if row in new_row) for query in queries)

    return dataclasses.replace(
        task,
        protocol=f"{task.protocol} Shortened to {len(queries)} queries and {len(rows)} candidates.",
        queries=_rows(task.queries, queries),
        corpus=_rows(task.corpus, rows),
        relevant=kept(task.relevant),
        clusters=tuple(task.clusters[query] for query in queries) if task.clusters else (),
        excluded=kept(task.excluded) if task.excluded else (),
    )


def task_infos(tasks: Sequence[RetrievalTask]) -> tuple[TaskInfo, ...]:
    """The tasks without their texts; clusters are numbered over all of them."""
    names = {(task.dataset, cluster): None for task in tasks for cluster in task.clusters}
    numbers = {name: number for number, name in enumerate(names)}
    return tuple(
        TaskInfo(
            name=task.name,
            family=task.family,
            dataset=task.dataset,
            protocol=task.protocol,
            metric=task.metric,
            num_queries=len(task.queries.ids),
            num_corpus=len(task.corpus.ids),
            clusters=np.array([numbers[task.dataset, cluster] for cluster in task.clusters], dtype=np.int32)
            if task.clusters
            else None,
        )
        for task in tasks
    )


def _score(
    task: RetrievalTask,
    scores_QC: NDArray[np.float32],
    *,
    system: str,
    exit_layer: int | None,
    width: int | None,
    keep: bool,
) -> Score:
    values = per_query(task, scores_QC)
    return Score(
        task=task.name,
        system=system,
        exit=exit_layer,
        width=width,
        metrics={name: float(value.mean()) for name, value in values.items()},
        per_query=values[task.metric].astype(np.float32) if keep else None,
    )


def _rows(texts: Texts, rows: Sequence[int]) -> Texts:
    parts = {name: tuple(getattr(texts, name)[row] for row in rows) for name in ("ids", "texts", "languages")}
    return Texts(**parts, kind=texts.kind)
