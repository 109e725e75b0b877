"""Run one function over many items in child processes that may crash, hang or run out of memory.

Each item is on its own: an answer, or a `Failure` that says why there is none. The children are plain processes that
speak over pipes: they import nothing of the caller's (so a script needs no ``__main__`` guard), they are not forks of
a process with threads, and they end by themselves when the caller is killed.

`run_each` is the one way to do this, and callers know only its signature. Another executor, such as that of
`mose.scale.cluster`, is another function of this signature. It must

- import the function by its module and name, and send ``shared`` once and not with each item;
- take items as they are needed, and give answers in their order;
- keep to the limits of each item, and try the item of a process that died once more;
- give a `Failure` for whatever goes wrong with an item, and raise nothing but what the iterator of items raises;
- stop all work when its iterator is closed.

Memory and processor time are limited by the kernel. Windows has neither limit and macOS does not keep to that of
memory; there, only the clock of the caller ends a function that hangs. (Neither system has been tried.)
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from mose.limited import Call
from mose.workers import CRASHED, KILLED, NO_PROCESS, TOO_LARGE, Failure, Worker, keep, take

Item = TypeVar("Item")
Answer = TypeVar("Answer")

RunEach = Callable[..., Iterator[Any]]
"""A function with the signature of `run_each`."""
_TRIED_AGAIN = frozenset({TOO_LARGE, CRASHED, KILLED})
MAX_AHEAD_WEIGHT = 4_000_000
"""A lane is given no more than this before its first answers are taken, and one item at least."""
MAX_AHEAD_BYTES = 4_096
"""No more than this is sent ahead of the item that a process works on: what every pipe takes without being read, for
a process whose answer nobody reads yet does not read either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one item may cost."""

    memory_bytes: int = 1_000_000_000
    """Address space of the process."""
    cpu_seconds: float = 3.0
    """Processor time, so that a busy machine is no reason to give up."""
    wall_seconds: float = 60.0
    """Time by the clock, for a process that is stopped or waits for a disk that does not answer."""


def run_each(
    function: Callable[..., Answer],
    items: Iterable[Item],
    *,
    shared: Sequence[object] = (),
    weigh: Callable[[Item], int] = lambda item: 1,
    num_workers: int = 1,
    limits: Limits | None = None,
) -> Iterator[Answer | Failure]:
    """``function(item, *shared)`` for every item, in order.

    A process that dies is replaced, and the item that it died of is tried once more.

    Args:
        function: Of a module that can be imported; what goes in and comes out can be pickled.
        items: Taken as they are needed.
        shared: Further arguments that all calls have in common.
        weigh: Size of an item, to share the work and to bound what waits.
        num_workers: Processes.
        limits: Of each call; the defaults if None.
    """
    limits = limits or Limits()
    call = pickle.dumps(Call(function, tuple(shared), limits.memory_bytes, limits.cpu_seconds), protocol=5)
    lanes = [_Lane(function.__module__, call, limits.wall_seconds) for _ in range(max(num_workers, 1))]
    order: deque[_Lane | Failure] = deque()
    try:
        for item in items:
            try:
                message = pickle.dumps(item, protocol=5)
            except Exception as error:  # whatever it is, the caller waits for an answer
                order.append(Failure(NO_PROCESS, True, repr(error)))
                continue
            weight = weigh(item)
            lane = min(lanes, key=lambda lane: lane.weight)
            while lane.weight and lane.weight + weight > MAX_AHEAD_WEIGHT:
                yield _next_answer(order, lanes)
                lane = min(lanes, key=lambda lane: lane.weight)
            lane.give(_Task(message, weight))
            order.append(lane)
        while order:
            yield _next_answer(order, lanes)
    finally:
        for lane in lanes:
            lane.close()


def _next_answer(order: deque[_Lane | Failure], lanes: list[_Lane]) -> Any:
    lane = order.popleft()
    if isinstance(lane, Failure):
        return lane
    while True:
        try:
            weight, answer = lane.answers.get(timeout=1.0)
        except Empty:
            for other in lanes:
                other.watch()
            continue
        lane.weight -= weight
        return answer


@dataclass(slots=True)
class _Task:
    """An item on its way."""

    message: bytes
    weight: int
    tried: bool = False


class _Lane:
    """A thread that asks one process after another for the answers of its items.

    A process has some items ahead of the one that it works on, so that it never waits for a busy caller. It answers
    in order: when it dies, it has died of the first item without an answer, and the others are sent to the next one.
    """

    def __init__(self, module: str, call: bytes, wall_seconds: float) -> None:
        self.weight = 0  # of the items without an answer that was taken
        self.answers: SimpleQueue[tuple[int, object]] = SimpleQueue()
        self._module, self._call, self._wall_seconds = module, call, wall_seconds
        self._given: SimpleQueue[_Task | None] = SimpleQueue()
        self._tasks: deque[_Task] = deque()  # without an answer
        self._num_sent = self._sent_bytes = 0  # of these, what the process has
        self._worker: Worker | None = None
        self._closed = False
        self._progress = 0  # answers and deaths so far
        self._watched = (0, 0)  # as of the last look: _progress, and seconds since it rose
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def give(self, task: _Task) -> None:
        self.weight += task.weight
        self._given.put(task)

    def watch(self) -> None:
        """Called about every second while an answer is waited for; counted, so that a stopped caller is not a delay."""
        progress, seconds = self._watched
        is_stuck = self._num_sent > 0 and progress == self._progress
        self._watched = (self._progress, seconds + 1 if is_stuck else 0)
        worker = self._worker
        if worker is not None and self._watched[1] > self._wall_seconds:
            worker.timed_out = True
            worker.kill()

    def close(self) -> None:
        """End the thread; keep the process for the next time if it has nothing left to do."""
        self._closed = True
        self._given.put(None)
        if self.weight and self._worker is not None:
            self._worker.kill()
        self._thread.join()
        if self._worker is not None:
            keep(self._worker)

    def _work(self) -> None:
        while self._take_in():
            if self._worker is None:
                try:
                    self._worker = take(self._module)
                except Exception as error:  # whatever it is, the caller waits for an answer
                    self._answer(Failure(NO_PROCESS, True, str(error)))
                    continue
                self._worker.send([self._call])
            if not self._closed:
                self._send(self._worker)
                self._receive(self._worker)

    def _take_in(self) -> bool:
        """Take what was given, and wait for it if there is nothing to do; return False at the end."""
        with suppress(Empty):
            while (task := self._given.get(block=not self._tasks)) is not None:
                self._tasks.append(task)
            return False
        return not self._closed

    def _send(self, worker: Worker) -> None:
        """Send the first item, and those ahead once half of what may be ahead has been worked on."""
        if self._num_sent and self._sent_bytes > MAX_AHEAD_BYTES // 2:
            return
        messages = []
        for task in islice(self._tasks, self._num_sent, None):
            if self._num_sent and self._sent_bytes + len(task.message) > MAX_AHEAD_BYTES:
                break
            messages.append(task.message)
            self._num_sent += 1
            self._sent_bytes += len(task.message)
        worker.send(messages)

    def _receive(self, worker: Worker) -> None:
        """Wait for the answer to the first item, or for the end of the worker."""
        frame = worker.receive()
        if frame is not None:
            self._num_sent -= 1
            self._sent_bytes -= len(self._tasks[0].message)
            self._answer(_unpacked(frame))
            return
        self._worker = None
        self._num_sent = self._sent_bytes = 0
        failure = worker.end()
        if failure.reason in _TRIED_AGAIN and not self._tasks[0].tried:
            self._tasks[0].tried = True
            self._progress += 1
        else:
            self._answer(failure)

    def _answer(self, answer: object) -> None:
        self._progress += 1
        self.answers.put((self._tasks.popleft().weight, answer))


def _unpacked(frame: bytes) -> object:
    try:
        succeeded, answer = pickle.loads(frame)
    except Exception as error:  # whatever it is, the caller waits for an answer
        return Failure(NO_PROCESS, True, repr(error))
    return answer if succeeded else Failure(*answer)
