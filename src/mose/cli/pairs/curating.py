"""``mose pairs filter``, ``dedup``, ``check``, ``card`` and ``convert``: which pairs stay, and what a set holds."""

from __future__ import annotations

from argparse import Namespace as Arguments
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mose.cli.options import add_files, add_json_counts, add_quiet, count, define
from mose.cli.output import ProgressBar, need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import show, show_json, show_lines


def add_convert(command: Parser) -> None:
    """Arguments of ``mose pairs convert``."""
    define(
        command,
        convert,
        example="mose pairs convert synthconl/*.parquet --out DATA/synthconl.jsonl.xz",
        notes="From tables to a pair file, or from pairs and their translations to a table, as the name of --out says.",
    )
    _add_inputs(command, "tables; or, to write a table, pair files or folders of them")
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="file to write: .jsonl.xz, or .parquet for a table"
    )
    add_json_counts(command)


def add_filter(command: Parser) -> None:
    """Arguments of ``mose pairs filter``."""
    define(
        command,
        filter_pairs,
        example="mose pairs filter asked/ --among mined/ --out good/",
        notes="A row stays if the shipped model at exit 0 and BM25 together rank its code among the first of its "
        "source's codes. The folder is as that of mose pairs dedup; each kept row has its rank.",
    )
    _add_inputs(command)
    add_files(
        command,
        "--among",
        "pairs whose codes are searched, such as all that were mined (default: the given ones)",
        metavar="PAIRS",
    )
    command.add_argument(
        "--first", type=count, default=20, metavar="N", help="keep rows whose code is among the first N (default: 20)"
    )
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    add_quiet(command)
    add_json_counts(command)


def add_dedup(command: Parser) -> None:
    """Arguments of ``mose pairs dedup``."""
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
    add_quiet(command)
    add_json_counts(command)


def add_check(command: Parser) -> None:
    """Arguments of ``mose pairs check``."""
    define(
        command,
        check,
        example="mose pairs check final/ --against DATA",
        notes="Exit status: 0 if no row copies an evaluation row, 1 if some do, 2 for an error.",
    )
    _add_inputs(command)
    _add_against(command, required=True)
    _add_jaccard(command)
    add_quiet(command)
    add_json_counts(command)


def add_card(command: Parser) -> None:
    """Arguments of ``mose pairs card``."""
    define(command, card, example="mose pairs card final/ > final-card.md")
    _add_inputs(command)


def _add_inputs(command: Parser, help: str = "pair files, or folders of them as the other commands write") -> None:
    command.add_argument("pairs", type=Path, nargs="+", metavar="PAIRS", help=help)


def _add_jaccard(command: Parser) -> None:
    command.add_argument(
        "--jaccard",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="codes that share this much of their runs of five characters are near copies (default: 0.7)",
    )


def _add_against(command: Parser, *, required: bool) -> None:
    add_files(
        command,
        "--against",
        "evaluation files, or folders: there, all files without train in their names",
        metavar="DATA",
        required=required,
    )


def convert(arguments: Arguments) -> int:
    """``mose pairs convert``: between tables with the columns of SynthCoNL and pair files."""
    need_packages("pairs convert", "pyarrow", extra="parquet")
    from mose.data.curate.parquet import read_triplets, write_triplets
    from mose.data.curate.stage import pair_files, read_pairs
    from mose.data.pairs import write_objects

    if arguments.out.suffix == ".parquet":
        rows_of_pairs = read_pairs(pair_files(arguments.pairs), needs=("code", "language"))
        counts = Counter(write_triplets((row for _, row in rows_of_pairs), arguments.out))
    else:
        counts = Counter(rows=0)

        def rows() -> Iterator[dict[str, Any]]:
            for table in arguments.pairs:
                for row in read_triplets(table, counts):
                    counts["rows"] += 1
                    yield row

        write_objects(arguments.out, rows(), replace=False)
    if arguments.json:
        show_json([{"file": str(arguments.out), **counts}])
    else:
        told = ", ".join(f"{times:,} {name.replace('_', ' ')}" for name, times in counts.items())
        show(f"{arguments.out}: {told}")
    return 0


def filter_pairs(arguments: Arguments) -> int:
    """``mose pairs filter``: pairs whose code a search finds."""
    need_packages("pairs filter", "bm25s", "Stemmer", extra="data")
    from mose.evaluate.consistency import keep_found

    with ProgressBar(quiet=arguments.quiet) as progress:
        summary = keep_found(
            arguments.pairs, arguments.out, among=arguments.among, first=arguments.first, progress=progress
        )
    _show_stage(arguments, summary)
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
    _show_stage(arguments, summary)
    if not arguments.json:
        show(f"  compared with {summary['settings']['bands']}")
    return 0


def _show_stage(arguments: Arguments, summary: dict[str, Any]) -> None:
    if arguments.json:
        show_json([summary])
        return
    show(f"{arguments.out}: {summary['kept']:,} of {summary['rows']:,} rows")
    for reason, times in summary["dropped"].items():
        show(f"  {times:,} {reason}")


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
