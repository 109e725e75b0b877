"""Scores of search over a golden set, for words, vectors and both, exit by exit.

Shapes: S systems, Q queries, M metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError
from mose.evaluate.repository.benchmark import Location, ndcg_at_10
from mose.evaluate.repository.values import GoldenQuery
from mose.progress import Progress, ProgressCallback, no_progress
from mose.search.hits import Hit
from mose.search.index import CodeIndex
from mose.search.options import Mode, SearchOptions

METRICS = ("ndcg@10", "recall@10", "recall in tokens")
CHARS_PER_TOKEN = 4
"""Characters of code for one token of a language model, about."""
DEFAULT_BUDGET_TOKENS = 4_000

_CHARS_A_HIT = 400
_MIN_HITS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One way to search."""

    mode: Mode
    exit: int | None = None
    """Depth of its vectors; None for words alone."""

    @property
    def name(self) -> str:
        """Name in tables and baselines: "lexical", "dense 6", "fused 0"."""
        return self.mode if self.exit is None else f"{self.mode} {self.exit}"


def systems_of(exits: Sequence[int]) -> tuple[System, ...]:
    """Words alone, then vectors alone and both at every exit."""
    return (
        System(mode="lexical"),
        *(System(mode="dense", exit=exit_layer) for exit_layer in exits),
        *(System(mode="fused", exit=exit_layer) for exit_layer in exits),
    )


def chosen_exits(ladder: Sequence[int], asked: Sequence[int] = (), *, all_exits: bool = False) -> tuple[int, ...]:
    """The exits to measure: those asked for, all, or the shallowest and the deepest.

    Raises:
        ConfigError: The model has no such exit.
    """
    for exit_layer in asked:
        if exit_layer not in ladder:
            raise ConfigError("--exit", got=exit_layer, allowed=", ".join(map(str, ladder)))
    if all_exits:
        return tuple(ladder)
    return tuple(sorted(set(asked))) or tuple(sorted({ladder[0], ladder[-1]}))


def measure(
    index: CodeIndex,
    queries: Sequence[GoldenQuery],
    systems: Sequence[System],
    *,
    budget_tokens: int = DEFAULT_BUDGET_TOKENS,
    progress: ProgressCallback = no_progress,
) -> NDArray[np.float64]:
    """Values [S, Q, M], 0 to 1, higher is better.

    Every chunk is read at every exit first, so that no score depends on time.

    Args:
        index: Of the copy of the tree.
        queries: What to ask.
        systems: How to ask it.
        budget_tokens: Size of the answer for "recall in tokens".
        progress: Called with the progress so far.
    """
    values = np.zeros((len(systems), len(queries), len(METRICS)))
    limit = max(_MIN_HITS, budget_tokens * CHARS_PER_TOKEN // _CHARS_A_HIT)
    for exit_layer in sorted({system.exit for system in systems if system.exit}):
        index.deepen(exit=exit_layer, progress=progress)
    for row, system in enumerate(systems):
        asked = SearchOptions(limit=limit, mode=system.mode, exit=system.exit, budget_s=0)
        for column, query in enumerate(queries):
            by_file = all(target.start_line is None for target in query.targets)
            hits = index.search(query.text, replace(asked, per_file=by_file))
            values[row, column] = scores(hits, query, budget_tokens)
            progress(Progress("search", row * len(queries) + column + 1, len(systems) * len(queries)))
    return values


def scores(hits: Sequence[Hit], query: GoldenQuery, budget_tokens: int) -> tuple[float, float, float]:
    """The three metrics of one answer, in the order of ``METRICS``.

    NDCG@10 is `mose.evaluate.repository.benchmark.ndcg_at_10`; Recall@10 the share of targets that one of the ten best
    hits meets; recall in tokens the share of the targets' lines (of the targets themselves, where they are
    whole files) in the best hits as long as the budget lasts.
    """
    counted = [hit for hit in hits if hit.path != query.left_out]
    locations = [_rooted(hit.path, hit.start_line, hit.end_line) for hit in counted]
    targets = [_rooted(target.path, target.start_line, target.end_line) for target in query.targets]
    num_met = sum(any(location.meets(target) for location in locations[:10]) for target in targets)
    affordable = _affordable(counted, budget_tokens)
    within = [_covered(target, locations[:affordable]) for target in targets]
    return ndcg_at_10(locations, targets), num_met / len(targets), sum(within) / len(within)


def _rooted(path: str, start_line: int | None, end_line: int | None) -> Location:
    """A location whose path begins at the tree: ``a/b.py`` is not met by ``b.py``."""
    return Location(path=f"/{path}", start_line=start_line, end_line=end_line)


def _affordable(hits: Sequence[Hit], budget_tokens: int) -> int:
    """Number of best hits that fit the budget together."""
    left = budget_tokens * CHARS_PER_TOKEN
    for number, hit in enumerate(hits):
        left -= len(hit.text)
        if left < 0:
            return number
    return len(hits)


def _covered(target: Location, locations: Sequence[Location]) -> float:
    """Share of a target's lines that the locations show; 0 or 1 for a whole file."""
    met = [location for location in locations if location.meets(target)]
    if target.start_line is None or target.end_line is None:
        return float(bool(met))
    wanted = set(range(target.start_line, target.end_line + 1))
    shown = {line for location in met for line in range(location.start_line or 0, (location.end_line or 0) + 1)}
    return len(wanted & shown) / len(wanted)
