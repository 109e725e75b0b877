"""``mose index``, ``mose status`` and ``mose forget``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from pathlib import Path
from typing import TYPE_CHECKING

from mose.cli.output import ProgressBar, say_warnings
from mose.cli.parser import quoted
from mose.cli.terminal import counted, say, show, show_json

if TYPE_CHECKING:
    from mose.search.store.store import Store

_LONG_PATH = 120


def index(arguments: Arguments) -> int:
    """``mose index``: reads every chunk at the exit asked for."""
    from mose.search.index import CodeIndex
    from mose.search.store.location import index_folder

    if arguments.where:
        show(str(index_folder(arguments.path, inside=arguments.inside)))
        return 0
    with ProgressBar(quiet=arguments.quiet) as progress:
        index = CodeIndex.open(
            arguments.path,
            model=arguments.model,
            exit=arguments.exit,
            inside=arguments.inside,
            max_file_bytes=arguments.max_file_size,
            create=not arguments.existing,
            rebuild=arguments.rebuild,
            progress=progress,
        )
        with index:
            say_warnings(index)
            refreshed = index.last_refresh
            if index.unwritable is not None:
                raise index.unwritable
            assert refreshed is not None
            deepened = index.deepen(budget_s=arguments.budget, progress=progress) if index.encoder.exit else None
            status = index.status()
    for note in index.notes:
        say(note)
    if arguments.json:
        show_json([{
            "root": str(index.root), "files": status.num_files, "chunks": status.num_chunks,
            "added": refreshed.num_added, "changed": refreshed.num_changed, "removed": refreshed.num_removed,
            "skipped": status.skipped, "exit": index.encoder.exit,
            "encoded": deepened.num_encoded if deepened else 0, "reused": deepened.num_reused if deepened else 0,
            "left": deepened.num_left if deepened else 0,
        }])  # fmt: skip
        return 0
    show(
        f"{counted(status.num_files, 'file')}, {counted(status.num_chunks, 'chunk')}"
        f" ({counted(refreshed.num_added, 'file')} new, {refreshed.num_changed:,} changed,"
        f" {refreshed.num_removed:,} gone)"
    )
    if deepened is not None:
        left = f", {deepened.num_left:,} left: run it again" if deepened.num_left else ""
        show(
            f"{counted(deepened.num_encoded, 'chunk')} read by the model (--exit {index.encoder.exit}),"
            f" {deepened.num_reused:,} known from before{left}"
        )
    return 0


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
    show(f"  index     {status.folder} ({status.size_bytes / 1e6:.1f} MB), {state}")
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
    from mose.search.store.enclosing import tree_and_part
    from mose.search.store.location import base_folder, current_index, index_folder
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
    """Says of one file whether it is read, and whether the index has it; 1 if it is left out."""
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


def forget(arguments: Arguments) -> int:
    """``mose forget``: deletes an index."""
    from mose.search import refresh as indexer

    folders = indexer.forget(arguments.path)
    for folder in folders:
        show(f"Deleted {folder}.")
    if not folders:
        show("There was no index.")
    return 0
