"""``mose prune``."""

from __future__ import annotations

from argparse import Namespace as Arguments

from mose.cli.terminal import counted, say, show, show_json


def prune(arguments: Arguments) -> int:
    """``mose prune``: removes what no tree needs any more."""
    from mose.search.store import prune

    report = prune.prune(dry_run=arguments.dry_run)
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
        show(f"{would} the index of {index.root or index.folder} ({index.reason}, {index.size_bytes / 1e6:.1f} MB).")
    if report.num_vectors:
        show(f"{would} {counted(report.num_vectors, 'vector')} that no index uses, or not for long.")
    kept = f"{counted(report.num_kept, 'index', 'indexes')} and {counted(report.num_vectors_kept, 'vector')}"
    show(f"Kept: {kept} that all trees share.")
    for folder in report.busy:
        say(f"{folder} is left alone: another process is writing it.")
    for note in report.notes:
        say(note)
    return 0
