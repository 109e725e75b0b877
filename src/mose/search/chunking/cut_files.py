"""Reading and cutting files for the index, in worker processes.

A file whose parser kills its worker is cut by lines, and left out only if that fails too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mose.files import WalkLimits
from mose.files.disk import FolderReader
from mose.parallel import run_each
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.chunking.prepare import CutFile, CutTask, cut_file, file_as_known
from mose.syntax import parser_of
from mose.workers import NO_PROCESS, Failure

ONE_WORKER_BYTES = 1_500_000
"""Fewer bytes are cut in less time than a second worker takes to start."""
MAX_WORKERS = 4
"""More workers would wait for this process, which stores and embeds the chunks."""
_TASK_BYTES = 16_000
"""Cost of a file besides its content, in bytes of content."""


def cut_files(
    root: Path,
    tasks: Sequence[CutTask],
    limits: WalkLimits,
    config: ChunkerConfig,
    *,
    num_workers: int | None = None,
) -> Iterator[CutFile]:
    """Read and cut files: first those that have the text that the index knows, each group in the order given.

    Args:
        root: The source tree.
        tasks: The files.
        limits: Which content is left out.
        config: How to cut.
        num_workers: Processes; None for `worker_count`, 0 for this process, which a file may then kill.
    """
    rest = []
    with FolderReader(os.fspath(root)) as reader:
        for task in tasks:
            same = file_as_known(task, reader, limits)
            if same is not None:
                yield same
            else:
                rest.append(task)
    if rest:
        yield from _cut_each(root, rest, limits, config, worker_count(rest) if num_workers is None else num_workers)


def _cut_each(
    root: Path, tasks: Sequence[CutTask], limits: WalkLimits, config: ChunkerConfig, num_workers: int
) -> Iterator[CutFile]:
    shared = (root.absolute(), limits, config)
    if num_workers == 0 or not sys.executable:
        for task in tasks:
            yield cut_file(task, *shared)
        return
    found = run_each(cut_file, tasks, shared=shared, weigh=_weight, num_workers=num_workers)
    for task, cut in zip(tasks, found, strict=True):
        yield _cut_by_lines(task, cut, shared) if isinstance(cut, Failure) else cut


def worker_count(tasks: Sequence[CutTask]) -> int:
    """Number of processes that are worth starting."""
    total_bytes = sum(task.file.size_bytes for task in tasks)
    return min(os.cpu_count() or 1, MAX_WORKERS) if total_bytes > ONE_WORKER_BYTES else min(len(tasks), 1)


def _weight(task: CutTask) -> int:
    return task.file.size_bytes + _TASK_BYTES


def _cut_by_lines(task: CutTask, failure: Failure, shared: tuple[Path, WalkLimits, ChunkerConfig]) -> CutFile:
    """Cut a file by lines that could not be cut along its definitions."""
    from logging import getLogger

    getLogger(__name__).info("%s %s: %s", task.file.path, failure.reason, failure.detail)
    may_pass = failure.may_pass and not task.tried_before
    plainly = replace(task, trouble=failure.reason)
    cut: CutFile | Failure
    if failure.reason == NO_PROCESS:
        cut = cut_file(plainly, *shared)
    else:
        (cut,) = run_each(cut_file, [plainly], shared=shared)
    if isinstance(cut, Failure):
        getLogger(__name__).warning("%s is left out, it %s: %s", task.file.path, cut.reason, cut.detail)
        may_pass = cut.may_pass and not task.tried_before
        cut = CutFile(
            path=task.file.path,
            hash=b"",
            size_bytes=task.file.size_bytes,
            modified_ns=task.file.modified_ns,
            changed_ns=task.file.changed_ns,
            inode=task.file.inode,
            doubtful=False,
            language=task.file.language,
            cut_by=parser_of(task.file.language),
            skipped=cut.reason,
        )
    return cut._replace(doubtful=cut.doubtful or may_pass)
