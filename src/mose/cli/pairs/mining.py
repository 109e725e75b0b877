"""``mose pairs mine``, ``history`` and ``negatives``: pairs from packages and commits, and codes that do not answer."""

from __future__ import annotations

from argparse import Namespace as Arguments
from pathlib import Path

from mose.cli.options import add_files, add_json_counts, add_quiet, add_workers, define, executor_of
from mose.cli.output import ProgressBar, need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import show, show_json


def add_mine(command: Parser) -> None:
    """Arguments of ``mose pairs mine``."""
    define(command, mine, example="mose pairs mine configs/mine.toml --out mined/ --exclude-near DATA")
    command.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCES",
        help="TOML file that names packages, or folders: source trees and git checkouts, each of them a package",
    )  # fmt: skip
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write; a stopped run continues"
    )
    command.add_argument(
        "--license", default="", metavar="NAME",
        help="licence of the folders (default: what each says itself, which must be permissive)",
    )  # fmt: skip
    command.add_argument(
        "--sources",
        dest="unpacked",
        type=Path,
        metavar="FOLDER",
        help="folder of unpacked packages (default: the user's cache)",
    )
    _add_exclude_near(command)
    command.add_argument("--skip-missing", action="store_true", help="leave out packages that cannot be fetched")
    add_workers(command)
    add_quiet(command)
    add_json_counts(command)


def add_history(command: Parser) -> None:
    """Arguments of ``mose pairs history``."""
    define(
        command,
        history,
        example="mose pairs history configs/histories.toml --clones ~/clones --out pairs/history --exclude-near DATA",
        notes="The subject of a commit is paired with the functions that it changed, as they were before it. Merges, "
        "reverts, releases, formatting, tests and commits that change many files or functions are left out.",
    )
    command.add_argument("manifest", type=Path, metavar="MANIFEST", help="TOML file that names repositories")
    command.add_argument(
        "--clones", type=Path, required=True, metavar="FOLDER", help="folder of clones, called as the repositories are"
    )
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    _add_exclude_near(command)
    add_workers(command)
    add_quiet(command)
    add_json_counts(command)


def add_negatives(command: Parser) -> None:
    """Arguments of ``mose pairs negatives``."""
    define(
        command,
        negatives,
        example="mose pairs negatives ladder/ DATA/csn/train.jsonl.xz --out DATA/csn/train-hard.jsonl.xz",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder that ranks the code")
    command.add_argument("pairs", type=Path, metavar="PAIRS", help="pairs of text and code, as JSON lines")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write: .jsonl or .jsonl.xz")
    command.add_argument(
        "--first-rank",
        type=int,
        default=5,
        metavar="N",
        help="skip the N nearest, which are often unmarked answers (default: 5)",
    )
    command.add_argument("--last-rank", type=int, default=60, metavar="N", help="look no further (default: 60)")
    command.add_argument(
        "--margin",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="a negative's cosine is at most this share of the answer's (default: 0.95)",
    )
    command.add_argument(
        "--count", type=int, default=4, metavar="N", help="at most this many negatives of a row (default: 4)"
    )
    command.add_argument(
        "--exit",
        type=int,
        metavar="K",
        help="exit that ranks the code; 0 reads thousands of rows a second (default: the deepest)",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the draw (default: 0)")
    add_quiet(command)
    add_json_counts(command)


def _add_exclude_near(command: Parser) -> None:
    add_files(
        command,
        "--exclude-near",
        "evaluation files, or folders of them; near copies of their rows are left out",
        metavar="FILE",
    )


def mine(arguments: Arguments) -> int:
    """``mose pairs mine``: pairs from the source of named packages."""
    from mose.data.mine.build import mine as mine_pairs
    from mose.data.mine.trees import read_sources
    from mose.storage import home

    with ProgressBar(quiet=arguments.quiet) as progress:
        summary = mine_pairs(
            read_sources(arguments.sources, arguments.license),
            arguments.out,
            sources=arguments.unpacked or home() / "sources",
            exclude_near=tuple(arguments.exclude_near),
            skip_missing=arguments.skip_missing,
            workers=arguments.workers,
            each=executor_of(arguments),
            progress=progress,
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


def history(arguments: Arguments) -> int:
    """``mose pairs history``: commits and the functions that they changed."""
    from mose.data.mine.history import mine_histories, read_histories

    with ProgressBar(quiet=arguments.quiet) as progress:
        summary = mine_histories(
            read_histories(arguments.manifest),
            arguments.clones,
            arguments.out,
            exclude_near=tuple(arguments.exclude_near),
            workers=arguments.workers,
            each=executor_of(arguments),
            progress=progress,
        )
    if arguments.json:
        show_json([{name: summary[name] for name in ("totals", "dropped", "repositories")}])
        return 0
    for split, counts in summary["totals"].items():
        languages = ", ".join(f"{name} {times}" for name, times in counts["languages"].items())
        show(f"{split}: {counts['rows']} rows of {counts['commits']} commits ({languages})")
    show("left out: " + ", ".join(f"{reason} {times}" for reason, times in summary["dropped"].items()))
    return 0


def negatives(arguments: Arguments) -> int:
    """``mose pairs negatives``: codes near each query that do not answer it, found by a model."""
    need_packages("pairs negatives", "torch", "transformers")
    from mose.train.retrieval.hard_negatives import MiningConfig, mine_hard_negatives

    config = MiningConfig(
        first_rank=arguments.first_rank,
        last_rank=arguments.last_rank,
        margin=arguments.margin,
        count=arguments.count,
        exit_layer=arguments.exit,
    )
    with ProgressBar(quiet=arguments.quiet) as progress:
        counts = mine_hard_negatives(
            arguments.model,
            arguments.pairs,
            arguments.out,
            config,
            seed=arguments.seed,
            progress=progress,
        )
    if arguments.json:
        show_json([{"file": str(arguments.out), **counts}])
        return 0
    show(f"{arguments.out}: {counts['rows']} rows, {counts['with_negatives']} of them with hard negatives")
    show("Train with them: name the file in a source, and set data.hard_negatives.")
    return 0
