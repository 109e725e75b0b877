"""Signals that end a server."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


def handle_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call a function at the signals that end a process, except those ignored on purpose, as by ``nohup``."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
