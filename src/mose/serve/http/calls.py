"""One request that is being answered, and the threads that do it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from mose.serve.fields import Fields

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is being answered."""

    body: bytes
    fields: Fields
    """What the body may hold."""
    cancelled: threading.Event
    """Set once the answer is no longer wanted."""
    arrived: float
    """By ``time.perf_counter``."""

    def values(self) -> dict[str, Any]:
        """The fields of the body.

        Raises:
            ConfigError: The body is not what it may be.
        """
        return self.fields.read(self.body)


async def run_in(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """The result of the work, done in one of the threads."""
    return await asyncio.get_running_loop().run_in_executor(threads, work)
