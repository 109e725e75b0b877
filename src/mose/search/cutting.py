"""Reading and cutting files for the index, in worker processes where there are many.

Workers are plain child processes that speak over pipes: they import nothing of the caller's (so a script
needs no ``__main__`` guard), they are not forks of a process with threads, and they end by themselves when
the caller is killed. A file that kills its worker is left out and counted, whatever the parser did.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO

from mose.files import WalkLimits
from mose.search.chunks import ChunkerConfig
from mose.search.preparing import CutFile, CutTask, cut_file

CRASHED = "crashed the parser"
GROUP_BYTES = 262_144
GROUP_FILES = 64
MIN_POOL_BYTES = 1_500_000
"""Less than this is cut sooner than workers start."""
MAX_WORKERS = 4
"""More would only wait for this process, which stores and embeds what they cut."""


def cut_files(
    root: Path,
    tasks: Sequence[CutTask],
    limits: WalkLimits,
    config: ChunkerConfig,
    *,
    num_workers: int | None = None,
) -> Iterator[CutFile]:
    """Files read and cut, in the order given.

    Args:
        root: The source tree.
        tasks: The files.
        limits: Which content is no source.
        config: How to cut.
        num_workers: Processes; None for `worker_count`, 0 for this process.
    """
    if num_workers is None:
        num_workers = worker_count(tasks)
    if num_workers == 0 or not tasks or not sys.executable:
        for task in tasks:
            yield cut_file(root, task, limits, config)
        return
    setting = (root, limits, config)
    workers = [_Worker(setting) for _ in range(num_workers)]
    waiting: deque[tuple[_Worker, list[CutTask]]] = deque()
    groups = _groups(tasks)
    try:
        for group in groups:
            worker = min(workers, key=lambda worker: worker.num_waiting)
            worker.send(group)
            waiting.append((worker, group))
            if len(waiting) > 3 * num_workers:
                yield from _next_result(waiting, workers, setting)
        while waiting:
            yield from _next_result(waiting, workers, setting)
    finally:
        for worker in workers:
            worker.stop()


def worker_count(tasks: Sequence[CutTask]) -> int:
    """Processes that are worth their start, 0 if none is."""
    total_bytes = sum(task.file.size_bytes for task in tasks)
    return min(os.cpu_count() or 1, MAX_WORKERS) if total_bytes > MIN_POOL_BYTES else 0


def _groups(tasks: Iterable[CutTask]) -> Iterator[list[CutTask]]:
    group: list[CutTask] = []
    size_bytes = 0
    for task in tasks:
        group.append(task)
        size_bytes += task.file.size_bytes
        if size_bytes >= GROUP_BYTES or len(group) >= GROUP_FILES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


_Setting = tuple[Path, WalkLimits, ChunkerConfig]


def _next_result(
    waiting: deque[tuple[_Worker, list[CutTask]]], workers: list[_Worker], setting: _Setting
) -> list[CutFile]:
    worker, group = waiting.popleft()
    result = worker.receive()
    if result is not None:
        return result
    worker.stop()
    replacement = _Worker(setting)
    workers[workers.index(worker)] = replacement
    for place, (owner, later) in enumerate(waiting):
        if owner is worker:
            replacement.send(later)
            waiting[place] = (replacement, later)
    return [_cut_alone(task, setting) for task in group]


def _cut_alone(task: CutTask, setting: _Setting) -> CutFile:
    worker = _Worker(setting)
    try:
        worker.send([task])
        result = worker.receive()
    finally:
        worker.stop()
    if result is not None:
        return result[0]
    file = task.file
    return CutFile(file.path, b"", file.size_bytes, file.modified_ns, False, file.language, "", CRASHED, False, [])


class _Worker:
    """A child process that cuts groups of files, and a thread that takes in its results as they come."""

    def __init__(self, setting: _Setting) -> None:
        import subprocess

        program = f"import sys; sys.path[:] = {sys.path!r}; from mose.search.cutting import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the caller's business
        )
        self._results: SimpleQueue[bytes | None] = SimpleQueue()
        self.num_waiting = 0
        assert self._process.stdin is not None and self._process.stdout is not None
        self._thread = Thread(target=_drain, args=(self._process.stdout, self._results), daemon=True)
        self._thread.start()
        self._send(setting)

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has died, as receive() will tell
            _write_frame(self._process.stdin, pickle.dumps(message))

    def send(self, group: list[CutTask]) -> None:
        self.num_waiting += 1
        self._send(group)

    def receive(self) -> list[CutFile] | None:
        """The next group's files, None if the process has died."""
        self.num_waiting -= 1
        frame = self._results.get()
        if frame is None:
            self._results.put(None)
            return None
        files: list[CutFile] = pickle.loads(frame)
        return files

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what is left in its buffer has no reader any more
                    pipe.close()


def _drain(pipe: IO[bytes], results: SimpleQueue[bytes | None]) -> None:
    while (frame := _read_frame(pipe)) is not None:
        results.put(frame)
    results.put(None)


def _write_frame(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)
    pipe.flush()


def _read_frame(pipe: IO[bytes]) -> bytes | None:
    length = int.from_bytes(pipe.read(8), "little")
    data = pipe.read(length) if length else b""
    return data if length and len(data) == length else None


def serve() -> None:
    """What a worker does: takes groups of files from standard input until it is closed."""
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write between the frames
    first = _read_frame(source)
    if first is None:
        return
    root, limits, config = pickle.loads(first)
    while (frame := _read_frame(source)) is not None:
        files = [cut_file(root, task, limits, config) for task in pickle.loads(frame)]
        try:
            _write_frame(target, pickle.dumps(files, protocol=5))
        except BrokenPipeError:
            os._exit(0)
