"""``mose pairs``."""

from __future__ import annotations

import json
from argparse import Namespace as Arguments

from mose.cli.output import ProgressBar


def mine(arguments: Arguments) -> int:
    """``mose pairs mine``: pairs from the source of named packages."""
    from mose.data.mine.build import mine as mine_pairs
    from mose.data.mine.fetch import default_sources
    from mose.data.mine.manifest import read_manifest
    from mose.search.records import Progress

    with ProgressBar(quiet=arguments.quiet) as tell:
        summary = mine_pairs(
            read_manifest(arguments.manifest),
            arguments.out,
            sources=arguments.sources or default_sources(),
            exclude_near=tuple(arguments.exclude_near),
            skip_missing=arguments.skip_missing,
            workers=arguments.workers,
            tell=lambda stage, done, total: tell(Progress(stage=stage, done=done, total=total)),
        )
    if arguments.json:
        print(json.dumps({name: summary[name] for name in ("totals", "dropped", "missing", "files")}))
        return 0
    for split, counts in summary["totals"].items():
        print(f"{split}: {counts['rows']} rows")
        for field in ("kinds", "languages"):
            print(f"  {field}: " + ", ".join(f"{name} {count}" for name, count in counts[field].items()))
    print("left out: " + ", ".join(f"{reason} {count}" for reason, count in summary["dropped"].items()))
    for label, reason in summary["missing"].items():
        print(f"missing: {label}: {reason}")
    return 0
