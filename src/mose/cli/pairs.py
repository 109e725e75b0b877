"""``mose pairs``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mose.cli.options import add_json, add_quiet, count, define
from mose.cli.output import ProgressBar, need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import show, show_json, show_lines

_STEPS = "write the requests, check the answers"


def add_pairs(command: Parser) -> None:
    """Add the commands of ``mose pairs`` and their arguments."""
    command.epilog = "example:\n  mose pairs mine configs/mine.toml --out mined/"
    actions = command.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, add, help in (
        ("mine", _add_mine, "mine pairs of text and code from the source of named packages"),
        (
            "negatives",
            _add_negatives,
            "find hard negatives: code near a query that does not answer it (needs mose[train])",
        ),
        ("ask", partial(_add_requests, run=ask), f"let a language model ask about the code of pairs: {_STEPS}"),
        (
            "translate",
            partial(_add_requests, run=translate),
            f"let a language model translate the code of pairs: {_STEPS}",
        ),
        ("dedup", _add_dedup, "drop near copies, and copies of evaluation rows (needs mose[data])"),
        ("check", _add_check, "look for rows that copy an evaluation row (needs mose[data])"),
        ("card", _add_card, "print the data card of pairs: counts, licences, what was dropped, hashes"),
    ):
        add(actions.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}."))


def _add_mine(command: Parser) -> None:
    define(
        command, mine, example="mose pairs mine configs/mine.toml --out mined/ --exclude-near DATA/csn/test.jsonl.xz"
    )
    command.add_argument("manifest", type=Path, metavar="MANIFEST", help="TOML file that names the packages")
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write; a stopped run goes on"
    )
    command.add_argument(
        "--sources", type=Path, metavar="FOLDER", help="folder of unpacked packages (default: the user's cache)"
    )
    command.add_argument(
        "--exclude-near",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="evaluation files; near copies of their rows are left out",
    )
    command.add_argument("--skip-missing", action="store_true", help="leave out packages that cannot be fetched")
    command.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    _add_output(command)


def _add_negatives(command: Parser) -> None:
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
    _add_output(command)


def _add_requests(command: Parser, run: Callable[[Arguments], int]) -> None:
    name = run.__name__
    define(
        command,
        run,
        example=f"mose pairs {name} mined/train.jsonl.xz --out {name}/ && ... && "
        f"mose pairs {name} --out {name}/ --answers part-*.jsonl.xz",
    )
    command.add_argument("pairs", type=Path, nargs="*", metavar="PAIRS", help="files written by mose pairs mine")
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of requests and checked answers"
    )
    command.add_argument(
        "--answers",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="check these answers (OpenAI batch results, .jsonl or .jsonl.xz) to the requests of FOLDER",
    )
    command.add_argument(
        "--without", nargs="+", default=[], metavar="SOURCE", help="leave out rows of these sources (pypi:rich)"
    )
    command.add_argument("--limit", type=count, metavar="N", help="requests to write (default: all)")
    _add_output(command)


def _add_dedup(command: Parser) -> None:
    define(
        command,
        dedup,
        example="mose pairs dedup asked/ translated/ --against DATA --out final/",
        notes="Of codes of one kind that are near copies the first one stays. The folder holds the kept rows, the "
        "dropped ones with their reasons (dropped.jsonl.xz), and settings, counts and hashes (stage.json).",
    )
    _add_inputs(command)
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    _add_jaccard(command)
    _add_against(command, required=False)
    _add_output(command)


def _add_check(command: Parser) -> None:
    define(
        command,
        check,
        example="mose pairs check final/ --against DATA",
        notes="Exit status: 0 if no row copies an evaluation row, 1 if some do, 2 for an error.",
    )
    _add_inputs(command)
    _add_against(command, required=True)
    _add_jaccard(command)
    _add_output(command)


def _add_card(command: Parser) -> None:
    define(command, card, example="mose pairs card final/ > final-card.md")
    _add_inputs(command)


def _add_inputs(command: Parser) -> None:
    command.add_argument(
        "pairs",
        type=Path,
        nargs="+",
        metavar="PAIRS",
        help="pair files, or folders of them as the other commands write",
    )


def _add_jaccard(command: Parser) -> None:
    command.add_argument(
        "--jaccard",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="codes that share this much of their runs of five characters are near copies (default: 0.7)",
    )


def _add_against(command: Parser, *, required: bool) -> None:
    command.add_argument(
        "--against",
        type=Path,
        nargs="+",
        action="extend",
        required=required,
        default=[] if not required else None,
        metavar="DATA",
        help="evaluation files, or folders: there, all files without train in their names",
    )


def _add_output(command: Parser) -> None:
    add_quiet(command)
    add_json(command, "print the counts as a JSON object")


def mine(arguments: Arguments) -> int:
    """``mose pairs mine``: pairs from the source of named packages."""
    from mose.data.mine.build import mine as mine_pairs
    from mose.data.mine.manifest import read_manifest
    from mose.storage import home

    with ProgressBar(quiet=arguments.quiet) as progress:
        summary = mine_pairs(
            read_manifest(arguments.manifest),
            arguments.out,
            sources=arguments.sources or home() / "sources",
            exclude_near=tuple(arguments.exclude_near),
            skip_missing=arguments.skip_missing,
            workers=arguments.workers,
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
                arguments.pairs, arguments.out, choose, without=frozenset(arguments.without), most=arguments.limit
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


def dedup(arguments: Arguments) -> int:
    """``mose pairs dedup``: pairs without near copies and without copies of evaluation rows."""
    need_packages("pairs dedup", "rensa", extra="data")
    from mose.data.curate.dedup import drop_near_copies

    with ProgressBar(quiet=arguments.quiet) as progress:
        summary = drop_near_copies(
            arguments.pairs,
            arguments.out,
            jaccard=arguments.jaccard,
            against=arguments.against,
            progress=progress,
        )
    if arguments.json:
        show_json([summary])
        return 0
    show(f"{arguments.out}: {summary['kept']:,} of {summary['rows']:,} rows")
    for reason, times in summary["dropped"].items():
        show(f"  {times:,} {reason}")
    show(f"  compared with {summary['settings']['bands']}")
    return 0


def check(arguments: Arguments) -> int:
    """``mose pairs check``: which rows copy an evaluation row."""
    need_packages("pairs check", "rensa", extra="data")
    from mose.data.curate.check import check_contamination

    with ProgressBar(quiet=arguments.quiet) as progress:
        report = check_contamination(arguments.pairs, arguments.against, jaccard=arguments.jaccard, progress=progress)
    if arguments.json:
        show_json([report])
    else:
        show(f"{report['rows']:,} rows against {report['evaluation_rows']:,} of {len(report['against'])} files")
        for reason, times in report["reasons"].items():
            show(f"  {times:,} {reason}")
        for copy in report["copies"][:20]:
            show(f"  {copy['row']}: {copy['reason']}" + (f" ({copy['copy_of']})" if copy["copy_of"] else ""))
        if len(report["copies"]) > 20:
            show(f"  and {len(report['copies']) - 20:,} more: --json lists all")
        if not report["copies"]:
            show("  no copy found")
    return 1 if report["copies"] else 0


def card(arguments: Arguments) -> int:
    """``mose pairs card``: the data card, on standard output."""
    from mose.data.curate.card import data_card

    show_lines(data_card(arguments.pairs).rstrip("\n"))
    return 0
