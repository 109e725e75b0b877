"""``mose pairs``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from typing import Any

from mose.cli.output import ProgressBar, need_packages
from mose.cli.terminal import show, show_json


def mine(arguments: Arguments) -> int:
    """``mose pairs mine``: pairs from the source of named packages."""
    from mose.data.mine.build import mine as mine_pairs
    from mose.data.mine.manifest import read_manifest
    from mose.progress import Progress
    from mose.search.store.location import home

    with ProgressBar(quiet=arguments.quiet) as tell:
        summary = mine_pairs(
            read_manifest(arguments.manifest),
            arguments.out,
            sources=arguments.sources or home() / "sources",
            exclude_near=tuple(arguments.exclude_near),
            skip_missing=arguments.skip_missing,
            workers=arguments.workers,
            tell=lambda stage, done, total: tell(Progress(stage=stage, done=done, total=total)),
        )
    if arguments.json:
        show_json([{name: summary[name] for name in ("totals", "dropped", "missing", "files")}])
        return 0
    for split, counts in summary["totals"].items():
        show(f"{split}: {counts['rows']} rows")
        for field in ("kinds", "languages"):
            show(f"  {field}: " + ", ".join(f"{name} {count}" for name, count in counts[field].items()))
    show("left out: " + ", ".join(f"{reason} {count}" for reason, count in summary["dropped"].items()))
    for label, reason in summary["missing"].items():
        show(f"missing: {label}: {reason}")
    return 0


def negatives(arguments: Arguments) -> int:
    """``mose pairs negatives``: codes near each query that do not answer it, found by a model."""
    need_packages("pairs negatives", "torch", "transformers")
    from mose.progress import Progress
    from mose.train.retrieval.hard_negatives import MiningConfig, mine_hard_negatives

    config = MiningConfig(
        first_rank=arguments.first_rank,
        last_rank=arguments.last_rank,
        margin=arguments.margin,
        count=arguments.count,
        exit_layer=arguments.exit,
    )
    with ProgressBar(quiet=arguments.quiet) as tell:
        counts = mine_hard_negatives(
            arguments.model,
            arguments.pairs,
            arguments.out,
            config,
            seed=arguments.seed,
            tell=lambda stage, done, total: tell(Progress(stage=stage, done=done, total=total)),
        )
    if arguments.json:
        show_json([{"file": str(arguments.out), **counts}])
        return 0
    show(f"{arguments.out}: {counts['rows']} rows, {counts['with_negatives']} of them with hard negatives")
    show("Train with them: name the file in a source, and set data.hard_negatives.")
    return 0


def ask(arguments: Arguments) -> int:
    """``mose pairs ask``: requests for questions about the code of pairs, or the answers to them checked."""
    from mose.data.translate.asking import questions

    return _write(arguments, questions)


def translate(arguments: Arguments) -> int:
    """``mose pairs translate``: requests for translations of the code of pairs, or the answers to them checked."""
    from mose.data.translate.asking import translations

    return _write(arguments, translations)


def _write(arguments: Arguments, choose: Any) -> int:
    from mose.data.translate.answers import ACCEPTED, REJECTED, read_answers
    from mose.data.translate.asking import REQUESTS, write_requests

    if arguments.answers:
        counts: dict[str, Any] = read_answers(arguments.out, arguments.answers)
        files = [ACCEPTED, REJECTED]
    else:
        counts = {
            "requests": write_requests(
                arguments.pairs, arguments.out, choose, without=frozenset(arguments.without), most=arguments.most
            )
        }
        files = [REQUESTS]
    if arguments.json:
        show_json([counts])
        return 0
    for name, value in counts.items():
        told = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
        show(f"{name}: {told}")
    show("written: " + ", ".join(str(arguments.out / name) for name in files))
    return 0
