"""Quality of whole-repository search, part by part: NDCG@10 over nine packages, overall and by category.

    python benchmarks/repo_search.py --data DATA --sources SOURCES

DATA holds repo-search/*.json; SOURCES holds one folder per package with its unpacked wheel (as
`pip download --no-deps NAME==VERSION` and `unzip` leave it). Every row of the table comes from one run.
The last line is JSON; the same goes to benchmarks/results/repo-search-<commit>.json.

    python benchmarks/repo_search.py --data DATA --sources SOURCES --trees TREES [--against RESULT]

Instead, the cascade alone over both development splits, by language and repository, with 95 % intervals and the value
of every query; TREES holds one folder per repository of DATA/repo-search-languages (as `git archive REVISION ROOT`
leaves it). RESULT is an earlier file benchmarks/results/cascade-repo-search-*.json to be compared with, in pairs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from plain_bm25 import index_chunks, words_of
from results import write_result
from splits import evaluate_splits

from mose.evaluate.repository.benchmark import Location, RepoTask, load_tasks, ndcg_at_10
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions
from mose.search.ranking.rank import RankWeights

PLAIN = RankWeights(signals=False)
Answer = Callable[[str], list[Location]]


def plain_bm25(root: Path) -> Answer:
    """BM25 over 50-line chunks."""
    find = index_chunks(root)

    def answer(query: str) -> list[Location]:
        chunks = find(words_of(query), 200)
        return once_per_file(
            [Location(path=chunk.path, start_line=chunk.first_line, end_line=chunk.last_line) for chunk in chunks]
        )

    return answer


def once_per_file(locations: list[Location]) -> list[Location]:
    seen: dict[str, Location] = {}
    for location in locations:
        seen.setdefault(location.path, location)
    return list(seen.values())


def ours(index: CodeIndex, options: SearchOptions = SearchOptions()) -> Answer:  # noqa: B008
    def answer(query: str) -> list[Location]:
        hits = index.search(query, options)
        return [Location(path=hit.path, start_line=hit.start_line, end_line=hit.end_line) for hit in hits]

    return answer


class Table:
    """Scores by system, package and category."""

    def __init__(self) -> None:
        self.scores: dict[str, dict[str, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.misses: dict[str, list[str]] = defaultdict(list)

    def judge(self, system: str, task: RepoTask, answer: Answer) -> None:
        for query in task.queries:
            started = time.perf_counter()
            hits = answer(query.text)
            self.seconds[system].append(time.perf_counter() - started)
            score = ndcg_at_10(hits, query.targets)
            self.scores[system][task.package].append((query.category, score))
            if score < 0.9:
                wanted = [target.path for target in query.targets]
                self.misses[system].append(
                    f"{score:.2f} {task.package} | {query.text} | {wanted} | {[hit.path for hit in hits[:4]]}"
                )

    def summary(self, system: str, leave_out: str | None = None) -> dict[str, float]:
        packages = {name: rows for name, rows in self.scores[system].items() if name != leave_out}
        result = {"all": statistics.fmean(statistics.fmean(s for _, s in rows) for rows in packages.values())}
        for category in ("architecture", "semantic", "symbol"):
            means = [
                statistics.fmean(s for c, s in rows if c == category)
                for rows in packages.values()
                if any(c == category for c, _ in rows)
            ]
            result[category] = statistics.fmean(means)
        return result


def evaluate(args: argparse.Namespace) -> None:
    table = Table()
    for task in load_tasks(args.data / "repo-search"):
        if args.packages and task.package not in args.packages:
            continue
        root = args.sources / task.package / task.root
        if not args.quick:
            table.judge("BM25, 50-line chunks", task, plain_bm25(root))
        CodeIndex.open(root, model=args.model).close()
        # Without update no vector is stored: every query is the first.
        with CodeIndex.open(root, model=args.model, update=False) as unread:
            table.judge("cascade, cold tree", task, ours(unread, SearchOptions(budget_s=args.budget)))
        with CodeIndex.open(root, model=args.model) as index:
            judge_parts(table, task, index, quick=args.quick)
    report(table, args)


def judge_parts(table: Table, task: RepoTask, index: CodeIndex, *, quick: bool) -> None:
    """Scores of words, of each exit and of both, every chunk read."""
    index.deepen()
    table.judge("fused, signals: all deep", task, ours(index))
    if quick:
        return
    words, vectors = SearchOptions(mode="lexical"), SearchOptions(mode="dense")
    signals = index.weights
    exits = index.encoder.exits
    for exit_layer in exits[1:-1]:
        index.deepen(exit=exit_layer)
    table.judge("words, signals", task, ours(index, words))
    table.judge("words, exit 0, signals", task, ours(index, SearchOptions(exit=0)))
    for exit_layer in exits[1:-1]:
        table.judge(f"fused, signals: all at exit {exit_layer}", task, ours(index, SearchOptions(exit=exit_layer)))
    index.weights = PLAIN
    table.judge("words alone", task, ours(index, words))
    table.judge("deepest exit alone", task, ours(index, vectors))
    table.judge("fused, no signals", task, ours(index))
    for exit_layer in exits[:-1]:
        table.judge(f"exit {exit_layer} alone", task, ours(index, replace(vectors, exit=exit_layer)))
    index.weights = signals


def report(table: Table, args: argparse.Namespace) -> None:
    rows = {}
    print(f"{'NDCG@10':34}   all   arch   sem.   symb.   p50 ms   worst package left out: all")
    for system in table.scores:
        mean = table.summary(system)
        packages = table.scores[system]
        without = {name: table.summary(system, leave_out=name)["all"] for name in packages} if len(packages) > 1 else {}
        p50 = statistics.median(table.seconds[system]) * 1000
        low = min(without.values(), default=float("nan"))
        print(
            f"{system:34} {mean['all']:.4f} {mean['architecture']:.3f}  {mean['semantic']:.3f}  "
            f"{mean['symbol']:.3f} {p50:8.1f}   {low:.4f}"
        )
        by_package = {name: statistics.fmean(s for _, s in scores) for name, scores in packages.items()}
        rows[system] = {**mean, "p50_ms": p50, "packages": by_package, "without": without}
    for line in table.misses["fused, signals: all deep"] if args.misses else []:
        print("  ", line)
    write_result("repo-search", {"model": str(args.model), "budget_s": args.budget, "rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--trees", type=Path, help="the repositories of other languages: both splits, cascade alone")
    parser.add_argument("--against", type=Path, help="with --trees: the result to be compared with")
    parser.add_argument("--model", default="small")
    parser.add_argument("--packages", nargs="*")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for the cold short list (60: no limit)")
    parser.add_argument("--quick", action="store_true", help="only the fused rows")
    parser.add_argument("--misses", action="store_true", help="list the queries below 0.9")
    parser.add_argument("--home", type=Path, help="keep the indexes here, for repeated runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MOSE_HOME"] = str(args.home or home)
        evaluate_splits(args) if args.trees else evaluate(args)


if __name__ == "__main__":
    main()
