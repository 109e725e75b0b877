"""Child processes that answer items under limits: how they are started, asked, ended, and kept for the next time."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mose import processes
from mose.limited import read_frame, write_frame

if TYPE_CHECKING:
    import subprocess

TOO_LONG = "took too long"
TOO_LARGE = "needed too much memory"
CRASHED = "crashed the parser"
KILLED = "was interrupted"
NO_PROCESS = "no process could be started"
FAILURES = frozenset({TOO_LONG, TOO_LARGE, CRASHED, KILLED, NO_PROCESS})
"""Reasons of a `Failure` that are not exceptions."""
_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer for an item."""

    reason: str
    may_pass: bool = False
    """True if trying again may help: the fault was perhaps not the item's."""
    detail: str = ""
    """For the log: the exception, or how the process ended."""


@dataclass(slots=True)
class Worker:
    """A child that answers each frame by one frame, in order."""

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
            bufsize=_BUFFER_BYTES,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the caller's business
        )

    def send(self, messages: Sequence[bytes]) -> None:
        """Send items, or the `Call` that says what to do with those that follow."""
        assert self._child.stdin is not None
        with suppress(OSError, ValueError):  # it has died, as receive() will tell
            for message in messages:
                write_frame(self._child.stdin, message)
            self._child.stdin.flush()

    def receive(self) -> bytes | None:
        """The next answering frame, None if the process has died."""
        assert self._child.stdout is not None
        try:
            return read_frame(self._child.stdout)
        except (OSError, ValueError):
            return None

    def kill(self) -> None:
        """End it at once, whatever it is doing; nobody gets its answer."""
        self._killed = True
        self._child.kill()

    def stop(self) -> None:
        """End one that nobody waits for."""
        self.kill()
        self.end()

    def end(self) -> Failure:
        """Kill what may be left of a process that has died, and say how it ended."""
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
        """Whether it lives, and is ours: not that of a process of which this one is a fork."""
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


_idle: list[Worker] = []
"""At most one process, for the next time; a fork of this process leaves it alone."""


def start_early(module: str) -> None:
    """Start a process for a `run_each` of a module's function while this one still imports what it needs."""
    if not _idle and sys.executable:
        with suppress(OSError):
            _idle.append(Worker(module))


def take(module: str) -> Worker:
    """The worker that is kept, or a new one.

    Raises:
        OSError: No process can be started.
    """
    while _idle:
        worker = _idle.pop()
        if worker.is_usable():
            return worker
        if worker.owner == os.getpid():
            worker.stop()
    return Worker(module)


def keep(worker: Worker) -> None:
    """Keep a worker that has nothing left to do for the next time, or end it."""
    if worker.is_usable() and not _idle:
        _idle.append(worker)
    else:
        worker.stop()


def stop_idle() -> None:
    """End the process that is kept for the next time."""
    while _idle:
        worker = _idle.pop()
        if worker.owner == os.getpid():
            worker.stop()


atexit.register(stop_idle)
