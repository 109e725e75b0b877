"""Code in pieces that a page can colour: plain texts and names of kinds, never markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mose.escaping import escape
from mose.parallel import Limits, run_each
from mose.search.hits import Hit
from mose.search.snippet import Lines, snippet, source_lines, split_at_matches
from mose.serve.page.colours import Piece, add, coloured, uncoloured
from mose.workers import Failure

EXCERPT_LINES = 9
_MOST_LINE_CHARS = 1_000
MOST_SECONDS = 0.5
"""Processor time for the colours of one answer, so that a busy machine does not change it."""
_LIMITS = Limits(cpu_seconds=2.0)
"""Of the process that finds them, for a lexer that does not come back: then the answer has no colours."""


def highlighted(hits: Sequence[Hit], query: str) -> list[dict[str, object]]:
    """What a page shows of each hit: its lines in pieces as ``code``, and the range that matters as ``excerpt``."""
    found: list[dict[str, object]] = []
    for hit, code in zip(hits, highlight([(hit.text, hit.language) for hit in hits], query), strict=True):
        shown = snippet(hit, query, num_lines=EXCERPT_LINES)
        excerpt = [shown[0][0], shown[-1][0]] if shown else [hit.start_line, hit.start_line]
        found.append({"code": code, "excerpt": excerpt})
    return found


def file_as_dict(lines: Lines, root: Path) -> dict[str, object]:
    """A file, or a long part of one, with its lines in pieces as ``code``."""
    return {
        "path": lines.path,
        "absolute_path": str(root / lines.path),
        "language": lines.language,
        "first_line": lines.first_line,
        "last_line": lines.last_line,
        "code": highlight([(lines.text, lines.language)])[0],
    }


def highlight(codes: Sequence[tuple[str, str]], query: str = "") -> list[list[list[Piece]]]:
    """The lines of each text, in pieces without unseen characters.

    Overlong lines are cut. Where the colours take long, the rest stays without.

    Args:
        codes: Texts, and the labels of their languages, as hits have them.
        query: Pieces that match a word of it are of the kind "match".
    """
    whole = [source_lines(text) for text, _ in codes]
    shown = [[line[:_MOST_LINE_CHARS] for line in lines] for lines in whole]
    items = [(lines, language) for lines, (_, language) in zip(shown, codes, strict=True)]
    (answer,) = run_each(coloured, [items], shared=(MOST_SECONDS,), limits=_LIMITS)
    rows = [uncoloured(lines) for lines in shown] if isinstance(answer, Failure) else answer
    return [_finished(*code, query) for code in zip(rows, shown, whole, strict=True)]


def _finished(
    rows: Sequence[Sequence[Piece]], shown: Sequence[str], whole: Sequence[str], query: str
) -> list[list[Piece]]:
    """The pieces with what matches, escaped, and with the number of characters that are not shown."""
    found = []
    for pieces, line, all_of_it in zip(rows, shown, whole, strict=True):
        marked = _marked(pieces, split_at_matches(line, query)) if query else pieces
        made = [(escape(piece), kind) for piece, kind in marked]
        if len(all_of_it) > len(line):
            made.append((f" … {len(all_of_it) - len(line):,} more characters", "cut"))
        found.append(made)
    return found


def _marked(pieces: Iterable[Piece], spans: Iterable[tuple[str, bool]]) -> list[Piece]:
    """The pieces, divided where spans begin; those in a span that is true are of the kind "match", too."""
    ends: list[tuple[int, bool]] = []
    for text, is_match in spans:
        ends.append(((ends[-1][0] if ends else 0) + len(text), is_match))
    marked: list[Piece] = []
    start = number = 0
    for text, kind in pieces:
        done = 0
        while done < len(text):
            end, is_match = ends[number]
            part = text[done : done + end - start]
            add(marked, part, f"{kind} match".strip() if is_match else kind)
            done += len(part)
            start += len(part)
            number += start == end
    return marked
