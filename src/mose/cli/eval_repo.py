"""``mose eval-repo``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from pathlib import Path
from typing import TYPE_CHECKING

from mose.cli.options import add_json, add_model, add_path, add_quiet, define
from mose.cli.output import ProgressBar
from mose.cli.parser import Parser
from mose.cli.terminal import say, show, show_json
from mose.errors import DataError

if TYPE_CHECKING:
    from mose.evaluate.repository.comparison import Check
    from mose.evaluate.repository.tree_report import TreeReport


def add_eval_repo(command: Parser) -> None:
    """Add the arguments of ``mose eval-repo``."""
    define(command, eval_repo, example="mose eval-repo path/to/tree --save baseline.json")
    add_path(command)
    add_model(command)
    depth = command.add_mutually_exclusive_group()
    depth.add_argument(
        "--exit",
        type=int,
        action="append",
        default=[],
        metavar="K",
        help="depth to measure; may be repeated (default: the shallowest and the deepest)",
    )
    depth.add_argument("--all-exits", action="store_true", help="measure every depth of the model")
    command.add_argument(
        "--queries", type=int, default=100, metavar="N", help="at most this many of each kind (default: 100)"
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the draw, if there are more (default: 0)"
    )
    command.add_argument(
        "--budget-tokens",
        type=int,
        metavar="N",
        help="size of an answer for the third metric, 4 characters a token (default: 4000)",
    )
    baseline = command.add_mutually_exclusive_group()
    baseline.add_argument("--save", type=Path, metavar="FILE", help="save the scores, to check against later")
    baseline.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="ask the queries of a saved run again; exit status 1 if NDCG@10 fell beyond noise",
    )
    command.add_argument("--list", action="store_true", help="print the queries and their answers; measure nothing")
    add_quiet(command)
    add_json(command, "print one JSON object (with --list, one a query)")


def eval_repo(arguments: Arguments) -> int:
    """``mose eval-repo``: a table of scores on stdout; 1 if a check finds a regression."""
    from mose.evaluate.repository.baseline import load_baseline, save_baseline
    from mose.evaluate.repository.comparison import check
    from mose.evaluate.repository.run import TreeRequest, evaluate_tree

    if arguments.list:
        return _list_queries(arguments)
    baseline = load_baseline(arguments.check) if arguments.check is not None else None
    if arguments.save is not None and not arguments.save.absolute().parent.is_dir():
        raise DataError(f"there is no folder {arguments.save.parent}", remedy="Make it first, or save elsewhere.")
    request = TreeRequest(
        path=arguments.path,
        model=arguments.model,
        exits=arguments.exit,
        all_exits=arguments.all_exits,
        num_queries=arguments.queries,
        seed=arguments.seed,
        budget_tokens=arguments.budget_tokens,
    )
    with ProgressBar(quiet=arguments.quiet) as progress:
        report = evaluate_tree(request, baseline=baseline, progress=progress)
    checked = check(report, baseline) if baseline is not None else None
    if arguments.save is not None:
        save_baseline(report, arguments.save)
    if arguments.json:
        show_json([_as_dict(report, checked)])
    else:
        _print_report(report)
        if checked is not None:
            _print_check(checked)
    if arguments.save is not None:
        say(f"Saved {arguments.save}.")
    if checked is None:
        return 0
    for worse in checked.regressions:
        say(
            f"Regression: NDCG@10 of {worse.system} fell from {worse.before:.3f} to {worse.now:.3f}"
            f" (by {worse.before - worse.now:.3f}; 95 % interval {-worse.high:.3f} to {-worse.low:.3f})."
        )
    return 1 if checked.regressions else 0


def _list_queries(arguments: Arguments) -> int:
    from mose.evaluate.repository.golden import explain
    from mose.evaluate.repository.run import golden_set

    with ProgressBar(quiet=arguments.quiet) as progress:
        _, golden = golden_set(arguments.path, num_queries=arguments.queries, seed=arguments.seed, progress=progress)
    if arguments.json:
        show_json(
            {"kind": query.kind, "query": query.text, "targets": list(map(str, query.targets))}
            for query in golden.queries
        )
    else:
        for query in golden.queries:
            show(f"{query.kind:8} {query.text}")
            show(f"         {', '.join(map(str, query.targets))}")
    for kind, report in golden.reports.items():
        say(f"{kind}: {explain(report)}")
    return 0


def _print_report(report: TreeReport) -> None:
    from mose.evaluate.repository.golden import explain
    from mose.evaluate.repository.tree_report import summaries

    show(f"{report.root.name}: {report.num_files:,} files, {report.num_chunks:,} chunks; model {report.model}")
    for kind, of_kind in report.golden.reports.items():
        num_asked = sum(query.kind == kind for query in report.golden.queries)
        show(f"  {kind:8} {num_asked:>4} queries; {explain(of_kind)}")
    tokens = f"in {report.budget_tokens:,} tokens"
    for summary in summaries(report):
        show()
        show(f"{f'{summary.name}, {summary.num_queries:,} queries':24} NDCG@10  95 % interval   Recall@10  {tokens}")
        for row in summary.rows:
            interval = f"{row.low:.3f} to {row.high:.3f}"
            in_tokens = f"{row.recall_in_tokens:{len(tokens)}.3f}"
            show(f"  {row.system:22} {row.ndcg:7.3f}  {interval:14} {row.recall:10.3f}  {in_tokens}")


def _print_check(checked: Check) -> None:
    gone = f"; {checked.num_gone:,} are gone" if checked.num_gone else ""
    model = "" if checked.same_model else "; by another model"
    show()
    show(f"{f'{checked.num_shared:,} queries as before':24}  before      now  difference, 95 % interval{gone}{model}")
    for row in checked.differences:
        verdict = "  worse" if row.is_regression else ""
        show(
            f"  {row.system:22} {row.before:7.3f}  {row.now:7.3f}"
            f"  {row.now - row.before:+10.3f}, {row.low:+.3f} to {row.high:+.3f}{verdict}"
        )


def _as_dict(report: TreeReport, checked: Check | None) -> dict[str, object]:
    from dataclasses import asdict

    import mose
    from mose.evaluate.repository.golden import fingerprint
    from mose.evaluate.repository.tree_report import summaries

    return {
        "root": str(report.root),
        "commit": report.state.commit,
        "dirty": report.state.is_dirty,
        "mose": mose.__version__,
        "model": report.model,
        "files": report.num_files,
        "chunks": report.num_chunks,
        "golden": fingerprint(report.golden.queries),
        "seed": report.seed,
        "budget_tokens": report.budget_tokens,
        "kinds": {kind: asdict(of_kind) for kind, of_kind in report.golden.reports.items()},
        "scores": [asdict(summary) for summary in summaries(report)],
        "check": None
        if checked is None
        else {
            "shared": checked.num_shared,
            "gone": checked.num_gone,
            "same_model": checked.same_model,
            "differences": [{**asdict(row), "regression": row.is_regression} for row in checked.differences],
        },
    }
