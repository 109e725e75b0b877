"""Hits as text or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mose.cli.terminal import Styled, bold, clip, columns, dim, marked, show, width_of, wrapped

if TYPE_CHECKING:
    from mose.search.hits import Hit

NUMBER_COLUMNS = 9
MAX_LOCATION_COLUMNS = 60
MIN_SYMBOL_COLUMNS = 8


def show_hits(hits: Sequence[Hit], query: str, *, whole: bool = False, explain: bool, color: bool) -> None:
    """Write location, score and a few lines of each hit.

    Args:
        hits: Best first.
        query: What was asked; its words are marked.
        whole: All lines of each hit instead, as they are.
        explain: Add why each hit has its rank.
        color: Whether styles are shown.
    """
    from mose.search.snippet import all_lines, snippet, split_at_matches

    width = columns()
    locations = [f"{hit.path}:{hit.start_line}-{hit.end_line}" for hit in hits]
    aligned = min(max(map(width_of, locations), default=0), MAX_LOCATION_COLUMNS, width // 2)
    for location, hit in zip(locations, hits, strict=True):
        show(
            dim(f"{hit.score:.2f}"),
            "  ",
            bold(location),
            _symbol(hit.symbol, width_of(location), aligned, width),
            color=color,
        )
        lines = all_lines(hit) if whole else snippet(hit, query)
        for number, line in lines:
            pieces = split_at_matches((line if whole else clip(line, width - NUMBER_COLUMNS)).rstrip(), query)
            words: list[str | Styled] = [marked(piece) if matches else piece for piece, matches in pieces]
            show(dim(f"{number:>{NUMBER_COLUMNS - 2}}"), *(["  "] if words else []), *words, color=color)
        if hit.copies:
            more = f" and {len(hit.copies) - 1} more" if len(hit.copies) > 1 else ""
            show(" " * NUMBER_COLUMNS, dim(clip(f"also in {hit.copies[0]}{more}", width - NUMBER_COLUMNS)), color=color)
        for reason in _explain(hit) if explain else ():
            for line in wrapped(reason, sys.stdout, indent=NUMBER_COLUMNS):
                show(" " * NUMBER_COLUMNS, dim(line), color=color)
        show()


def _symbol(symbol: str, location_columns: int, aligned: int, width: int) -> str:
    """The name that is defined there, as much of it as fits on the line."""
    gap = max(aligned - location_columns, 0) + 2
    room = width - len("0.00  ") - location_columns - gap
    return " " * gap + clip(symbol, room) if symbol and room >= MIN_SYMBOL_COLUMNS else ""


def _explain(hit: Hit) -> list[str]:
    parts = hit.parts
    named = {
        "meaning": parts.dense,
        "words": parts.lexical,
        "defines the name": parts.definition,
        "the file asked for": parts.asked,
        "file name": parts.path,
        "name of the definition": parts.symbol,
        "rest of the file": parts.file,
    }
    total = " + ".join(f"{name} {value:.3f}" for name, value in named.items() if value > 0.0005) or "0"
    if parts.factor != 1.0:
        total = f"({total}) x {parts.factor:.2f}, as a test, copy, generated file, re-export or prose"
    if parts.cosine is None:
        read = "not compared by meaning"
    else:
        read = f"similarity of meaning {parts.cosine:.3f} (--exit {parts.exit})"
    return [f"score = {total}", f"{read}, of words {parts.bm25:.2f}"]
