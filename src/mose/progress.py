"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of long work: ``stage`` is "wait", "walk", "cut", "words" or "exit 6"."""

    stage: str
    done: int
    total: int


ProgressCallback = Callable[[Progress], None]
