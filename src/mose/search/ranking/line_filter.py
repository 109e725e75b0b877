"""A filter before the ranking: only chunks with a line that matches, and hits that show the first such line.

A user's regular expression may take endless time, so it is tried in a process whose processor time is limited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError
from mose.parallel import Limits, run_each
from mose.search.hits import Hits
from mose.search.loaded import View
from mose.search.options import SearchOptions
from mose.search.ranking.line_matches import Position, find_regex, find_text
from mose.workers import TOO_LONG, Failure

NUM_TOGETHER = 2_000
"""Chunks that are tried in one go."""
MAX_SECONDS = 2.0
"""Processor time for these; a hundred times what a plain expression takes."""


def chunks_with_lines(view: View, allowed: NDArray[np.bool_] | None, options: SearchOptions) -> NDArray[np.bool_]:
    """Which chunks [N] have a line that matches.

    Args:
        view: The index.
        allowed: Those that pass the other filters [N]; None for all.
        options: What a line must match.

    Raises:
        ConfigError: The regular expression takes too long.
    """
    rows = np.arange(len(view.table)) if allowed is None else np.flatnonzero(allowed)
    windows = [rows[start : start + NUM_TOGETHER] for start in range(0, len(rows), NUM_TOGETHER)]
    passes = np.zeros(len(view.table), dtype=np.bool_)
    for window, found in zip(windows, _positions((_texts(view, window) for window in windows), options), strict=True):
        passes[window] = [position is not None for position in found]
    return passes


def at_lines(hits: Hits, options: SearchOptions) -> Hits:
    """The hits, each with the first of its lines that matches."""
    (found,) = _positions([[hit.text for hit in hits]], options)
    return Hits(
        (
            replace(hit, line=hit.start_line + position[0], column=position[1] + 1) if position else hit
            for hit, position in zip(hits, found, strict=True)
        ),
        hits.stats,
    )


def _texts(view: View, rows: NDArray[np.int64]) -> list[str]:
    ids = view.table.ids[rows].tolist()
    texts = view.store.texts(ids)
    return [texts.get(chunk_id, "") for chunk_id in ids]  # a writer may have removed some


def _positions(groups: Iterable[list[str]], options: SearchOptions) -> Iterator[list[Position | None]]:
    """Where each text of each group matches."""
    if options.line_regex is None:
        for texts in groups:
            yield find_text(texts, options.line_text or "")
        return
    answers = run_each(
        find_regex,
        groups,
        shared=(options.line_regex,),
        weigh=lambda texts: sum(map(len, texts)),
        limits=Limits(cpu_seconds=MAX_SECONDS),
    )
    for answer in answers:
        if isinstance(answer, Failure):
            raise ConfigError(
                "the regular expression takes too long"
                if answer.reason == TOO_LONG
                else f"the regular expression cannot be tried: {answer.reason}",
                got=options.line_regex,
                remedy="Leave out repeats of repeats, such as (a+)+, or look for a fixed text.",
            )
        yield answer
