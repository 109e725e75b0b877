"""Quality of whole-repository search: NDCG@10 over both development splits, by language and repository.

    python benchmarks/repo_search.py --data DATA --sources SOURCES --trees TREES [--against RESULT]

DATA holds repo-search/*.json and repo-search-languages/*.json; SOURCES holds one folder per Python package with its
unpacked wheel (as `pip download --no-deps NAME==VERSION` and `unzip` leave it); TREES one folder per repository of the
other split (as `git archive REVISION ROOT` leaves it). Every system asks the same index; a query's short list is read as
a first search reads it. ``--parts`` adds, on the Python packages, the exits between, and what words and each exit are
worth alone: every chunk is read at every exit for that. RESULT is an earlier result to be compared with, in pairs.

The last line is JSON; the same goes to benchmarks/results/repo-search-<commit>.json, with the value of every query.
``--misses FILE`` writes the queries below 0.9, with what was found instead.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plain_bm25 import index_chunks, words_of
from results import write_result
from splits import DEEPEST, Values, difference, interval, of_system, part_rows, rows, tasks

from mose.evaluate.repository.benchmark import Location, RepoTask, ndcg_at_10
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions
from mose.search.ranking.rank import RankWeights

NAME = "repo-search"
PLAIN = RankWeights(signals=False)
WORDS = SearchOptions(mode="lexical")
Answer = Callable[[str], list[Location]]


def plain_bm25(root: Path) -> Answer:
    """BM25 over 50-line chunks, each file once."""
    find = index_chunks(root)

    def answer(query: str) -> list[Location]:
        seen: dict[str, Location] = {}
        for chunk in find(words_of(query), 200):
            location = Location(path=chunk.path, start_line=chunk.first_line, end_line=chunk.last_line)
            seen.setdefault(chunk.path, location)
        return list(seen.values())

    return answer


def ours(index: CodeIndex, options: SearchOptions, weights: RankWeights | None = None) -> Answer:
    """Our search with these options, and the ranking of these weights."""
    usual = index.weights

    def answer(query: str) -> list[Location]:
        index.weights = weights or usual
        hits = index.search(query, options)
        index.weights = usual
        return [Location(path=hit.path, start_line=hit.start_line, end_line=hit.end_line) for hit in hits]

    return answer


def fused(index: CodeIndex, budget_s: float) -> dict[str, Answer]:
    """Words with signals, with exit 0 beside them, and with the short list read at the deepest exit."""
    return {
        "words, signals": ours(index, WORDS),
        "fused, exit 0": ours(index, SearchOptions(exit=0)),
        DEEPEST: ours(index, SearchOptions(budget_s=budget_s)),
    }


def parts(index: CodeIndex) -> dict[str, Answer]:
    """Each exit between, then words and vectors without signals; every chunk is read at every exit."""
    exits = index.encoder.exits
    for exit_layer in exits[1:]:
        index.deepen(exit=exit_layer)
    answers = {f"fused, exit {exit_layer}": ours(index, SearchOptions(exit=exit_layer)) for exit_layer in exits[1:-1]}
    answers["words alone"] = ours(index, WORDS, PLAIN)
    answers["fused, no signals"] = ours(index, SearchOptions(), PLAIN)
    for exit_layer in exits:
        answers[f"exit {exit_layer} alone"] = ours(index, SearchOptions(mode="dense", exit=exit_layer), PLAIN)
    return answers


class Misses:
    """Queries whose answer scores below 0.9, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, task: RepoTask, position: int, score: float, hits: list[Location]) -> None:
        if score >= 0.9:
            return
        query = task.queries[position]
        wanted = " ".join(map(str, query.targets))
        found = " ".join(map(str, hits[:5]))
        self.lines.append(f"{score:.2f} {task.package} {query.category} | {query.text} | {wanted} | {found}")


def judge(task: RepoTask, answers: dict[str, Answer], misses: Misses) -> dict[str, list[float]]:
    """NDCG@10 of each query, by system."""
    scores: dict[str, list[float]] = {}
    for system, answer in answers.items():
        scores[system] = []
        for position, query in enumerate(task.queries):
            hits = answer(query.text)
            score = ndcg_at_10(hits, query.targets)
            scores[system].append(round(score, 4))
            if system == DEEPEST:
                misses.note(task, position, score, hits)
    return scores


def evaluate(args: argparse.Namespace) -> None:
    """Search every tree of both splits, and report."""
    values: Values = {}
    misses = Misses()
    for split, root, task in tasks(args.data, args.sources, args.trees):
        if args.packages and task.package not in args.packages:
            continue
        with CodeIndex.open(root, model=args.model) as index:
            answers = {"BM25, 50-line chunks": plain_bm25(root), **fused(index, args.budget)}
            scores = judge(task, answers, misses)
            if args.parts and split == "python":
                scores |= judge(task, parts(index), misses)
        categories = [query.category for query in task.queries]
        values[task.package] = {"split": split, "language": task.language, "categories": categories, "scores": scores}
        print(f"{task.package:20}", *(f"{sum(row) / len(row):.3f}" for row in scores.values()), flush=True)
    if args.misses:
        args.misses.write_text("\n".join(misses.lines) + "\n", encoding="utf8")
    report(values, json.loads(args.against.read_text(encoding="utf8")) if args.against else None)
    write_result(NAME, {"model": args.model, "budget_s": args.budget, "repositories": values})


def report(values: Values, against: dict[str, Any] | None) -> None:
    print("\nby system: split, queries, mean")
    for system, part, count, mean, _ in part_rows(values):
        print(f"{system:24} {part:55} {count:4}  {interval(mean)}")
    print(f"\n{DEEPEST}, by language and repository")
    before = against and of_system(against["repositories"])
    for name, count, mean, gain in rows(of_system(values), before):
        print(f"{name:55} {count:4}  {interval(mean)}  {difference(gain)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--trees", type=Path, help="the repositories of other languages; without: Python alone")
    parser.add_argument("--against", type=Path, help="the result to be compared with")
    parser.add_argument("--model", default="small")
    parser.add_argument("--packages", nargs="*")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for a short list (60: no limit)")
    parser.add_argument("--parts", action="store_true", help="every exit, and words and exits alone, in Python")
    parser.add_argument("--misses", type=Path, help="write the queries below 0.9 here")
    parser.add_argument("--home", type=Path, help="keep the indexes here, for repeated runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MOSE_HOME"] = str(args.home or home)
        evaluate(args)


if __name__ == "__main__":
    main()
