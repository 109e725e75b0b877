"""How good search is on a tree at each exit, measured by `mose eval-repo` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mose import processes
from mose.errors import ConfigError
from mose.storage import home_environment

NUM_QUERIES = 40
"""Of each kind: documentation, history and tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitQuality:
    """NDCG@10 of words and vectors together at an exit, with its 95 % interval."""

    exit: int
    ndcg: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measurement of a tree."""

    state: str
    """"none", "running", "done" or "failed"."""
    seconds: float = 0.0
    num_queries: int = 0
    exits: tuple[ExitQuality, ...] = ()
    message: str = ""
    """Why it failed."""


class Measuring:
    """Measures trees, one at a time, and keeps what was found for as long as the server runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Path, Measured] = {}
        self._running: tuple[Path, subprocess.Popen[str], float] | None = None

    def begin(self, root: Path) -> None:
        """Start to measure a tree, unless that runs already.

        Raises:
            ConfigError: Another tree is being measured.
        """
        with self._lock:
            if self._running is not None:
                if self._running[0] != root:
                    raise ConfigError("another tree is being measured", remedy="Ask again when that is done.")
                return
            process = subprocess.Popen(
                processes.mose_command(
                    "eval-repo", str(root), "--all-exits", "--queries", str(NUM_QUERIES), "--json", "--quiet"
                ),
                cwd=processes.ROOT,
                env=home_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
            self._running = root, process, time.monotonic()
        threading.Thread(target=self._wait, args=(root, process), daemon=True).start()

    def state(self, root: Path) -> Measured:
        """How far the measurement of a tree is, and what it found."""
        with self._lock:
            if self._running is not None and self._running[0] == root:
                return Measured(state="running", seconds=time.monotonic() - self._running[2])
            return self._found.get(root, Measured(state="none"))

    def stop(self) -> None:
        """End the measurement that runs."""
        with self._lock:
            if self._running is not None:
                self._running[1].kill()

    def _wait(self, root: Path, process: subprocess.Popen[str]) -> None:
        out, err = process.communicate()
        with self._lock:
            assert self._running is not None
            seconds = time.monotonic() - self._running[2]
            self._running = None
            if process.returncode:
                message = err.strip() or f"it ended with status {process.returncode}"
                self._found[root] = Measured(state="failed", seconds=seconds, message=message)
            else:
                self._found[root] = _measured(json.loads(out), seconds)


def _measured(report: Any, seconds: float) -> Measured:
    """The rows of words and vectors together, over all kinds of questions."""
    summary = report["scores"][0]
    exits = tuple(
        ExitQuality(exit=int(row["system"].removeprefix("fused ")), ndcg=row["ndcg"], low=row["low"], high=row["high"])
        for row in summary["rows"]
        if row["system"].startswith("fused ")
    )
    return Measured(state="done", seconds=seconds, num_queries=summary["num_queries"], exits=exits)
