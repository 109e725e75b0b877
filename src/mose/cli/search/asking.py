"""The trees that a search asks: opened, asked with the options of the command line, one after the other."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace as Arguments
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mose.cli.output import ProgressBar, say_warnings
from mose.cli.parser import quoted
from mose.cli.terminal import say
from mose.errors import ConfigError, MoseError, SourceError, require

if TYPE_CHECKING:
    from mose.search.hits import Hits
    from mose.search.index import CodeIndex
    from mose.search.options import SearchOptions


class Asked(NamedTuple):
    """One tree, or part of one, and what it answers."""

    tree: CodeIndex
    named: Path
    """The folder that PATH names, or that of the file."""
    typed: str
    """How the user names it, for paths relative to the current folder; "" for the current folder itself."""
    found: Hits


def ask(index: CodeIndex, part: str, arguments: Arguments, query: str) -> Asked:
    """What a tree answers.

    Args:
        index: Its index.
        part: The part of it that PATH names, "" for all of it.
        arguments: Of the command line.
        query: The query, "" with ``--like``.
    """
    if not arguments.quiet:
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
    typed = os.path.expanduser(arguments.path)
    typed = typed if is_folder else os.path.dirname(typed)
    return Asked(index, named, os.path.join(typed, "") if typed not in ("", ".") else "", found)


def open_tree(arguments: Arguments) -> tuple[CodeIndex, str]:
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
    from mose.search.ranking.several import options_of_each

    for pattern in arguments.exclude:
        allowed = "a pattern as in .gitignore that does not begin with !, e.g. 'tests/'"
        require(bool(pattern.strip()) and not pattern.startswith("!"), "--exclude", pattern, allowed)
    options = SearchOptions(
        limit=arguments.limit,
        mode=arguments.mode or "fused",
        language=arguments.language,
        path=[*(arguments.path_pattern or ()), *(f"!{pattern}" for pattern in arguments.exclude)],
        line_regex=arguments.regex,
        line_text=arguments.text,
        part=part,
        budget_s=arguments.budget,
        per_file=not arguments.all_places,
        limit_tokens=arguments.max_tokens,
    )
    return options_of_each(options, arguments.num_paths)


def _start_early(root: Path | str, arguments: Arguments) -> None:
    """Start the process that will be needed: it gets ready while this one imports the rest."""
    from mose.search.store.location import index_folder
    from mose.workers import start_early

    with suppress(MoseError, OSError, ValueError):
        if not arguments.no_update and not index_folder(root, inside=arguments.inside).exists():
            start_early("mose.search.chunking.prepare")
        elif arguments.regex is not None:
            start_early("mose.search.ranking.line_matches")


def query_of(arguments: Arguments) -> str:
    """The query, "" with ``--like``.

    Raises:
        ConfigError: There is none, or it has nothing to look for.
    """
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
    if len(query) > MAX_QUERY_CHARS and not arguments.quiet:
        say(f"Of the query, the first {MAX_QUERY_CHARS:,} characters are read.")
    return checked_query(query)


def _read_input(num_chars: int) -> str:
    if sys.stdin is None:
        raise ConfigError("there is no query: standard input is closed", remedy="Give it as an argument.")
    return sys.stdin.read(num_chars)


def need_tree(arguments: Arguments, path: str) -> None:
    """Raise `SourceError` if PATH is nothing that exists, with the command that may have been meant."""
    query = arguments.query
    if query is None or arguments.like is not None or os.path.lexists(os.path.expanduser(path)):
        return
    if os.path.lexists(os.path.expanduser(query)):
        what = f"there is no folder {path}"
        raise SourceError(
            what, remedy=f"The query comes first: mose search {quoted(path, always=True)} {quoted(query)}"
        )
    if "/" not in path:
        raise SourceError(
            f"there is no folder {path}",
            remedy="If it belongs to the query, put both in quotes: "
            f"mose search {quoted(f'{query} {path}', always=True)}",
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
