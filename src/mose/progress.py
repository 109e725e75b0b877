"""One way to report long work: a keyword argument ``progress``, called with a `Progress` after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of one stage of the work is done."""

    stage: str
    """Such as "walk", "cut" or "exit 6"; "wait" while another process writes what is to be written."""
    done: int
    total: int
    """0 if it is not known."""


ProgressCallback = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Report to nobody: the default of an argument ``progress``."""
