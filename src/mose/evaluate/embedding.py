"""Embed the texts of all tasks with one system, each text once, in batches that a killed run keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mose.evaluate.cache import EmbeddingCache, Vectors, key_of
from mose.evaluate.systems.protocol import Embedder
from mose.evaluate.tasks.values import RetrievalTask, Texts
from mose.progress import Progress, ProgressCallback
from mose.tokenizer import Kind

BATCH_TEXTS = 128
"""Texts between two commits of the cache, which a killed run may lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    key: bytes
    text: str
    kind: Kind
    language: str


def embed_tasks(
    system: Embedder, tasks: Iterable[RetrievalTask], cache: EmbeddingCache, progress: ProgressCallback
) -> int:
    """Embed every text of the tasks that is not in the cache, and store it there.

    Batches hold texts of similar length; their order is random, so that the estimated time left is unbiased.

    Returns:
        Number of texts embedded.
    """
    requests = [
        request for task in tasks for side in (task.queries, task.corpus) for request in _requests(system, side)
    ]
    wanted = [requests[position] for position in cache.missing([request.key for request in requests])]
    batches = []
    for kind in ("query", "code"):
        some = sorted((request for request in wanted if request.kind == kind), key=lambda request: len(request.text))
        batches += [some[start : start + BATCH_TEXTS] for start in range(0, len(some), BATCH_TEXTS)]
    done = 0
    for number in np.random.default_rng(0).permutation(len(batches)):
        batch = batches[number]
        vectors = system.embed(
            [request.text for request in batch],
            kind=batch[0].kind,
            languages=[request.language for request in batch],
            exits=tuple(system.widths),
        )
        cache.add([request.key for request in batch], vectors)
        done += len(batch)
        progress(Progress(stage=f"{system.card.name}: embed", done=done, total=len(wanted)))
    return done


def side_vectors(system: Embedder, side: Texts, cache: EmbeddingCache) -> Vectors:
    """Exit -> float32 [N, width] of one side of a task, from the filled cache."""
    return cache.get([request.key for request in _requests(system, side)])


def _requests(system: Embedder, side: Texts) -> Sequence[_Request]:
    templates = {language: system.template(side.kind, language) for language in set(side.languages)}
    return [
        _Request(key=key_of(text, templates[language]), text=text, kind=side.kind, language=language)
        for text, language in zip(side.texts, side.languages, strict=True)
    ]
