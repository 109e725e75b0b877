"""Counters and times of the server, in the text format that Prometheus reads. No label holds anything a user wrote."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STAGES = {
    "queue": "Seconds that a request waited for a thread.",
    "tokenisation": "Seconds of turning the texts of a request into tokens.",
    "encoding": "Seconds from a request's first text in the model to its last vector.",
    "search": "Seconds of a search, the model's part included.",
}
"""Name of a stage -> what it measures."""


class _Times:
    """How many times fell into each bucket, and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_S) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BOUNDS_S, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        num_below = 0
        for bound, count in zip((*_BOUNDS_S, "+Inf"), self.counts, strict=True):
            num_below += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {num_below}'
        yield f"{name}_sum{{{labels}}} {self.total:.6f}"
        yield f"{name}_count{{{labels}}} {num_below}"


class Metrics:
    """Counts requests by route and status, and times of stages by exit; any thread may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, int], int] = {}
        self._times: dict[str, dict[str, _Times]] = {stage: {} for stage in STAGES}

    def count_request(self, route: str, status: int) -> None:
        """Count an answered or refused request.

        Args:
            route: A path that the server knows, or "other".
            status: Of the response.
        """
        with self._lock:
            self._requests[route, status] = self._requests.get((route, status), 0) + 1

    def add_time(self, stage: str, exit_layer: int | None, seconds: float) -> None:
        """Add the time of a stage of one request; an exit of None means that words alone were compared."""
        with self._lock:
            times = self._times[stage]
            times.setdefault("none" if exit_layer is None else str(exit_layer), _Times()).add(seconds)

    @contextmanager
    def timed(self, stage: str, exit_layer: int | None) -> Iterator[None]:
        """Add the time of the block, unless it raises."""
        started = time.perf_counter()
        yield
        self.add_time(stage, exit_layer, time.perf_counter() - started)

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All values as text.

        Args:
            gauges: Name -> what it means and its value now.
        """
        lines = []
        for name, (meaning, value) in gauges.items():
            lines += [f"# HELP mose_{name} {meaning}", f"# TYPE mose_{name} gauge", f"mose_{name} {value:g}"]
        lines += ["# HELP mose_requests_total Requests by route and status.", "# TYPE mose_requests_total counter"]
        with self._lock:
            for (route, status), count in sorted(self._requests.items()):
                lines.append(f'mose_requests_total{{route="{route}",status="{status}"}} {count}')
            for stage, meaning in STAGES.items():
                name = f"mose_{stage}_seconds"
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} histogram"]
                for exit_layer, times in sorted(self._times[stage].items()):
                    lines += times.lines(name, f'exit="{exit_layer}"')
        return "\n".join(lines) + "\n"
