"""``mose status``."""

from __future__ import annotations

import os
from argparse import Namespace as Arguments
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mose.cli.options import add_inside, add_json, add_path, define
from mose.cli.parser import Parser, quoted
from mose.cli.terminal import counted, fitted, megabytes, show, show_json

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
    show(f"  index     {status.folder}")
    show(f"  size      {megabytes(status.size_bytes)}, {state}")
    show(f"  content   {counted(status.num_files, 'file')}, {counted(status.num_chunks, 'chunk')}")
    for exit_layer, count in sorted(status.vectors.items()):
        share = count / max(status.num_chunks, 1)
        damaged = status.damaged.get(exit_layer, 0)
        mended = f", {damaged:,} vectors were damaged and will be made again" if damaged else ""
        show(f"  read      {counted(count, 'chunk')} ({share:.0%}) for searches with --exit {exit_layer}{mended}")
    width = max((len(language.language) for language in status.languages), default=0)
    for language in status.languages:
        by_length = language.num_cut_by_lines
        how = f", {counted(by_length, 'file')} cut by length" if by_length else ""
        files, chunks = counted(language.num_files, "file"), counted(language.num_chunks, "chunk")
        show(f"  {language.language:<{width}} {files:>13} {chunks:>16}{how}")
    _show_reasons("cut by length although the language is known", status.troubles, status.trouble_examples)
    _show_reasons("left out", status.skipped, status.skipped_examples)
    return 0


def _show_reasons(title: str, counts: Mapping[str, int], examples: Mapping[str, Sequence[str]]) -> None:
    """Show how many files each reason holds for, and two of them."""
    if counts:
        show(f"  {title}")
    width = max(map(len, counts), default=0)
    for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
        named = ", ".join(map(_shortened, examples.get(reason, ())[:2]))
        show(fitted(f"    {reason:<{width}} {count:>7,}   {named}"))


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
    from mose.search.store.location import index_folder, source_root, tree_and_part
    from mose.search.store.status import file_status, limits_of
    from mose.search.store.store import Store

    root, part = (source_root(arguments.path), "") if arguments.inside else tree_and_part(arguments.path)
    limits = known = None
    file = arguments.why
    if part and not os.path.lexists(file) and os.path.lexists(root / part / file):  # named from PATH
        file = str(root / part / file)
    try:
        with Store.open_to_read(index_folder(root, inside=arguments.inside)) as store:
            limits = limits_of(store)
            found = explain(root, file, limits)
            known = file_status(store, found.path)
    except CodeIndexError:  # none yet, or none that can be read: the file can be judged even so
        found = explain(root, file, limits)
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
