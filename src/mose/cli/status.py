"""``mose status``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from pathlib import Path
from typing import TYPE_CHECKING

from mose.cli.options import add_inside, add_json, add_path, define
from mose.cli.parser import Parser, quoted
from mose.cli.terminal import counted, megabytes, show, show_json

if TYPE_CHECKING:
    from mose.search.store.store import Store

_LONG_PATH = 120


def add_status(command: Parser) -> None:
    """Add the arguments of ``mose status``."""
    define(command, status, example="mose status .")
    add_path(command)
    add_inside(command)
    command.add_argument("--why", metavar="FILE", help="say whether one file is read or left out, and by which rule")
    add_json(command, "print it as a JSON object")


def status(arguments: Arguments) -> int:
    """``mose status``: what an index holds."""
    if arguments.why is not None:
        return _why(arguments)
    with _open_around(arguments) as store:
        status = store.status()
    if arguments.json:
        from dataclasses import asdict

        show_json([{**asdict(status), "folder": str(status.folder)}])
        return 0
    state = "complete" if status.complete else f"unfinished, {status.num_pending_files:,} files to go"
    show(status.root)
    show(f"  index     {status.folder} ({megabytes(status.size_bytes)}), {state}")
    show(f"  content   {counted(status.num_files, 'file')}, {counted(status.num_chunks, 'chunk')}")
    for exit_layer, count in sorted(status.vectors.items()):
        share = count / max(status.num_chunks, 1)
        damaged = status.damaged.get(exit_layer, 0)
        mended = f", {damaged:,} vectors were damaged and will be made again" if damaged else ""
        show(f"  read      {counted(count, 'chunk')} ({share:.0%}) for searches with --exit {exit_layer}{mended}")
    for language in status.languages:
        how = (
            f", {counted(language.num_cut_by_lines, 'file')} cut by length, not by definition"
            if language.num_cut_by_lines
            else ""
        )
        files, chunks = counted(language.num_files, "file"), counted(language.num_chunks, "chunk")
        show(f"  {language.language:<16} {files:>13} {chunks:>16}{how}")
    if status.troubles:
        show("  cut by length although the language is known")
        for reason, count in status.troubles.items():
            examples = ", ".join(status.trouble_examples[reason][:2])
            show(f"    {reason:<22} {count:>7,}   {examples}")
    if status.skipped:
        show("  left out")
        for reason, count in sorted(status.skipped.items(), key=lambda item: -item[1]):
            examples = ", ".join(map(_shortened, status.skipped_examples.get(reason, ())[:2]))
            show(f"    {reason:<22} {count:>7,}   {examples}")
    return 0


def _open_around(arguments: Arguments) -> Store:
    """The index that a search of PATH would ask: that of a tree around it counts, too."""
    from mose.errors import CodeIndexError
    from mose.search.store.location import base_folder, current_index, index_folder, tree_and_part
    from mose.search.store.store import Store

    root = arguments.path if arguments.inside else tree_and_part(arguments.path)[0]
    folder = index_folder(root, inside=arguments.inside)
    if current_index(base_folder(folder)) is None:
        path = quoted(str(arguments.path))
        raise CodeIndexError(
            f"there is no index of {Path(root).absolute()}", remedy=f"Run `mose index {path}`, or search it once."
        )
    return Store.open_to_read(folder)


def _shortened(path: str) -> str:
    return path if len(path) <= _LONG_PATH else f"{path[: _LONG_PATH // 2]}...{path[-_LONG_PATH // 2 :]}"


def _why(arguments: Arguments) -> int:
    """Show whether a file is read and whether the index has it; return 1 if it is left out."""
    from mose.errors import CodeIndexError
    from mose.files import explain
    from mose.files.why import MISSING
    from mose.search.store.location import index_folder, source_root
    from mose.search.store.status import file_status, limits_of
    from mose.search.store.store import Store

    root, limits, known = source_root(arguments.path), None, None
    try:
        with Store.open_to_read(index_folder(arguments.path, inside=arguments.inside)) as store:
            limits = limits_of(store)
            found = explain(root, arguments.why, limits)
            known = file_status(store, found.path)
    except CodeIndexError:  # none yet, or none that can be read: the file can be judged even so
        found = explain(root, arguments.why, limits)
    if arguments.json:
        from dataclasses import asdict

        show_json([{**asdict(found), "index": known}])
        return 1 if found.reason else 0
    if found.reason:
        what = MISSING if found.reason == MISSING else f"left out, {found.reason}"
    else:
        what = f"read{f' as {found.language}' if found.language else ''}"
    show(f"{found.path}: {what}{f' ({found.detail})' if found.detail else ''}")
    if not found.path.endswith("/"):
        show(f"  the index has {known or 'nothing of it'}")
    return 1 if found.reason else 0
