"""Spread texts over threads: similar lengths together, long ones first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mose.runtime.session import Session

Outputs = dict[str, NDArray[np.float32]]
WINDOW_TEXTS = 2048
"""Texts that are tokenised and sorted by length together; bounds the memory of long inputs."""
TOKEN_BUDGET = 256
"""Tokens that a thread takes at a time: few, so that many cores can share a short list."""


def windows(num_texts: int) -> Iterator[slice]:
    """Slices of at most ``WINDOW_TEXTS`` texts that cover all."""
    for start in range(0, num_texts, WINDOW_TEXTS):
        yield slice(start, min(start + WINDOW_TEXTS, num_texts))


def batches(lengths: Sequence[int], *, token_budget: int) -> Iterator[list[int]]:
    """Row numbers of each batch, longest texts first, so that no thread ends with a long text.

    A batch has at most ``token_budget`` tokens, or one row. Every row comes once.

    Example:
        >>> list(batches([3, 9, 4, 8], token_budget=12))
        [[1], [3, 2], [0]]
    """
    batch: list[int] = []
    tokens = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and tokens + lengths[row] > token_budget:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += lengths[row]
    if batch:
        yield batch


def run_all(session: Session, ids: Sequence[list[int]], *, threads: int) -> Iterator[tuple[list[int], Outputs]]:
    """Row numbers of each batch and their outputs [rows, width], in order of completion.

    Closing the iterator, or an interrupt, cancels the batches that have not begun.
    """
    todo = list(batches([len(row) for row in ids], token_budget=TOKEN_BUDGET))
    threads = min(threads, len(todo))
    if threads <= 1:
        for rows in todo:
            yield rows, run_batch(session, ids, rows)
        return
    from concurrent.futures import ThreadPoolExecutor, as_completed

    pool = ThreadPoolExecutor(threads, thread_name_prefix="mose-encode")
    try:
        futures = {pool.submit(run_batch, session, ids, rows): rows for rows in todo}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_batch(session: Session, ids: Sequence[list[int]], rows: Sequence[int]) -> Outputs:
    """The outputs [rows, width] of some rows, one after the other in this thread."""
    outputs = [session.run(ids[row]) for row in rows]
    return {name: np.stack([output[name] for output in outputs]) for name in outputs[0]}
