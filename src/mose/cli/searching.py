"""``mose search``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from argparse import Namespace as Arguments
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mose.cli.hits import say_notes, show_hits
from mose.cli.options import (
    add_exit,
    add_inside,
    add_json,
    add_max_file_size,
    add_model,
    add_path,
    add_quiet,
    count,
    define,
    seconds,
)
from mose.cli.output import ProgressBar, say_warnings
from mose.cli.parser import EXIT_STATUS, Parser, quoted
from mose.cli.terminal import flush, say, show_json, takes_color
from mose.errors import ConfigError, MoseError, SourceError

if TYPE_CHECKING:
    from mose.search.hits import Hit, Hits
    from mose.search.index import CodeIndex
    from mose.search.options import SearchOptions


_NOTES = f"""what is read:
  What git would keep, less what a .moseignore (same syntax) leaves out; `mose status --why FILE` says why.
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
    add_json(command)
    command.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="use colors (default: auto)"
    )
    add_quiet(command)


class _Asked(NamedTuple):
    """One tree, or part of one, and what it answers."""

    tree: CodeIndex
    named: Path
    """The folder that PATH names, or that of the file."""
    typed: str
    """How the user names it."""
    found: Hits


def search(arguments: Arguments) -> int:
    """``mose search``: hits on stdout, notes on stderr."""
    query = _query_of(arguments)
    paths = [arguments.path, *arguments.more_paths]
    with ExitStack() as stack:
        asked = []
        for path in paths:
            own = argparse.Namespace(**{**vars(arguments), "path": path, "num_paths": len(paths)})
            _need_tree(own)
            index, part = _open(own)
            stack.enter_context(index)
            asked.append(_ask(index, part, own, query))
        hits = _ranked(asked, arguments.limit, arguments.max_tokens)
        if arguments.json:
            from mose.search.hits import hit_as_dict

            show_json({"root": str(answer.named), **hit_as_dict(hit, answer.named)} for answer, hit in hits)
        else:
            shown = [replace(hit, path=answer.typed + hit.path) if len(paths) > 1 else hit for answer, hit in hits]
            color = takes_color(arguments.color)
            show_hits(shown, query, whole=arguments.max_tokens is not None, explain=arguments.explain, color=color)
        flush()  # before the talk about it
        for answer in asked:
            if len(paths) > 1:
                say(f"{answer.typed or '.'}:")
            uses_words = arguments.like is None and arguments.mode != "dense"
            num_shown = sum(owner is answer for owner, _ in hits)
            say_notes(answer.tree, answer.found, query, num_shown=num_shown, uses_words=uses_words)
            if arguments.deepen:
                from mose.cli.background import deepen_in_background

                deepen_in_background(answer.tree, arguments)
    return 0 if hits else 1


def _ask(index: CodeIndex, part: str, arguments: Arguments, query: str) -> _Asked:
    say_warnings(index)
    named = index.root / part
    is_folder = named.is_dir()
    named = named if is_folder else named.parent
    options = _options(arguments, part)
    if arguments.like is not None:
        path, line = _location_of(arguments.like, index.root, named)
        found = index.like(path, line, options)
    else:
        found = index.search(query, options)
    typed = arguments.path if is_folder else os.path.dirname(arguments.path)
    return _Asked(index, named, os.path.join(typed, "") if typed not in ("", ".") else "", found)


def _ranked(asked: Sequence[_Asked], limit: int, max_tokens: int | None) -> list[tuple[_Asked, Hit]]:
    """The hits of all trees in one ranking, their paths relative to what PATH names."""
    from mose.search.ranking.several import fuse, fuse_for_budget

    found = [answer.found for answer in asked]
    ranked = []
    for number, hit in fuse(found, limit) if max_tokens is None else fuse_for_budget(found, max_tokens):
        answer = asked[number]
        ranked.append((answer, replace(hit, path=(answer.tree.root / hit.path).relative_to(answer.named).as_posix())))
    return ranked


def _open(arguments: Arguments) -> tuple[CodeIndex, str]:
    """The index that PATH belongs to, up to date, and the part of the tree that PATH names; "" for all of it."""
    from mose.search.store.location import tree_and_part

    root, part = (arguments.path, "") if arguments.inside else tree_and_part(arguments.path)
    _start_early(root, arguments)
    from mose.search.index import CodeIndex

    while True:
        with ProgressBar(quiet=arguments.quiet) as progress:
            index = CodeIndex.open(
                root,
                model=arguments.model,
                exit=arguments.exit,
                width=arguments.width,
                inside=arguments.inside,
                update=not arguments.no_update,
                max_file_bytes=arguments.max_file_size,
                progress=progress,
            )
        if not part or index.has_files(part):
            return index, part
        index.close()
        if not (index.root / part).is_dir():
            raise SourceError(
                f"the index of {index.root} has nothing of {part}",
                remedy=f"`mose status {quoted(str(index.root))} --why {quoted(part)}` says why.",
            )
        root, part = arguments.path, ""  # the tree around it leaves it out: it is a tree of its own


def _options(arguments: Arguments, part: str) -> SearchOptions:
    from mose.search.options import SearchOptions
    from mose.search.ranking.several import NUM_COMPARED

    return SearchOptions(
        limit=arguments.limit if arguments.num_paths == 1 else max(arguments.limit, NUM_COMPARED),
        mode=arguments.mode or "fused",
        language=arguments.language,
        path=arguments.path_pattern,
        part=part,
        budget_s=arguments.budget / arguments.num_paths,
        per_file=not arguments.all_places,
        limit_tokens=arguments.max_tokens,
    )


def _start_early(root: Path | str, arguments: Arguments) -> None:
    """Start the process that will cut a tree without an index: it gets ready while this one imports the rest."""
    from mose.search.store.location import index_folder
    from mose.workers import start_early

    with suppress(MoseError, OSError, ValueError):
        if not arguments.no_update and not index_folder(root, inside=arguments.inside).exists():
            start_early("mose.search.chunking.prepare")


def _query_of(arguments: Arguments) -> str:
    from mose.search.query import MAX_QUERY_CHARS, checked_query

    if arguments.like is not None:
        _file_and_line(arguments.like)
        if arguments.query is not None and arguments.path == "." and os.path.lexists(arguments.query):
            arguments.path = arguments.query  # `mose search --like FILE:LINE PATH`
        elif arguments.query is not None:
            raise ConfigError("a query and --like together", got=arguments.query, allowed="one of the two")
        return ""
    if arguments.query is None:
        raise ConfigError("there is no query", remedy='Say what to look for: mose search "parse a date" .')
    query = _read_input(MAX_QUERY_CHARS + 1) if arguments.query == "-" else str(arguments.query)
    if len(query) > MAX_QUERY_CHARS:
        say(f"Of the query, the first {MAX_QUERY_CHARS:,} characters are read.")
    return checked_query(query)


def _read_input(num_chars: int) -> str:
    if sys.stdin is None:
        raise ConfigError("there is no query: standard input is closed", remedy="Give it as an argument.")
    return sys.stdin.read(num_chars)


def _need_tree(arguments: Arguments) -> None:
    """Raise `SourceError` if PATH is nothing that exists, with the query in quotes if it looks like part of it."""
    if arguments.like is None and not os.path.lexists(os.path.expanduser(arguments.path)) and "/" not in arguments.path:
        raise SourceError(
            f"there is no folder {arguments.path}",
            remedy="If it belongs to the query, put both in quotes: "
            f"mose search {quoted(f'{arguments.query} {arguments.path}', always=True)}",
        )


def _file_and_line(text: str) -> tuple[Path, int]:
    match = re.fullmatch(r"(.+?):(\d{1,9})(?::\d+)?", text, re.DOTALL)  # editors write FILE:LINE:COLUMN
    if match is None:
        raise ConfigError("--like", got=text, allowed="FILE:LINE, e.g. src/app.py:120")
    return Path(match[1]), int(match[2])


def _location_of(text: str, root: Path, named: Path) -> tuple[str, int]:
    """FILE:LINE as a path relative to the tree, and a line; the file is named from here, from PATH or from the tree."""
    file, line = _file_and_line(text)
    for start in (Path(), named):
        try:
            found = (start / file).resolve()
            if found.is_file() and found.is_relative_to(root):
                return found.relative_to(root).as_posix(), line
        except (OSError, ValueError, RuntimeError):  # too long, half a character, a circle of links
            break
    return file.as_posix(), line
