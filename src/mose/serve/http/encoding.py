"""One queue for the texts of all requests for embeddings: a thread for each core takes the text that is due first.

Every text is run through the model alone. A matrix of several texts takes as long as the texts one after the other,
and an int8 model rounds it differently: a vector would depend on its neighbours. So requests are mixed text by text.
"""

from __future__ import annotations

import heapq
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mose.runtime.batching import available_cores
from mose.runtime.encoder import Encoder
from mose.serve.http.metrics import Metrics

MOST_JOBS = 128
"""Requests that wait or are encoded at the same time: half of all, so that others are not refused with them."""
MOST_WAIT_S = 10.0
"""A request that would wait longer before its first text is refused."""
_NICE = 10
_PATIENCE = 10.0  # times its cost
_FIRST_RATE = 2e-5  # seconds for one token in one block
_RATE_SHARE = 0.02


class OverloadError(Exception):
    """There is more to do than is done in reasonable time.

    Attributes:
        retry_after_s: Seconds after which it is worth asking again.
    """

    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


@dataclass(slots=True, eq=False)
class _Job:
    """The texts of one request."""

    encoder: Encoder
    texts: Sequence[str]
    ids: Sequence[list[int]]
    vectors: NDArray[np.float32]
    left: int
    submitted_at: float
    started_at: float = 0.0
    result: Future[NDArray[np.float32]] = field(default_factory=Future)

    def units(self, row: int) -> int:
        """What a text costs: its tokens, once for each block of the model that they go through."""
        return len(self.ids[row]) * self.encoder.exit


class EncodingQueue:
    """Encodes texts of many requests, each at its own exit; any thread may submit.

    A text is due some multiple of its cost after its request came, and of the cost of the request's texts before it. So
    texts of the same length and exit leave in the order in which they came, short and shallow ones pass long and deep
    ones, none waits for ever, and a request of hundreds of texts lets single ones through.

    Args:
        metrics: Told how long each request waited and was encoded.
        num_threads: Texts to encode at the same time; all cores if None.
    """

    def __init__(self, metrics: Metrics, num_threads: int | None = None) -> None:
        self._metrics = metrics
        self._num_threads = num_threads or available_cores()
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, int, _Job]] = []
        self._jobs: dict[_Job, int] = {}  # -> units of work left
        self._num_submitted = 0
        self._rate = _FIRST_RATE  # seconds for a unit
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    @property
    def num_waiting(self) -> int:
        """Texts that wait."""
        return len(self._due)

    def require_room(self) -> None:
        """Raise `OverloadError` if `submit` would."""
        with self._changed:
            self._require_room()

    def submit(self, encoder: Encoder, texts: Sequence[str], ids: Sequence[list[int]]) -> Future[NDArray[np.float32]]:
        """The vectors [N, width] to come. Cancelling the future takes the texts out of the queue.

        Args:
            encoder: The model at the exit and width; not exit 0.
            texts: One or more.
            ids: Their tokens, from ``encoder.token_ids``.

        Raises:
            OverloadError: Too much is waiting.
        """
        vectors = np.empty((len(texts), encoder.width), dtype=np.float32)
        job = _Job(encoder, texts, ids, vectors, left=len(texts), submitted_at=time.perf_counter())
        with self._changed:
            self._require_room()
            units = 0
            for row in sorted(range(len(texts)), key=lambda row: len(ids[row])):
                units += job.units(row)
                due = job.submitted_at + _PATIENCE * units * _FIRST_RATE
                heapq.heappush(self._due, (due, self._num_submitted, row, job))
            self._num_submitted += 1
            self._jobs[job] = units
            self._start_threads()
            self._changed.notify(len(texts))
        job.result.add_done_callback(lambda _: self._forget(job))
        return job.result

    def close(self) -> None:
        """Let the threads end; what waits is not encoded."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _require_room(self) -> None:
        wait_s = sum(self._jobs.values()) * self._rate / self._num_threads
        if wait_s > MOST_WAIT_S or len(self._jobs) >= MOST_JOBS:
            raise OverloadError(max(1, round(wait_s)))

    def _start_threads(self) -> None:
        while len(self._threads) < self._num_threads:
            self._threads.append(threading.Thread(target=self._work, name="mose-encode", daemon=True))
            self._threads[-1].start()

    def _forget(self, job: _Job) -> None:
        with self._changed:
            self._jobs.pop(job, None)
            if job.left:  # cancelled, or a text has raised
                self._due = [entry for entry in self._due if entry[-1] is not job]
                heapq.heapify(self._due)

    def _work(self) -> None:
        _yield_to_others()
        while True:
            with self._changed:
                while not self._due and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                *_, row, job = heapq.heappop(self._due)
                started = time.perf_counter()
                if not job.started_at:
                    job.started_at = started
                    self._metrics.add_time("queue", job.encoder.exit, started - job.submitted_at)
            try:
                job.vectors[row : row + 1] = job.encoder.encode_tokens(job.ids[row], job.texts[row])
            except BaseException as error:  # the thread serves others, too; the request raises the error
                with suppress(InvalidStateError):
                    job.result.set_exception(error)
                continue
            self._done(job, row, time.perf_counter() - started)

    def _done(self, job: _Job, row: int, seconds: float) -> None:
        with self._changed:
            units = job.units(row)
            self._rate += _RATE_SHARE * (seconds / max(units, 1) - self._rate)
            if job in self._jobs:
                self._jobs[job] -= units
            job.left -= 1
            if job.left:
                return
        self._metrics.add_time("encoding", job.encoder.exit, time.perf_counter() - job.started_at)
        with suppress(InvalidStateError):  # cancelled meanwhile
            job.result.set_result(job.vectors)


def _yield_to_others() -> None:
    """Let threads that answer short requests run before this one; only Linux has priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
