"""An interrupted training ends after a whole step."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class Interruption:
    """Turns the first Ctrl-C (or SIGTERM) into a flag, so that a step is never cut in half."""

    def __enter__(self) -> Interruption:
        self.asked = False
        self._before: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # only the main thread can handle signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
