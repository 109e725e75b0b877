"""Development splits of repository search: means by hand, and weights that are chosen without the language they are scored on."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from mose.evaluate.repository.benchmark import RepoTask

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(scope="module")
def modules():
    before = set(sys.modules)
    sys.path.insert(0, BENCHMARKS)
    yield importlib.import_module("splits"), importlib.import_module("leave_one_language_out")
    sys.path.remove(BENCHMARKS)
    for name in {"splits", "leave_one_language_out", "results"} - before:
        sys.modules.pop(name, None)


def value(split, language, scores, **others):
    return {
        "split": split, "language": language, "categories": ["symbol", "semantic"],
        "scores": {"fused, deepest exit": scores, **others},
    }  # fmt: skip


def test_means_are_over_repositories_and_a_language_has_a_row(modules):
    splits, _ = modules
    values = {
        "a": value("python", "python", [1.0, 0.0]),
        "b": value("pinned", "rust", [1.0, 1.0], words=[0.5, 0.5]),
        "c": value("pinned", "swift", [0.0, 0.0], words=[0.5, 0.5]),
    }
    found = {name: (count, mean.mean) for name, count, mean, _ in splits.rows(splits.of_system(values))}
    assert found["all pinned repositories in other languages"] == (4, 0.5)
    assert found["rust: b"] == (2, 1.0) and found["a"] == (2, 0.5)
    (words,) = (row for row in splits.part_rows(values) if row[0] == "words")
    assert (words[2], words[3].mean, words[4].mean) == (4, 0.5, 0.0)  # paired with the search on the same repositories
    assert splits.category_means(splits.of_system(values), "python") == {"semantic": 0.0, "symbol": 1.0}


def test_an_earlier_result_of_one_system_is_compared_in_pairs(modules):
    splits, _ = modules
    now = {"a": value("python", "python", [1.0, 0.5])}
    before = {"a": {"split": "python", "language": "python", "scores": [0.5, 0.5]}}
    (_, _, _, gain), _ = splits.rows(splits.of_system(now), splits.of_system(before))
    assert gain.mean == 0.25


def test_weights_are_chosen_on_the_other_languages_alone(modules):
    _, leave = modules
    languages = ("go", "go", "rust")
    trees = [(None, RepoTask(package=str(n), version="", root="", queries=(), language=language))
             for n, language in enumerate(languages)]  # fmt: skip
    same = [[0.5], [0.5], [0.5]]
    tried = {("shipped", 0.0): same, **{(name, v): same for name, values in leave.GRID.items() for v in values}}
    tried["path", leave.GRID["path"][0]] = [[0.5], [0.5], [0.9]]  # good for Rust
    tried["file", leave.GRID["file"][1]] = [[0.9], [0.5], [0.4]]  # good for Go
    assert leave.choose("rust", trees, tried) == {"file": leave.GRID["file"][1]}
    assert leave.choose("go", trees, tried) == {"path": leave.GRID["path"][0]}
    assert leave.mean_without("none", trees, tried["file", leave.GRID["file"][1]]) == pytest.approx(
        np.mean([np.mean([0.9, 0.5]), 0.4])  # a language counts once, however many repositories it has
    )


def test_a_setting_is_undone_even_for_constants(modules):
    _, leave = modules
    from mose.search.ranking import signals
    from mose.search.ranking.rank import RankWeights

    class Index:
        weights = RankWeights()

    index, before = Index(), signals.PRECISION
    with pytest.raises(KeyError), leave.applied({"precision": 0.0, "path": 0.4}, index):
        assert (signals.PRECISION, index.weights.path) == (0.0, 0.4)
        raise KeyError
    assert (signals.PRECISION, index.weights) == (before, RankWeights())
