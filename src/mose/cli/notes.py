"""Notes below the hits of a search: what they are based on, and how to search more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mose.cli.parser import quoted
from mose.cli.terminal import counted, say, wrapped

if TYPE_CHECKING:
    from mose.search.hits import Hits
    from mose.search.index import CodeIndex


def say_notes(index: CodeIndex, hits: Hits, query: str, *, num_shown: int, uses_words: bool) -> None:
    """Print what the hits of a search in one tree are based on.

    Args:
        index: The index of the tree.
        hits: The hits in it.
        query: The query.
        num_shown: How many of the hits are in the list that the user sees.
        uses_words: Whether the words of the query count.
    """
    if not hits:
        _say_nothing_found(index, hits)
    if uses_words:
        _say_if_no_word_occurs(hits)
    _say_what_it_rests_on(index, hits, num_shown)
    _say_what_is_too_large(index, query)


def _say_nothing_found(index: CodeIndex, hits: Hits) -> None:
    if hits.stats.num_chunks == 0:
        status = f"mose status {quoted(str(index.root))}"
        say(f"There is nothing to search: no file of {index.root} is read. `{status}` shows what is left out.")
    else:
        say("Nothing found.")


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
