from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mose.config import DataConfig, SourceConfig, ValidationConfig, ValidationTask
from mose.errors import DataError
from mose.metrics.ranking import reciprocal_rank, relevant_ranks
from mose.train.loop import TrainingError
from mose.train.retrieval.validate import ValidationSet, load_tasks, reciprocal_ranks


def load(folder: Path, **task: object) -> ValidationSet:
    data = DataConfig(folder=str(folder), sources=(SourceConfig(name="a", file="a"),))
    (loaded,) = load_tasks(ValidationConfig(tasks=(ValidationTask(name="t", **task),)), data)  # type: ignore[arg-type]
    return loaded


def write(folder: Path, name: str, *rows: dict[str, object]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_reciprocal_rank_takes_the_best_answer_and_breaks_ties_as_metrics_does() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.5]] * 4)
    answers = [frozenset({0, 1}), frozenset({2}), frozenset({3}), frozenset({0})]
    expected = [1.0, 1 / 3, 1 / 2, 0.25]  # of equal scores, the last id comes first
    assert reciprocal_ranks(scores, answers).tolist() == pytest.approx(expected)
    assert expected == pytest.approx(reciprocal_rank(relevant_ranks(scores, list("abcd"), answers)).tolist())


def test_vectors_that_are_not_finite_stop_the_run() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        reciprocal_ranks(np.array([[np.nan, 0.5]]), [frozenset({0})])


def test_equal_texts_share_their_answers(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a",
        *({"query": q, "code": c, "language": "go"} for q, c in (("x", "1"), ("x", "2"), ("y", "2"))),
    )
    task = load(tmp_path, file="a")
    assert list(task.query.texts) == ["x", "y"] and list(task.code.texts) == ["1", "2"]
    assert task.relevant == (frozenset({0, 1}), frozenset({1}))


def test_code_to_code_crosses_languages_inside_groups(tmp_path: Path) -> None:
    rows = [
        ("1", "go", "g"),
        ("2", "java", "g"),
        ("3", "java", "h"),
        ("4", "java", "g"),
        ("5", "go", "lonely"),
    ]
    write(tmp_path, "a", *({"code": c, "language": language, "group": g} for c, language, g in rows))
    task = load(tmp_path, file="a", task="code-code", languages=("go", "java"))
    assert list(task.query.texts) == ["1"] and list(task.code.texts) == ["2", "3", "4"]
    assert task.relevant == (frozenset({0, 2}),)


def test_codebase_counts_equal_codes_as_right(tmp_path: Path) -> None:
    codes = [("a", "f( )"), ("b", "g()"), ("c", "f(\n)")]
    write(tmp_path, "base", *({"id": i, "code": c, "language": "python"} for i, c in codes))
    write(tmp_path, "queries", {"query": "q", "positive": "c"})
    assert load(tmp_path, file="queries", codebase="base").relevant == (frozenset({0, 2}),)
    write(tmp_path, "queries", {"query": "q", "positive": "z"})
    with pytest.raises(DataError, match=r"queries, line 1: positive is not in base"):
        load(tmp_path, file="queries", codebase="base")


def test_fewer_queries_keep_their_codes_only(tmp_path: Path) -> None:
    write(tmp_path, "a", *({"query": f"q{n}", "code": f"c{n}", "language": "go"} for n in range(9)))
    task = load(tmp_path, file="a", max_queries=4)
    assert len(task.query.texts) == len(task.code.texts) == 4
    for text, answers in zip(task.query.texts, task.relevant, strict=True):
        assert [task.code.texts[answer][1:] for answer in answers] == [text[1:]]
