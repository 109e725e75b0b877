"""Was the ranking tuned to its development repositories? Its weights chosen without a language, scored on it.

    python benchmarks/leave_one_language_out.py --data DATA --sources SOURCES --trees TREES

DATA, SOURCES and TREES as for repo_search.py. Every weight of the ranking is tried at a few values, the others as shipped. For
each language the value of each weight is the best on the mean of all *other* languages (the shipped value where nothing is
better); all chosen values together are scored on that language. What the shipped setting is ahead of this is an
estimate of what it owes to having been chosen on the same repositories.

The last line is JSON; the same goes to benchmarks/results/leave-one-language-out-<commit>.json.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from results import write_result
from splits import tasks

from mose.evaluate.repository.benchmark import Location, RepoTask, ndcg_at_10
from mose.metrics.significance import two_stage_interval
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions
from mose.search.ranking import signals

NAME = "leave-one-language-out"
GRID: dict[str, tuple[float, ...]] = {
    "dense": (0.4, 0.8),
    "dense_symbol": (0.0, 0.6),
    "definition": (0.75, 3.0),
    "mention": (0.2, 0.8),
    "path": (0.4, 1.2),
    "symbol": (0.1, 0.4),
    "file": (0.15, 0.6),
    "precision": (0.0, 0.5, 1.0),
}
"""Values tried beside the shipped one."""
_CONSTANTS = {"precision": "PRECISION"}
"""Those that are constants of the signals and not weights."""
Setting = dict[str, float]
Tree = tuple[CodeIndex, RepoTask]


@contextmanager
def applied(setting: Setting, index: CodeIndex) -> Iterator[None]:
    """The index, and the constants of the ranking, with these values."""
    weights = index.weights
    constants = {own: getattr(signals, own) for own in _CONSTANTS.values()}
    index.weights = replace(weights, **{name: value for name, value in setting.items() if name not in _CONSTANTS})
    for name in setting.keys() & _CONSTANTS:
        setattr(signals, _CONSTANTS[name], setting[name])
    try:
        yield
    finally:
        index.weights = weights
        for own, value in constants.items():
            setattr(signals, own, value)


def scores(tree: Tree, setting: Setting) -> list[float]:
    """NDCG@10 of each query of a tree."""
    index, task = tree
    found = []
    with applied(setting, index):
        for query in task.queries:
            hits = index.search(query.text, SearchOptions(budget_s=60.0))
            locations = [Location(path=hit.path, start_line=hit.start_line, end_line=hit.end_line) for hit in hits]
            found.append(round(ndcg_at_10(locations, query.targets), 4))
    return found


def mean_without(language: str, trees: list[Tree], values: list[list[float]]) -> float:
    """Mean over the other languages of the means of their repositories, so that no language counts by its number."""
    means: dict[str, list[float]] = {}
    for (_, task), row in zip(trees, values, strict=True):
        if task.language != language:
            means.setdefault(task.language, []).append(float(np.mean(row)))
    return float(np.mean([np.mean(row) for row in means.values()]))


def choose(language: str, trees: list[Tree], tried: dict[tuple[str, float], list[list[float]]]) -> Setting:
    """For each weight its best value on all other languages; none where the shipped one is."""
    chosen: Setting = {}
    shipped = mean_without(language, trees, tried["shipped", 0.0])
    for name, values in GRID.items():
        best = max(values, key=lambda value: mean_without(language, trees, tried[name, value]))
        if mean_without(language, trees, tried[name, best]) > shipped + 1e-9:
            chosen[name] = best
    return chosen


def run(trees: list[Tree]) -> dict[str, object]:
    """All values of the grid on all trees, then each language with what the others choose."""
    settings: Iterable[tuple[str, float, Setting]] = [
        ("shipped", 0.0, {}),
        *((name, value, {name: value}) for name, values in GRID.items() for value in values),
    ]
    tried: dict[tuple[str, float], list[list[float]]] = {}
    for name, value, setting in settings:
        tried[name, value] = [scores(tree, setting) for tree in trees]
        print(f"{name:14} {value:<5g} {mean_without('', trees, tried[name, value]):.4f}", flush=True)
    languages: dict[str, object] = {}
    differences = []
    for language in sorted({task.language for _, task in trees}):
        chosen = choose(language, trees, tried)
        own = [position for position, (_, task) in enumerate(trees) if task.language == language]
        shipped = [tried["shipped", 0.0][position] for position in own]
        left_out = [scores(trees[position], chosen) for position in own]
        gains = [np.subtract(row, other) for row, other in zip(shipped, left_out, strict=True)]
        differences += gains
        languages[language] = {
            "chosen": chosen,
            "repositories": [trees[position][1].package for position in own],
            "shipped": two_stage_mean(shipped),
            "left_out": two_stage_mean(left_out),
            "difference": asdict(two_stage_interval(gains)),
            "scores": left_out,
        }
        print(language, chosen, languages[language]["difference"], flush=True)  # type: ignore[index]
    grid = {f"{name} {value:g}": mean_without("", trees, values) for (name, value), values in tried.items()}
    return {"grid": grid, "languages": languages, "difference": asdict(two_stage_interval(differences))}


def two_stage_mean(values: list[list[float]]) -> float:
    """Mean over repositories of the means of their queries."""
    return float(np.mean([np.mean(row) for row in values]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--trees", type=Path, required=True)
    parser.add_argument("--home", type=Path, help="keep the indexes here, for repeated runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, ExitStack() as opened:
        os.environ["MOSE_HOME"] = str(args.home or home)
        trees = [
            (opened.enter_context(CodeIndex.open(root)), task)
            for _, root, task in tasks(args.data, args.sources, args.trees)
        ]
        write_result(NAME, run(trees))


if __name__ == "__main__":
    main()
