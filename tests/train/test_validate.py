from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mose.config import DataConfig, SourceConfig, ValidationConfig, ValidationTask
from mose.errors import DataError
from mose.model.checkpoint import load_model
from mose.tokenizer import CodeTokenizer
from mose.train.retrieval.validate import RetrievalTask, evaluate_tasks, exit_matrix, load_tasks, reciprocal_ranks


def load(folder: Path, **task: object) -> RetrievalTask:
    data = DataConfig(folder=str(folder), sources=(SourceConfig(name="a", file="a"),))
    (loaded,) = load_tasks(ValidationConfig(tasks=(ValidationTask(name="t", **task),)), data)  # type: ignore[arg-type]
    return loaded


def write(folder: Path, name: str, *rows: dict[str, object]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_reciprocal_rank_takes_the_best_answer_and_ties_count_against() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.5]] * 3)
    answers = [frozenset({0, 1}), frozenset({2}), frozenset({0})]
    assert reciprocal_ranks(scores, answers).tolist() == [1.0, pytest.approx(1 / 3), 0.25]


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


def test_exit_matrix_has_the_plain_values_on_its_diagonal(ladder: Path, data_folder: Path) -> None:
    task = load(data_folder, file="valid.jsonl", languages=("python",))
    model, tokenizer = load_model(ladder), CodeTokenizer.load(ladder)
    matrix = exit_matrix([task], tokenizer, model.embed, words=True)
    plain = evaluate_tasks([task], tokenizer, model.embed, words=True)
    assert set(matrix) == {(0, 0), *((a, b) for a in (1, 2, 4) for b in (1, 2, 4))}
    for one in (0, 1, 2, 4):
        assert matrix[one, one] == plain[f"t/exit_{one:02d}"]
