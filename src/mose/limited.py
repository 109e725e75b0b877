"""The child's side of `mose.parallel`: answers one item after another under limits of memory and time.

Imports as little as it can, for a search waits for its start.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import IO


class Call(NamedTuple):
    """What is done with the items that follow."""

    function: Callable[..., object]
    shared: tuple[object, ...]  # its further arguments
    memory_bytes: int  # address space of the process
    cpu_seconds: float  # for each item


def write_frame(pipe: IO[bytes], data: bytes) -> None:
    """Write bytes so that `read_frame` gives them back, once the pipe is flushed."""
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)


def read_frame(pipe: IO[bytes]) -> bytes | None:
    """The next bytes that were written to a pipe, None at its end."""
    length = int.from_bytes(pipe.read(8), "little")
    data = pipe.read(length) if length else b""
    return data if length and len(data) == length else None


def serve(module: str) -> None:
    """Answer what comes from standard input until it is closed.

    Args:
        module: Imported before the first item comes.
    """
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write between the frames
    _limit("RLIMIT_CORE", 0)  # a crash is expected here and worth no file
    with suppress(ImportError):
        import_module(module)
    call: Call | None = None
    while (frame := read_frame(source)) is not None:
        message = pickle.loads(frame)
        if isinstance(message, Call):
            call = message
            _limit("RLIMIT_AS", call.memory_bytes)
            continue
        assert call is not None
        _set_timer(call.cpu_seconds)
        answer = _answer(call, message)
        _set_timer(0)
        try:
            write_frame(target, answer)
            target.flush()
        except BrokenPipeError:
            os._exit(0)


def _answer(call: Call, item: object) -> bytes:
    try:
        return pickle.dumps((True, call.function(item, *call.shared)), protocol=5)
    except MemoryError:
        os.abort()
    except Exception as error:
        import traceback

        return pickle.dumps((False, (f"failed ({type(error).__name__})", False, traceback.format_exc())))


def _limit(name: str, value: int) -> None:
    """Set a limit of the kernel where there is such a thing."""
    try:
        import resource
    except ImportError:  # Windows
        return
    kind = getattr(resource, name, None)
    if kind is None:
        return
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _set_timer(cpu_seconds: float) -> None:
    """End this process when it has used that much processor time, in whatever code it is; 0 for no end."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
