"""``mose eval``."""

from __future__ import annotations

import os
from argparse import Namespace as Arguments
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mose.cli.options import add_json, add_quiet, count, define, names, numbers
from mose.cli.output import ProgressBar, need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import say, show, show_json, show_lines
from mose.errors import ConfigError, DataError
from mose.storage import require_writable_folder

if TYPE_CHECKING:
    from mose.evaluate.result import Result
    from mose.evaluate.tasks import Split

DATA_VARIABLE = "MOSE_DATA"


def add_eval(command: Parser) -> None:
    """Add the arguments of ``mose eval``."""
    define(command, evaluate, example="mose eval small --data DATA --out report/ --tasks cosqa,csn-ruby")
    add = command.add_argument
    add(
        "model", nargs="?", default="small", metavar="MODEL",
        help='a shipped model, a runtime folder or a checkpoint folder (default: "small")',
    )  # fmt: skip
    add("--data", type=Path, metavar="DATA", help=f"folder with task data (default: the variable {DATA_VARIABLE})")
    add("--out", type=Path, default=Path("report"), metavar="FOLDER", help="folder to write (default: report)")
    add("--tasks", type=names, default=(), metavar="NAME,...", help="tasks to run (default: all)")
    add(
        "--split", choices=("test", "valid"), default="test",
        help="valid: run on the validation splits, to tune on; not every task has one (default: test)",
    )  # fmt: skip
    add("--exits", type=numbers, metavar="K,...", help="exits to score (default: all)")
    add(
        "--widths", type=numbers, default=(256, 128, 64), metavar="W,...",
        help="leading dimensions to score, besides all of them (default: 256,128,64)",
    )  # fmt: skip
    add(
        "--peers", type=names, default=("bm25", "minilm", "static", "e5"), metavar="NAME,...",
        help="bm25, minilm, minilm-128, e5, static, a folder of an exported or sentence-transformers model, or none "
        "(default: bm25,minilm,static,e5)",
    )  # fmt: skip
    add("--static", type=Path, metavar="FOLDER", help="model2vec folder of the peer static")
    add("--all-tasks", action="store_true", help="run slow peers on every task, too")
    add("--quick", action="store_true", help="run on a sample of each task; compare it with nothing else")
    add("--limit", type=count, metavar="N", help="as --quick, with N queries a task")
    add("--cache", type=Path, metavar="FOLDER", help="folder of embeddings (default: in the user's cache)")
    add("--threads", type=int, metavar="N", help="threads (default: all cores)")
    add_quiet(command)
    add_json(command, "print one JSON object for each task, system, exit and width")
    other = command.add_mutually_exclusive_group()
    other.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A.json", "B.json"), help="compare two result files; run nothing"
    )
    other.add_argument("--report", type=Path, metavar="RESULT.json", help="render a result file again; run nothing")
    other.add_argument("--list", action="store_true", help="list the tasks that DATA holds; run nothing")


def evaluate(arguments: Arguments) -> int:
    """``mose eval``: the summary on stdout; result file, tables and plots in a folder."""
    if arguments.compare:
        return _compare(*arguments.compare, as_json=arguments.json)
    if arguments.list:
        return _list(_data(arguments), arguments.split)
    need_packages("eval", "matplotlib", extra="eval")
    from mose.evaluate.result_file import read_result, write_result

    if arguments.report:
        return _show(read_result(arguments.report), arguments)
    from mose.evaluate.run import QUICK_LIMIT, Request
    from mose.evaluate.run import evaluate as run

    limit = arguments.limit if arguments.limit is not None else QUICK_LIMIT if arguments.quick else None
    if 0 in arguments.widths:
        raise ConfigError("--widths", got=0, allowed="1 or more")
    request = Request(
        model=arguments.model,
        data=_data(arguments),
        tasks=arguments.tasks,
        split=arguments.split,
        exits=arguments.exits,
        widths=arguments.widths,
        peers=arguments.peers,
        limit=limit,
        all_tasks=arguments.all_tasks,
        cache=arguments.cache,
        static_folder=arguments.static,
        threads=arguments.threads,
    )
    _check_writable(arguments.out)
    with ProgressBar(quiet=arguments.quiet) as progress:
        result = run(request, progress=progress, say=say)
    path = write_result(result, arguments.out / "results")
    say(f"Wrote {path}.")
    return _show(result, arguments)


def _show(result: Result, arguments: Arguments) -> int:
    from mose.evaluate.report import write_report
    from mose.evaluate.report.markdown import render
    from mose.evaluate.report.tables import summary_table

    page = write_report(result, arguments.out)[0]
    if arguments.json:
        show_json({**asdict(score), "per_query": None} for score in result.scores)
    else:
        show_lines(render(summary_table(result)))
    say(f"Wrote {page}.")
    return 0


def _compare(first: Path, second: Path, *, as_json: bool) -> int:
    from mose.evaluate.report.compare import change_table, compare
    from mose.evaluate.report.markdown import render
    from mose.evaluate.result_file import read_result

    before, after = read_result(first), read_result(second)
    changes = compare(before, after)
    if as_json:
        show_json(asdict(change) for change in changes)
    else:
        show_lines(render(change_table(changes, str(first), str(second))))
    return 0


def _list(data: Path, split: Split) -> int:
    from mose.evaluate.tasks import task_names

    for name in task_names(data, split):
        show(name)
    return 0


def _data(arguments: Arguments) -> Path:
    named = arguments.data or os.environ.get(DATA_VARIABLE)
    if not named:
        raise ConfigError("no data folder", remedy=f"Name it with --data, or set {DATA_VARIABLE}.")
    data = Path(named).expanduser()
    if not data.is_dir():
        raise DataError(f"there is no data folder {data}", remedy=f"Name it with --data, or set {DATA_VARIABLE}.")
    return data


def _check_writable(out: Path) -> None:
    """Raise before the work, not after it, unless the results can be written."""
    require_writable_folder(out, marks=("results", "report.md"))
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".mose-eval"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}", remedy="Name another folder with --out.") from error
