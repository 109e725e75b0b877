"""``mose search``."""

from __future__ import annotations

import argparse
from argparse import Namespace as Arguments
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from mose.cli.options import (
    add_exit,
    add_inside,
    add_max_file_size,
    add_model,
    add_path,
    add_quiet,
    count,
    define,
    seconds,
)
from mose.cli.parser import EXIT_STATUS, Parser
from mose.cli.search.asking import Asked, ask, need_tree, open_tree, query_of
from mose.cli.search.hits import say_notes, show_hits, show_locations
from mose.cli.terminal import flush, say, show_json, takes_color

if TYPE_CHECKING:
    from mose.search.hits import Hit

FORMATS = ("text", "rg", "vimgrep", "json")
"""How hits are written; the second and third are the same, by the names that people look for."""

_NOTES = f"""what is read:
  What git would keep, less what a .moseignore (same syntax) leaves out; `mose status --why FILE` says why.
  Its lines with ! bring hidden and ignored files back: !.github/
formats:
  rg and vimgrep are PATH:LINE:COLUMN:TEXT, one line for each hit. Paths begin as PATH does. docs/scripts.md has the
  fields of JSON and settings for editors.
where the index is kept:
  In the user's cache folder, or in the folder that MOSE_HOME names; with --inside, in PATH/.mose.
  A folder or file inside an indexed tree is searched with the index of that tree.

{EXIT_STATUS}"""


def add_search(command: Parser) -> None:
    """Add the arguments of ``mose search``."""
    define(command, search, example='mose search "open a connection through a proxy" . --limit 5', notes=_NOTES)
    command.add_argument("query", metavar="QUERY", nargs="?", help="words or a name; - reads standard input")
    add_path(
        command, "source tree, or a folder or file in one (default: this folder); several are searched in one ranking"
    )
    command.set_defaults(more_paths=())
    add_inside(command)
    add_model(command)
    add_exit(command)
    command.add_argument("--width", type=int, metavar="W", help="leading dimensions to compare (default: all)")
    size = command.add_mutually_exclusive_group()
    size.add_argument("--limit", "--top", type=count, default=10, metavar="N", help="hits to show (default: 10)")
    size.add_argument(
        "--max-tokens",
        type=count,
        metavar="N",
        help="instead, whole hits of N tokens in all (4 characters each): many files first, then more of the best",
    )
    command.add_argument(
        "--language", action="append", metavar="NAME", help="only this language, e.g. python; may be repeated"
    )
    command.add_argument(
        "--path",
        dest="path_pattern",
        action="append",
        metavar="GLOB",
        help="only files that match, as in .gitignore: 'src/', '*.py', '!tests/'; may be repeated",
    )
    command.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="no files that match; may be repeated"
    )
    lines = command.add_mutually_exclusive_group()
    lines.add_argument(
        "-e",
        "--regex",
        metavar="REGEX",
        help="rank only what has a line that a regular expression (of Python) matches; (?i) ignores case",
    )
    lines.add_argument("-F", "--text", metavar="TEXT", help="rank only what has a line with this very text")
    command.add_argument("--like", metavar="FILE:LINE", help="find code like that at a line, instead of QUERY")
    mode = command.add_mutually_exclusive_group()
    mode.add_argument("--lexical", dest="mode", action="store_const", const="lexical", help="compare words alone")
    mode.add_argument("--dense", dest="mode", action="store_const", const="dense", help="compare vectors alone")
    command.add_argument(
        "--budget",
        type=seconds,
        default=2.0,
        metavar="TIME",
        help="time to read the best candidates closely, e.g. 3s, 500ms (default: 2s)",
    )
    add_max_file_size(command)
    command.add_argument("--deepen", action="store_true", help="read the rest of the tree deeply in the background")
    command.add_argument("--all-places", action="store_true", help="show every hit of a file, not only its best")
    command.add_argument("--no-update", action="store_true", help="answer from the index as it is")
    command.add_argument("--explain", action="store_true", help="show the parts of each score")
    formats = command.add_mutually_exclusive_group()
    formats.add_argument("--format", choices=FORMATS, default="text", help="how hits are written (default: text)")
    formats.add_argument(
        "--json", dest="format", action="store_const", const="json", help="print one JSON object a line: --format json"
    )
    command.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="use colors (default: auto, on a terminal unless NO_COLOR is set; file names are links there, too)",
    )
    add_quiet(command, "show hits and errors alone: no progress, nothing about the answer")


def search(arguments: Arguments) -> int:
    """``mose search``: hits on stdout, notes on stderr."""
    for path in (arguments.path, *arguments.more_paths):
        need_tree(arguments, path)
    query = query_of(arguments)
    paths = [arguments.path, *arguments.more_paths]
    with ExitStack() as stack:
        asked = []
        for path in paths:
            own = argparse.Namespace(**{**vars(arguments), "path": path, "num_paths": len(paths)})
            index, part = open_tree(own)
            stack.enter_context(index)
            asked.append(ask(index, part, own, query))
        hits = _ranked(asked, arguments)
        if arguments.format == "json":
            from mose.search.hits import hit_as_dict

            show_json({"root": str(answer.named), **hit_as_dict(hit, answer.named)} for answer, hit in hits)
        else:
            shown = [(_as_typed(hit, answer.typed), answer.named / hit.path) for answer, hit in hits]
            color = takes_color(arguments.color)
            if arguments.format == "text":
                show_hits(shown, query, whole=arguments.max_tokens is not None, explain=arguments.explain, color=color)
            else:
                show_locations(shown, query, color=color)
        flush()  # before the talk about it
        for answer in asked:
            if not arguments.quiet:
                if len(paths) > 1:
                    say(f"{answer.typed or '.'}:")
                _say_notes(answer, hits, arguments, query)
            if arguments.deepen:
                from mose.cli.search.background import deepen_in_background

                deepen_in_background(answer.tree, arguments)
    return 0 if hits else 1


def _say_notes(answer: Asked, hits: Sequence[tuple[Asked, Hit]], arguments: Arguments, query: str) -> None:
    say_notes(
        answer.tree,
        answer.found,
        query,
        num_shown=sum(owner is answer for owner, _ in hits),
        uses_words=arguments.like is None and arguments.mode != "dense",
        is_filtered=arguments.regex is not None or arguments.text is not None,
    )


def _ranked(asked: Sequence[Asked], arguments: Arguments) -> list[tuple[Asked, Hit]]:
    """The hits of all trees in one ranking, paths relative to what PATH names; what two PATHs share comes once."""
    from mose.search.ranking.several import fuse, fuse_for_budget

    found = [answer.found for answer in asked]
    if arguments.max_tokens is None:
        ranked, limit = fuse(found, sum(map(len, found))), arguments.limit
    else:
        ranked, limit = fuse_for_budget(found, arguments.max_tokens), None
    hits: dict[tuple[object, ...], tuple[Asked, Hit]] = {}
    for number, hit in ranked:
        answer = asked[number]
        file = answer.tree.root / hit.path
        is_listed_once = limit is not None and not arguments.all_places
        key = (file,) if is_listed_once else (file, hit.start_line, hit.end_line, hit.text)
        hits.setdefault(key, (answer, _relative(hit, answer)))
    return list(hits.values())[:limit]


def _relative(hit: Hit, answer: Asked) -> Hit:
    """A hit with paths relative to what PATH names, and no longer to the tree."""

    def relative(path: str) -> str:
        return (answer.tree.root / path).relative_to(answer.named).as_posix()

    return replace(hit, path=relative(hit.path), copies=tuple(map(relative, hit.copies)))


def _as_typed(hit: Hit, typed: str) -> Hit:
    """A hit with paths relative to the current folder."""
    return replace(hit, path=typed + hit.path, copies=tuple(typed + path for path in hit.copies))
