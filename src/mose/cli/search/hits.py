"""Hits as text, and the notes below them: what they are based on, and how to search more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mose.cli.parser import quoted
from mose.cli.terminal import Styled, bold, clip, columns, counted, dim, marked, say, show, width_of, wrapped

if TYPE_CHECKING:
    from mose.search.hits import Hit, Hits
    from mose.search.index import CodeIndex

NUMBER_COLUMNS = 9
MAX_LOCATION_COLUMNS = 60
MIN_SYMBOL_COLUMNS = 8


def show_hits(hits: Sequence[tuple[Hit, Path]], query: str, *, whole: bool = False, explain: bool, color: bool) -> None:
    """Write location, score and a few lines of each hit.

    Args:
        hits: Best first, as they are shown, and where the file of each is.
        query: What was asked; its words are marked.
        whole: All lines of each hit instead, as they are.
        explain: Add why each hit has its rank.
        color: Whether styles are shown.
    """
    from mose.search.snippet import all_lines, snippet

    width = columns()
    locations = [f"{hit.path}:{hit.start_line}-{hit.end_line}" for hit, _ in hits]
    aligned = min(max(map(width_of, locations), default=0), MAX_LOCATION_COLUMNS, width // 2)
    for location, (hit, file) in zip(locations, hits, strict=True):
        show(
            dim(f"{hit.score:.2f}"),
            "  ",
            bold(location, file),
            _symbol(hit.symbol, width_of(location), aligned, width),
            color=color,
        )
        lines = all_lines(hit) if whole else snippet(hit, query)
        for number, line in lines:
            words = _with_marks((line if whole else clip(line, width - NUMBER_COLUMNS)).rstrip(), query)
            show(dim(f"{number:>{NUMBER_COLUMNS - 2}}"), *(["  "] if words else []), *words, color=color)
        if hit.copies:
            more = f" and {len(hit.copies) - 1} more" if len(hit.copies) > 1 else ""
            show(" " * NUMBER_COLUMNS, dim(clip(f"also in {hit.copies[0]}{more}", width - NUMBER_COLUMNS)), color=color)
        for reason in _explain(hit) if explain else ():
            for line in wrapped(reason, sys.stdout, indent=NUMBER_COLUMNS):
                show(" " * NUMBER_COLUMNS, dim(line), color=color)
        show()


def show_locations(hits: Sequence[tuple[Hit, Path]], query: str, *, color: bool) -> None:
    """Write PATH:LINE:COLUMN:TEXT of each hit, on one line; columns count bytes, as in other tools.

    Args:
        hits: Best first, as they are shown, and where the file of each is.
        query: What was asked.
        color: Whether styles are shown.
    """
    from mose.search.snippet import location

    for hit, file in hits:
        line, column, text = location(hit, query)
        num_bytes = len(text[: column - 1].encode("utf-8", "surrogatepass"))
        show(bold(hit.path, file), f":{line}:{num_bytes + 1}:", *_with_marks(text, query), color=color)


def _with_marks(line: str, query: str) -> list[str | Styled]:
    """The line in pieces, those that stand for words of the query marked."""
    from mose.search.snippet import split_at_matches

    return [marked(piece) if matches else piece for piece, matches in split_at_matches(line, query)]


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


def say_notes(index: CodeIndex, hits: Hits, query: str, *, num_shown: int, uses_words: bool, is_filtered: bool) -> None:
    """Print what the hits of a search in one tree are based on.

    Args:
        index: The index of the tree.
        hits: The hits in it.
        query: The query.
        num_shown: How many of the hits are in the list that the user sees.
        uses_words: Whether the words of the query count.
        is_filtered: Whether only lines that match were asked for.
    """
    if not hits:
        _say_nothing_found(index, hits, is_filtered)
    if uses_words and not is_filtered:
        _say_if_no_word_occurs(hits)
    _say_what_it_rests_on(index, hits, num_shown)
    _say_what_is_too_large(index, query)


def _say_nothing_found(index: CodeIndex, hits: Hits, is_filtered: bool) -> None:
    if hits.stats.num_chunks == 0:
        status = f"mose status {quoted(str(index.root))}"
        say(f"There is nothing to search: no file of {index.root} is read. `{status}` shows what is left out.")
    else:
        say("Nothing found where a line matches." if is_filtered else "Nothing found.")


def _say_if_no_word_occurs(hits: Hits) -> None:
    if not hits.stats.has_words and hits.stats.num_chunks:
        meant = "these are the nearest by meaning" if hits else "say in a sentence what you mean"
        say(f"No word of the query occurs here: {meant}.")


def _say_what_it_rests_on(index: CodeIndex, hits: Hits, num_shown: int) -> None:
    """How much was searched, and what the user can do to search more."""
    stats, report = hits.stats, index.last_refresh
    notes = [f"{counted(num_shown, 'hit')} in {counted(stats.num_chunks, 'chunk')}, {stats.seconds:.1f} s"]
    if stats.exit and stats.num_read < stats.num_chunks:
        notes.append(f"{stats.num_deep:,} read closely, {stats.num_encoded:,} of them just now")
        notes.append("`mose index` reads all beforehand, for speed")
    if stats.exit and stats.num_deep < stats.num_short:
        notes.append(f"time was up before {stats.num_short - stats.num_deep:,} more: allow it with --budget")
    for line in wrapped("; ".join(notes), sys.stderr):
        say(line)
    for note in index.notes:
        say(note)
    if report is not None and report.busy:
        num_files = index.status().num_files
        say(f"Another process is indexing this tree: this answer is from the {num_files:,} files that are in.")


def _say_what_is_too_large(index: CodeIndex, query: str) -> None:
    """Files that were left out for their size although they hold the words."""
    from mose.search.oversized import oversized_with

    paths = oversized_with(index.store, index.root, query)
    if paths:
        say(f"Too large to be read, and the words are in it: {', '.join(paths)}. See --max-file-size.")
