"""Batches made and tokenised ahead of the step, in separate processes.

In: one stream of ``PairBatch`` for each process. Out: ``StepBatch``, from the streams in turn, so that the order is
the same on every machine. The position of each stream comes with its batch and goes into the checkpoint.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from mose.data.batches import PairBatch, PairBatches
from mose.errors import MoseError
from mose.train.loop import TrainingError
from mose.train.retrieval.inputs import StepBatch

Prepare = Callable[[PairBatch], StepBatch]


class Prefetched:
    """Endless prepared batches; each stream is read by a process that stays one batch ahead.

    Args:
        streams: Read in turn; each needs its own seed.
        prepare: Tokenises a batch; runs in the processes.
    """

    def __init__(self, streams: Sequence[PairBatches], prepare: Prepare) -> None:
        self._streams = list(streams)
        self._prepare = prepare
        self._states = [stream.state() for stream in self._streams]
        self._step = 0
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def __iter__(self) -> Prefetched:
        return self

    def __next__(self) -> StepBatch:
        if not self._workers:
            for stream in self._streams:
                self._workers.append(_start(stream, self._prepare, [ours for _, ours in self._workers]))
        number = self._step % len(self._streams)
        try:
            batch, state = pickle.loads(self._workers[number][1].recv_bytes())
        except EOFError:
            self.close()
            raise TrainingError(
                "a process that makes batches has ended",
                remedy="It was probably out of memory: lower batch.workers. The last checkpoint is good.",
            ) from None
        if isinstance(batch, MoseError):
            self.close()
            raise batch
        assert isinstance(batch, StepBatch)
        self._states[number] = state
        self._step += 1
        return replace(batch, step=self._step - 1)

    def state(self) -> dict[str, Any]:
        """Position, as plain values for JSON."""
        return {"step": self._step, "streams": self._states}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored position.

        Raises:
            DataError: The sources are not those of the stored position.
        """
        self.close()
        for stream, stored in zip(self._streams, state["streams"], strict=True):
            stream.load_state(stored)
        self._states = list(state["streams"])
        self._step = state["step"]

    def close(self) -> None:
        """End the processes; batches that they made ahead are made again by the next call."""
        for process, connection in self._workers:
            connection.close()
            process.kill()
            process.join()
        self._workers = []
        for stream, state in zip(self._streams, self._states, strict=True):
            stream.load_state(state)


def _context() -> BaseContext:
    """Forked processes share the data; without fork, each gets a copy."""
    return multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")


def _start(stream: PairBatches, prepare: Prepare, inherited: Sequence[Connection]) -> tuple[BaseProcess, Connection]:
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_walk, args=(stream, prepare, theirs, [*inherited, ours]), daemon=True)  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    return process, ours


def _walk(stream: PairBatches, prepare: Prepare, out: Connection, inherited: Sequence[Connection]) -> None:
    """Run one process: send batches and positions until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains
    for connection in inherited:  # else an end of the process that trains would go unnoticed
        connection.close()
    torch.set_num_threads(1)
    try:
        while True:
            batch: object
            try:
                batch = prepare(next(stream))
            except MoseError as error:
                batch = error
            out.send_bytes(pickle.dumps((batch, stream.state()), protocol=pickle.HIGHEST_PROTOCOL))
            if isinstance(batch, MoseError):
                return
    except (BrokenPipeError, OSError):
        return
