"""The second executor of `mose.parallel`: one function over many items on the machines of a Ray cluster.

Batches of items are Ray tasks; the task of each runs `mose.parallel.run_each` with one process on the machine that it
is sent to. So the limits of an item, its second try and its failures are those of that module, and Ray gives machines,
moves the items and begins a batch again whose machine or process was lost.

With ``RAY_ADDRESS`` in the environment that cluster is used. Without, one is started for this process, on this machine:
it listens on the loopback interface alone, has no dashboard, and reports its use to nobody.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from mose import parallel
from mose.errors import MissingExtraError, MoseError
from mose.parallel import MAX_AHEAD_WEIGHT, Limits
from mose.workers import KILLED, NO_PROCESS, Failure

Item = TypeVar("Item")
Answer = TypeVar("Answer")

BATCH_ITEMS = 64
BATCH_WEIGHT = MAX_AHEAD_WEIGHT // 8
"""A batch has no more items and no more weight, and one item at least."""
BATCHES_AHEAD = 2
"""For each process: while it works on one, the next is on its way."""
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": "1"}
_LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the address of this machine is 127.0.0.1, as it is there
    "RAY_agent_register_timeout_ms": "120000",  # on a busy machine
}
_ELSEWHERE = {"RAY_NUM_REDIS_GET_RETRIES": "2"}  # tries to reach the cluster, of 40 seconds each; else 20 of them
STORE_BYTES = 256_000_000
"""Of a cluster that is started here: items and answers on their way."""


def run_each(
    function: Callable[..., Answer],
    items: Iterable[Item],
    *,
    shared: Sequence[object] = (),
    weigh: Callable[[Item], int] = lambda item: 1,
    num_workers: int = 1,
    limits: Limits | None = None,
) -> Iterator[Answer | Failure]:
    """``function(item, *shared)`` for every item, in order; as `mose.parallel.run_each`.

    Args:
        function: Of a module that every machine of the cluster has.
        items: Taken as they are needed.
        shared: Further arguments that all calls have in common.
        weigh: Size of an item, to bound what is on its way.
        num_workers: Tasks at a time, each with one processor.
        limits: Of each call; the defaults if None.

    Raises:
        MissingExtraError: Ray is not installed.
        MoseError: Ray cannot be started, or the cluster not be reached.
    """
    limits = limits or Limits()
    num_workers = max(num_workers, 1)
    ray = _connected(num_workers, limits)
    call = ray.put(pickle.dumps((function, tuple(shared), limits), protocol=5))
    answer = ray.remote(num_cpus=1, memory=limits.memory_bytes, max_retries=1)(_answers)
    tasks: deque[tuple[Any, int]] = deque()
    try:
        for batch in _batches(items, weigh):
            while len(tasks) >= BATCHES_AHEAD * num_workers:
                yield from _taken(ray, tasks)
            tasks.append((answer.remote(call, batch), len(batch)))
        while tasks:
            yield from _taken(ray, tasks)
    finally:
        for task, _ in tasks:
            ray.cancel(task, force=True)


def _connected(num_workers: int, limits: Limits) -> Any:
    is_elsewhere = bool(os.environ.get("RAY_ADDRESS"))
    os.environ.update(_SETTINGS | (_ELSEWHERE if is_elsewhere else _LOOPBACK))  # read when the package is imported
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("the executor ray needs the package ray",
                                remedy="Install it with: pip install 'mose[scale]'") from error  # fmt: skip
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if not is_elsewhere:
        settings |= {"address": "local", "num_cpus": num_workers, "_memory": num_workers * limits.memory_bytes,
                     "include_dashboard": False, "object_store_memory": STORE_BYTES}  # fmt: skip
    try:
        if not ray.is_initialized():
            ray.init(**settings)
    except Exception as error:  # Ray raises that class itself
        remedy = "A busy machine may be why: try again later, or use --executor local."
        if is_elsewhere:
            remedy = (
                f"Check RAY_ADDRESS ({os.environ['RAY_ADDRESS']}); Ray and Python must have the same versions there."
            )
        raise MoseError(f"Ray did not start: {str(error).partition(chr(10))[0]}", remedy=remedy) from error
    return ray


def _batches(items: Iterable[Item], weigh: Callable[[Item], int]) -> Iterator[list[bytes | Failure]]:
    """Pickled items in batches; for one that cannot be pickled, its failure."""
    batch: list[bytes | Failure] = []
    weight = 0
    for item in items:
        size = weigh(item)
        if batch and (len(batch) == BATCH_ITEMS or weight + size > BATCH_WEIGHT):
            yield batch
            batch, weight = [], 0
        try:
            batch.append(pickle.dumps(item, protocol=5))
        except Exception as error:  # whatever it is, the caller waits for an answer
            batch.append(Failure(NO_PROCESS, True, repr(error)))
        weight += size
    if batch:
        yield batch


def _answers(call: bytes, batch: Sequence[bytes | Failure]) -> list[object]:
    """Run as a Ray task: the answers of one batch."""
    function, shared, limits = pickle.loads(call)
    sent = [pickle.loads(item) for item in batch if isinstance(item, bytes)]
    found = iter(parallel.run_each(function, sent, shared=shared, limits=limits))
    return [next(found) if isinstance(item, bytes) else item for item in batch]


def _taken(ray: Any, tasks: deque[tuple[Any, int]]) -> Iterator[Any]:
    """The answers of the oldest task; failures if Ray could not run it."""
    task, num_items = tasks[0]
    try:
        answers = ray.get(task)
    except ray.exceptions.RayError as error:
        answers = [Failure(KILLED, True, str(error))] * num_items
    tasks.popleft()
    yield from answers
