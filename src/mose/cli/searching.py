"""``mose search``."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace as Arguments
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mose import processes
from mose.cli.hits import hit_as_dict, show_hits
from mose.cli.output import ProgressBar, say_warnings
from mose.cli.parser import quoted
from mose.cli.terminal import counted, flush, say, show_json, takes_color, wrapped
from mose.errors import ConfigError, MoseError, SourceError

if TYPE_CHECKING:
    from mose.search.hits import Hit
    from mose.search.index import CodeIndex


def search(arguments: Arguments) -> int:
    """``mose search``: hits on stdout, what they rest on on stderr."""
    query = _query_of(arguments)
    _need_tree(arguments)
    index, part = _open(arguments)
    with index:
        say_warnings(index)
        named = index.root / part
        named = named if named.is_dir() else named.parent
        options = {
            "limit": arguments.limit,
            "language": arguments.language,
            "part": part,
            "budget_s": arguments.budget,
            "per_file": not arguments.all_places,
        }
        if arguments.like is not None:
            path, line = _place_of(arguments.like, index.root, named)
            hits = index.like(path, line, path_pattern=arguments.pattern, **options)
        else:
            hits = index.search(query, mode=arguments.mode or "fused", path=arguments.pattern, **options)
        if part:
            hits = [replace(hit, path=(index.root / hit.path).relative_to(named).as_posix()) for hit in hits]
        if arguments.json:
            show_json(hit_as_dict(hit, named) for hit in hits)
        else:
            show_hits(hits, query, explain=arguments.explain, color=takes_color(arguments.color))
        flush()  # before the talk about it
        if not hits:
            say(_nothing(index))
        _say_if_no_word_occurs(index, hits, arguments)
        _say_what_it_rests_on(index, hits)
        _say_what_is_too_large(index, query)
        if arguments.deepen:
            _deepen_in_background(index, arguments)
    return 0 if hits else 1


def _open(arguments: Arguments) -> tuple[CodeIndex, str]:
    """The index that PATH belongs to, up to date, and the part of the tree that PATH names; "" for all of it."""
    from mose.search.store.enclosing import tree_and_part

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


def _place_of(text: str, root: Path, named: Path) -> tuple[str, int]:
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


def _say_if_no_word_occurs(index: CodeIndex, hits: Sequence[Hit], arguments: Arguments) -> None:
    if arguments.like is not None or arguments.mode == "dense" or index.last_search is None:
        return
    if not index.last_search.has_words and index.last_search.num_chunks:
        meant = "these are the nearest by meaning" if hits else "say in a sentence what you mean"
        say(f"No word of the query occurs here: {meant}.")


def _say_what_it_rests_on(index: CodeIndex, hits: Sequence[Hit]) -> None:
    """How much was looked at, and what the user can do to have more looked at."""
    stats, report = index.last_search, index.last_refresh
    if stats is None:
        return
    notes = [f"{counted(len(hits), 'hit')} in {counted(stats.num_chunks, 'chunk')}, {stats.seconds:.1f} s"]
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


def _nothing(index: CodeIndex) -> str:
    if index.last_search is not None and index.last_search.num_chunks == 0:
        status = f"mose status {quoted(str(index.root))}"
        return f"There is nothing to search: no file of {index.root} is read. `{status}` shows what is left out."
    return "Nothing found."


def _deepen_in_background(index: CodeIndex, arguments: Arguments) -> None:
    import subprocess

    from mose.runtime.encoder import DEFAULT_MODEL
    from mose.runtime.model import model_folder
    from mose.search.store.location import HOME_VARIABLE, home, unwritable
    from mose.storage import create_file

    log = index.store.folder / "deepen.log"
    is_default = arguments.model == DEFAULT_MODEL
    command = [
        *processes.python_command("from mose.__main__ import main; main()"),
        "index",
        str(index.root),
        "--existing",
        "--quiet",
        "--model",
        DEFAULT_MODEL if is_default else str(model_folder(arguments.model).absolute()),
    ]
    if arguments.exit is not None:
        command += ["--exit", str(arguments.exit)]
    if arguments.inside:
        command.append("--inside")
    try:
        output = create_file(log)
    except OSError as error:
        raise unwritable(log, error) from error
    with output:
        process = subprocess.Popen(
            command,
            cwd=processes.ROOT,
            env={**os.environ, HOME_VARIABLE: str(home())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    say(f"Reading the rest in the background (process {process.pid}, log {log}).")
