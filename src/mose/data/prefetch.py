"""Batches made ahead of the step, in processes of their own.

In: one stream of batches with a position. Out: what is made of each of them, in order: the same however many processes
there are, so a run may be resumed with another number of them. Process n of N makes the batches n, n + N, n + 2N, ...
and passes over the others, which costs little. Its next batch waits in the process until the last one is taken, so that
memory is bounded: two batches for each process.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar

from mose.errors import DataError, MoseError

Ready = TypeVar("Ready")


class Stream(Protocol):
    """Endless batches with a position."""

    def __next__(self) -> Any:
        """The next batch."""
        ...

    def skip(self) -> None:
        """Pass over the next batch: the position afterwards is the same, the batch is not made."""
        ...

    def state(self) -> dict[str, Any]:
        """Position, as plain values for JSON."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored position."""
        ...


class Prefetched(Generic[Ready]):
    """Endless prepared batches of one stream, made by processes that stay one batch ahead.

    Args:
        stream: Read by every process; none of them changes the caller's.
        prepare: Makes of a batch what the caller takes; runs in the processes.
        workers: Number of processes, 1 or more.
    """

    def __init__(self, stream: Stream, prepare: Callable[[Any], Ready], *, workers: int) -> None:
        self._stream, self._prepare, self._num_workers = stream, prepare, workers
        self._state = stream.state()
        self._taken = 0  # since the processes started
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def __iter__(self) -> Prefetched[Ready]:
        return self

    def __next__(self) -> Ready:
        if not self._workers:
            for number in range(self._num_workers):
                inherited = [ours for _, ours in self._workers]
                walk = (self._stream, self._prepare, number, self._num_workers)
                self._workers.append(_start(walk, inherited))
        _, connection = self._workers[self._taken % self._num_workers]
        try:
            batch, state = pickle.loads(connection.recv_bytes())
        except EOFError:
            self.close()
            raise DataError(
                "a process that makes batches has ended",
                remedy="It was probably out of memory: lower batch.workers. The last checkpoint is good.",
            ) from None
        if isinstance(batch, MoseError):
            self.close()
            raise batch
        self._state = state
        self._taken += 1
        return batch  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        """Position of the stream, as plain values for JSON."""
        return self._state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored position.

        Raises:
            DataError: The data is not that of the stored position.
        """
        self.close()
        self._stream.load_state(state)
        self._state = self._stream.state()

    def close(self) -> None:
        """End the processes; batches that they made ahead are made again by the next call."""
        for process, connection in self._workers:
            connection.close()
            process.kill()
            process.join()
        self._workers, self._taken = [], 0
        self._stream.load_state(self._state)


@contextmanager
def prefetching(stream: Stream, prepare: Callable[[Any], Any], *, workers: int) -> Iterator[Any]:
    """The stream as batches made ahead, whose processes end with the block; the stream itself without workers."""
    if not workers:
        yield stream
        return
    batches = Prefetched(stream, prepare, workers=workers)
    try:
        yield batches
    finally:
        batches.close()


def _context() -> BaseContext:
    """Forked processes share the data; without fork, each gets a copy."""
    return multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")


def _start(
    walk: tuple[Stream, Callable[[Any], Any], int, int], inherited: Sequence[Connection]
) -> tuple[BaseProcess, Connection]:
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_walk, args=(*walk, theirs, [*inherited, ours]), daemon=True)  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    return process, ours


def _walk(
    stream: Stream,
    prepare: Callable[[Any], Any],
    number: int,
    step: int,
    out: Connection,
    inherited: Sequence[Connection],
) -> None:
    """Run one process: send batches and positions until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains
    for connection in inherited:  # else an end of the process that trains would go unnoticed
        connection.close()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    passed = number
    try:
        while True:
            batch: object
            try:
                for _ in range(passed):
                    stream.skip()
                batch = prepare(next(stream))
            except MoseError as error:
                batch = error
            out.send_bytes(pickle.dumps((batch, stream.state()), protocol=pickle.HIGHEST_PROTOCOL))
            if isinstance(batch, MoseError):
                return
            passed = step - 1
    except (BrokenPipeError, OSError):
        return
