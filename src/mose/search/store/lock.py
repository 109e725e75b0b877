"""The right to write an index: one process at a time, given back by the system when its holder is killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mose.errors import IndexReplacedError
from mose.progress import Progress, ProgressCallback, no_progress
from mose.search.store.location import unwritable

LOCK_NAME = "write.lock"
SHORT_WAIT_S = 0.25
"""A writer that only appends a window of vectors is done within this time."""
_POLL_S = 0.02


@contextmanager
def writer_lock(folder: Path, *, wait: bool, progress: ProgressCallback = no_progress) -> Iterator[bool]:
    """Hold the write lock; yield False if another process has it and ``wait`` is False.

    Args:
        folder: The base folder of the index (`mose.search.store.location.base_folder`).
        wait: Wait for as long as it takes.
        progress: Called once with the stage "wait" if there is a wait worth reporting.

    Raises:
        IndexReplacedError: The folder is gone.
        CodeIndexError: The lock file cannot be written.
    """
    deadline = time.monotonic() + SHORT_WAIT_S
    reported = False
    while (release := _try_lock(folder / LOCK_NAME)) is None:
        if time.monotonic() > deadline:
            if not wait:
                yield False
                return
            if not reported:
                progress(Progress("wait", 0, 0))
                reported = True
        time.sleep(_POLL_S)
    try:
        yield True
    finally:
        release()


def _try_lock(path: Path) -> Callable[[], None] | None:
    """What gives the lock back, None if another has it."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        return _try_file_lock(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError as error:
        raise IndexReplacedError(f"the index in {path.parent} was removed meanwhile") from error
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
            return lambda: os.close(descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass  # another has it, or has just removed the index
    except OSError as error:
        os.close(descriptor)
        raise unwritable(path, error) from error
    os.close(descriptor)
    return None


def _try_file_lock(path: Path) -> Callable[[], None] | None:
    from filelock import FileLock, Timeout  # imported here alone: it takes longer than most refreshes

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except OSError as error:
        raise unwritable(path, error) from error
    return lock.release
