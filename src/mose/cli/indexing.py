"""``mose index``, ``mose watch``, ``mose forget`` and ``mose prune``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from typing import TYPE_CHECKING

from mose.cli.options import (
    add_exit,
    add_inside,
    add_json,
    add_max_file_size,
    add_model,
    add_path,
    add_quiet,
    define,
    seconds,
)
from mose.cli.output import ProgressBar, need_packages, say_warnings
from mose.cli.parser import Parser
from mose.cli.terminal import counted, flush, megabytes, say, say_lines, show, show_json
from mose.errors import MoseError

if TYPE_CHECKING:
    from mose.progress import ProgressCallback
    from mose.serve.trees import Tree

_POLL_S = 2.0


def add_index(command: Parser) -> None:
    """Add the arguments of ``mose index``."""
    define(command, index, example="mose index path/to/tree --exit 6")
    add_path(command)
    add_inside(command)
    add_model(command)
    add_exit(command)
    command.add_argument("--budget", type=seconds, metavar="TIME", help="stop after this long (default: no limit)")
    add_max_file_size(command)
    command.add_argument("--rebuild", action="store_true", help="build the index again from nothing")
    command.add_argument("--existing", action="store_true", help="update an existing index; make none")
    command.add_argument("--where", action="store_true", help="print where the index is kept; index nothing")
    add_quiet(command)
    add_json(command, "print what was done as a JSON object")


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


_WATCH_NOTES = """what it is for:
  Any search finds what has changed by itself. With this running, nothing is left for it to read, also after a large
  change such as another branch. `mose serve` and `mose mcp` watch their trees by themselves.
where the system announces no changes:
  Folders of other machines, and trees of more folders than it can watch, are looked at every 2 seconds; --poll does so
  everywhere."""


def add_watch(command: Parser) -> None:
    """Add the arguments of ``mose watch``."""
    define(command, watch, example="mose watch ~/src/a ~/src/b", notes=_WATCH_NOTES)
    command.add_argument("trees", nargs="*", metavar="PATH", help="source trees (default: this folder)")
    add_exit(command)
    command.add_argument("--deepen", action="store_true", help="read every chunk at the exit, too, in the background")
    command.add_argument(
        "--poll",
        type=seconds,
        metavar="TIME",
        help="look for changes this often, e.g. 5s; less often where that takes long",
    )
    add_quiet(command)
    add_json(command, "print what was done as one JSON object a line")


def watch(arguments: Arguments) -> int:
    """``mose watch``: keeps indexes up to date until it is interrupted."""
    if arguments.poll is None:
        need_packages("watch", "watchfiles", extra="serve")
    from mose.search.store.location import source_root
    from mose.serve.trees import Trees

    trees = Trees(exit=arguments.exit, deepens=arguments.deepen, listens=arguments.poll is None)
    poll_s = _POLL_S if arguments.poll is None else arguments.poll
    watched = [
        _Watched(trees.get(root), arguments) for root in dict.fromkeys(map(source_root, arguments.trees or ["."]))
    ]
    try:
        with ProgressBar(quiet=arguments.quiet) as progress:
            for one in watched:
                one.open(progress)
            by_tree = {one.tree: one for one in watched}
            for tree in trees.due(poll_s):
                by_tree[tree].update(progress)
    finally:
        trees.close()
    return 0


class _Watched:
    """One tree that is kept up to date, and what has been said of it."""

    def __init__(self, tree: Tree, arguments: Arguments) -> None:
        self.tree = tree
        self._json = arguments.json
        self._quiet = arguments.quiet
        self._said = ""

    def open(self, progress: ProgressCallback) -> None:
        """Bring the index up to date for the first time."""
        self._update(progress, is_first=True)

    def update(self, progress: ProgressCallback) -> None:
        """Bring the index up to date; an error is said once, for the tree may come back."""
        try:
            self._update(progress, is_first=False)
        except MoseError as error:
            self._say(str(error))

    def _update(self, progress: ProgressCallback, *, is_first: bool) -> None:
        report = self.tree.update(progress)
        self.tree.deepen()
        self._say(self.tree.watch.trouble)
        done = (report.num_added, report.num_changed, report.num_removed)
        if self._json and (is_first or any(done)):
            show_json([{
                "root": str(self.tree.root), "added": report.num_added, "changed": report.num_changed,
                "removed": report.num_removed, "chunks": report.num_new_chunks, "seconds": round(report.seconds, 3),
            }])  # fmt: skip
        elif is_first or any(done):
            added, changed, removed = done
            show(f"{self.tree.root}: {added:,} new, {changed:,} changed, {removed:,} gone ({report.seconds:.1f} s)")
        flush()

    def _say(self, text: str) -> None:
        if text and text != self._said and not self._quiet:
            say_lines(text)
        self._said = text


def add_forget(command: Parser) -> None:
    """Add the arguments of ``mose forget``."""
    define(command, forget, example="mose forget path/to/tree")
    add_path(command)


def forget(arguments: Arguments) -> int:
    """``mose forget``: deletes an index."""
    from mose.search.lifecycle import forget as forget_index

    folders = forget_index(arguments.path)
    for folder in folders:
        show(f"Deleted {folder}.")
    if not folders:
        show("There was no index.")
    return 0


def add_prune(command: Parser) -> None:
    """Add the arguments of ``mose prune``."""
    define(command, prune, example="mose prune --dry-run")
    command.add_argument("--dry-run", action="store_true", help="say what would be removed; remove nothing")
    add_json(command, "print it as a JSON object")


def prune(arguments: Arguments) -> int:
    """``mose prune``: removes what no tree needs any more."""
    from mose.search.store.prune import prune as prune_indexes

    report = prune_indexes(dry_run=arguments.dry_run)
    if arguments.json:
        show_json([{
            "indexes": [
                {"folder": str(index.folder), "root": index.root, "reason": index.reason, "bytes": index.size_bytes}
                for index in report.indexes
            ],
            "kept": report.num_kept, "busy": [str(folder) for folder in report.busy],
            "vectors": report.num_vectors, "vectors_kept": report.num_vectors_kept,
            "freed_bytes": report.freed_bytes, "dry_run": arguments.dry_run, "notes": report.notes,
        }])  # fmt: skip
        return 0
    would = "Would remove" if arguments.dry_run else "Removed"
    for index in report.indexes:
        show(f"{would} the index of {index.root or index.folder} ({index.reason}, {megabytes(index.size_bytes)}).")
    if report.num_vectors:
        show(f"{would} {counted(report.num_vectors, 'vector')} that no index uses, or not for long.")
    kept = f"{counted(report.num_kept, 'index', 'indexes')} and {counted(report.num_vectors_kept, 'vector')}"
    show(f"Kept: {kept} that all trees share.")
    for folder in report.busy:
        say(f"{folder} is left alone: another process is writing it.")
    for note in report.notes:
        say(note)
    return 0
