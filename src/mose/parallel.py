"""Run one function over many items in child processes that may crash, hang or run out of memory.

Each item is on its own: an answer, or a `Failure` that says why there is none. The children are plain processes that
speak over pipes: they import nothing of the caller's (so a script needs no ``__main__`` guard), they are not forks of
a process with threads, and they end by themselves when the caller is killed.

Memory and processor time are limited by the kernel. Windows has neither limit and macOS does not keep to that of
memory; there, only the clock of the caller ends a function that hangs. (Neither system has been tried.)
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from mose import processes
from mose.limited import read_frame, write_frame

if TYPE_CHECKING:
    import subprocess

Item = TypeVar("Item")
Answer = TypeVar("Answer")

TOO_LONG = "took too long"
TOO_LARGE = "needed too much memory"
CRASHED = "crashed the parser"
KILLED = "was interrupted"
NO_PROCESS = "no process could be started"
FAILURES = frozenset({TOO_LONG, TOO_LARGE, CRASHED, KILLED, NO_PROCESS})
"""Reasons of a `Failure` that are not exceptions."""
_TRIED_AGAIN = frozenset({TOO_LARGE, CRASHED, KILLED})

MAX_AHEAD_WEIGHT = 1_000_000
"""A process is given no more than this before its first answers are taken, and one item at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one item may cost."""

    memory_bytes: int = 1_000_000_000
    """Address space of the process."""
    cpu_seconds: float = 3.0
    """Processor time, so that a busy machine is no reason to give up."""
    wall_seconds: float = 60.0
    """Time by the clock, for a process that is stopped or waits for a disk that does not answer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer for an item."""

    reason: str
    may_pass: bool = False
    """True if trying again may help: the fault was perhaps not the item's."""
    detail: str = ""
    """For the log: the exception, or how the process ended."""


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
    lanes = [_Lane(function, shared, limits or Limits()) for _ in range(max(num_workers, 1))]
    order: deque[_Lane] = deque()
    try:
        for item in items:
            weight = weigh(item)
            lane = min(lanes, key=lambda lane: lane.weight)
            while lane.weight and lane.weight + weight > MAX_AHEAD_WEIGHT:
                yield _next_answer(order, lanes)
                lane = min(lanes, key=lambda lane: lane.weight)
            lane.give(item, weight)
            order.append(lane)
        while order:
            yield _next_answer(order, lanes)
    finally:
        for lane in lanes:
            lane.close()


def start_early(module: str) -> None:
    """Start a process for a `run_each` of a module's function while this one still imports what it needs."""
    if not _idle and sys.executable:
        with suppress(OSError):
            _idle.append(_Process(module))


def _next_answer(order: deque[_Lane], lanes: list[_Lane]) -> Any:
    lane = order.popleft()
    while True:
        try:
            weight, answer = lane.answers.get(timeout=1.0)
        except Empty:
            for other in lanes:
                other.watch()
            continue
        lane.weight -= weight
        return answer


class _Lane:
    """A thread that asks one process after another for the answers of its items."""

    def __init__(self, function: Callable[..., object], shared: Sequence[object], limits: Limits) -> None:
        self.weight = 0  # of the items without an answer that was taken
        self.answers: SimpleQueue[tuple[int, object]] = SimpleQueue()
        self._function, self._shared, self._limits = function, tuple(shared), limits
        self._items: SimpleQueue[tuple[int, object] | None] = SimpleQueue()
        self._process: _Process | None = None
        self._closed = False
        self._asked = 0  # items and attempts so far
        self._watched = (0, 0)  # as of the last look: _asked, and seconds since it rose
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def give(self, item: object, weight: int) -> None:
        self.weight += weight
        self._items.put((weight, item))

    def watch(self) -> None:
        """Called about every second while an answer is waited for; counted, so that a stopped caller is not a delay."""
        asked, seconds = self._watched
        self._watched = (self._asked, seconds + 1 if asked == self._asked else 0)
        process = self._process
        if process is not None and self._watched[1] > self._limits.wall_seconds:
            process.timed_out = True
            process.kill()

    def close(self) -> None:
        """End the thread; keep the process for the next time if it has nothing left to do."""
        self._closed = True
        self._items.put(None)
        if self.weight and self._process is not None:
            self._process.kill()
        self._thread.join()
        if self._process is not None:
            _keep(self._process)

    def _work(self) -> None:
        while (given := self._items.get()) is not None and not self._closed:
            weight, item = given
            try:
                answer = self._ask(item)
                if isinstance(answer, Failure) and answer.reason in _TRIED_AGAIN and not self._closed:
                    answer = self._ask(item)
            except Exception as error:  # whatever it is, the caller waits for an answer
                answer = Failure(NO_PROCESS, True, repr(error))
            self.answers.put((weight, answer))

    def _ask(self, item: object) -> object:
        """The answer to one item, or the failure."""
        self._asked += 1
        if self._process is None:
            try:
                self._process = _take(self._function.__module__)
            except OSError as error:
                return Failure(NO_PROCESS, True, str(error))
        message = (self._function, self._shared, item, self._limits.memory_bytes, self._limits.cpu_seconds)
        frame = self._process.ask(pickle.dumps(message, protocol=5))
        if frame is not None:
            succeeded, answer = pickle.loads(frame)
            return answer if succeeded else Failure(*answer)
        failure = self._process.end()
        self._process = None
        return failure


@dataclass(slots=True)
class _Process:
    """A child that answers one frame by one frame."""

    module: str
    timed_out: bool = False
    _killed: bool = False
    owner: int = field(default_factory=os.getpid)
    _child: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        import subprocess

        self._child = subprocess.Popen(
            processes.python_command(f"from mose.limited import serve; serve({self.module!r})"),
            cwd=processes.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the caller's business
        )

    def ask(self, message: bytes) -> bytes | None:
        """The answering frame, None if the process has died."""
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            write_frame(self._child.stdin, message)
            return read_frame(self._child.stdout)
        except (OSError, ValueError):
            return None

    def kill(self) -> None:
        self._killed = True
        self._child.kill()

    def end(self) -> Failure:
        """Kill what may be left of it, and say how it ended."""
        import subprocess

        with suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=0.5)  # its pipes close a moment before it can be waited for
        self.kill()
        code = self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with suppress(OSError):  # what is left in its buffer has no reader any more
                    pipe.close()
        return _failure(code, timed_out=self.timed_out)

    def is_usable(self) -> bool:
        return self.owner == os.getpid() and not self._killed and self._child.poll() is None


def _failure(code: int, *, timed_out: bool) -> Failure:
    detail = f"the process ended with {code}"
    name = next((known.name for known in signal.Signals if known == -code), "")
    if timed_out or name == "SIGPROF":
        return Failure(TOO_LONG, timed_out, detail)
    if name == "SIGABRT":  # what a grammar does that is given no memory
        return Failure(TOO_LARGE, False, detail)
    if name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"):
        return Failure(KILLED, True, detail)
    return Failure(CRASHED, False, detail)


_idle: list[_Process] = []
"""At most one process, for the next time; a fork of this process leaves it alone."""


def _take(module: str) -> _Process:
    while _idle:
        process = _idle.pop()
        if process.is_usable():
            return process
        if process.owner == os.getpid():
            process.end()
    return _Process(module)


def _keep(process: _Process) -> None:
    if process.is_usable() and not _idle:
        _idle.append(process)
    else:
        process.end()


def stop_idle() -> None:
    """End the process that is kept for the next time."""
    while _idle:
        process = _idle.pop()
        if process.owner == os.getpid():
            process.kill()
            process.end()


atexit.register(stop_idle)
