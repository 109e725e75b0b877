"""The open tasks: queries, candidates and relevance, on files written by hand."""

import json
import lzma
import os
from pathlib import Path

import numpy as np
import pytest

from mose.errors import ConfigError, DataError
from mose.evaluate.tasks import load_tasks, task_names
from mose.metrics import ranking


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(lzma.compress(text.encode()) if path.suffix == ".xz" else text.encode())


def row(identity, query, code, language, group=None):
    return {"id": identity, "query": query, "code": code, "language": language, "group": group}


CSN = [
    row("go/1", "Close the file.", "func a() {}", "go"),
    row("go/2", "Open it.", "func b() {}", "go"),
    row("go/3", "Close  the file.", "func c() {}", "go"),
    row("ruby/1", "Close the file.", "def a; end", "ruby"),
]
MBXP = [
    row("py/1", "Add two.", "def add(a, b): return a + b", "python", "p/1"),
    row("py/2", "Negate.", "def neg(a): return -a", "python", "p/2"),
    row("py/3", "Twice.", "def neg(a):  return -a", "python", "p/3"),
    row("java/1", "Add two.", "int add(int a, int b) { return a + b; }", "java", "p/1"),
    row("java/3", "Twice.", "int twice(int a) { return 2 * a; }", "java", "p/3"),
    row("java/4", "Halve.", "int half(int a) { return a / 2; }", "java", "p/4"),
]
ROSETTA = [
    row("ro/1", "Sort.", "sorted(x)", "python", "r/sort"),
    row("ro/2", "Sort.", "x.sort()", "python", "r/sort"),
    row("ro/3", "Sum.", "sum(x)", "python", "r/sum"),
    row("ro/4", "Sort.", "Arrays.sort(x);", "java", "r/sort"),
]


@pytest.fixture
def data(tmp_path):
    write(tmp_path / "csn" / "test.jsonl.xz", CSN)
    write(tmp_path / "mbxp" / "test.jsonl.xz", MBXP)
    write(tmp_path / "mbxp" / "test-anon.jsonl.xz", MBXP)
    write(tmp_path / "rosetta" / "test.jsonl", ROSETTA)
    write(
        tmp_path / "cosqa" / "codebase.jsonl.xz",
        [row(f"c/{n}", None, f"def f{n}():\n    '''Doc.'''", "python") for n in range(3)],
    )
    write(tmp_path / "cosqa" / "queries-test.jsonl.xz", [{"id": "q/1", "query": "python doc", "positive": "c/2"}])
    write(tmp_path / "cosqa" / "queries-dev.jsonl.xz", [{"id": "q/2", "query": "python f", "positive": "c/0"}])
    return tmp_path


def one(data, name):
    (task,) = load_tasks(data, [name])
    assert task.name == name
    return task


def test_candidates_are_the_rows_of_the_language_and_equal_queries_are_one(data):
    task = one(data, "csn-go")
    assert task.corpus.ids == ("go/1", "go/2", "go/3")
    assert task.queries.texts == ("Close the file.", "Open it.")
    assert task.relevant == (frozenset({0, 2}), frozenset({1}))
    assert (task.queries.kind, task.queries.languages) == ("query", ("text", "text"))
    assert (task.corpus.kind, set(task.corpus.languages)) == ("code", {"go"})
    assert (task.family, task.dataset, task.metric, task.excluded) == ("text-code", "csn", "mrr", ())
    assert "docstrings are stripped" in task.protocol


def test_cosqa_has_the_full_code_base_with_docstrings(data):
    task = one(data, "cosqa")
    assert task.corpus.ids == ("c/0", "c/1", "c/2")
    assert "'''Doc.'''" in task.corpus.texts[0]
    assert task.relevant == (frozenset({2}),)
    assert one(data, "valid-cosqa").queries.ids == ("q/2",)


def test_equal_codes_are_one_row_that_answers_both_problems(data):
    task = one(data, "mbxp-python")
    assert task.corpus.ids == ("py/1", "py/2")
    assert task.relevant == (frozenset({0}), frozenset({1}), frozenset({1}))


def test_code_to_code_asks_only_what_has_an_answer(data):
    task = one(data, "mbxp-code-python-java")
    assert (task.family, task.queries.kind, task.corpus.kind) == ("code-code", "code", "code")
    assert task.queries.ids == ("py/1", "py/3")  # the code of py/2 and py/3; p/2 has no Java
    assert set(task.queries.languages) == {"python"}
    assert task.corpus.ids == ("java/1", "java/3", "java/4")
    assert task.relevant == (frozenset({0}), frozenset({1}))


def test_query_itself_is_excluded_within_a_language(data):
    task = one(data, "rosetta-same-python")
    assert task.queries.ids == ("ro/1", "ro/2")  # ro/3 has no other solution
    assert task.excluded == (frozenset({0}), frozenset({1}))
    assert task.relevant == (frozenset({1}), frozenset({0}))
    assert task.metric == "map@r"


def test_queries_of_a_problem_or_repository_share_a_cluster(data):
    write(
        data / "csn" / "test.jsonl.xz",
        [{**CSN[0], "url": "https://github.com/a/b/blob/1/x.go"}, {**CSN[1], "url": "https://github.com/a/b/blob/2/y"}],
    )
    assert one(data, "csn-go").clusters == ("a/b", "a/b")
    assert one(data, "mbxp-python").clusters == ("p/1", "p/2", "p/3")
    assert one(data, "mbxp-code-python-java").clusters == ("p/1", "p/3")
    assert one(data, "rosetta-same-python").clusters == ("r/sort", "r/sort")
    assert one(data, "cosqa").clusters == ()


def test_renamed_rows_say_so(data):
    assert "name of the entry point is replaced" in one(data, "mbxp-anon-python").protocol
    assert "name of the entry point" not in one(data, "mbxp-python").protocol


def test_names_follow_the_folders_that_are_there(data):
    names = task_names(data)
    assert {"cosqa", "csn-ruby", "mbxp-anon-kotlin", "rosetta-code-c-go"} <= set(names)
    assert not {"conala", "java-csharp"} & set(names)
    assert all(name.startswith("valid-") for name in task_names(data, "valid"))
    assert "valid-cosqa" in task_names(data, "valid")


def test_the_validation_split_is_all_its_tasks_or_those_named_with_or_without_prefix(data):
    for name in ("csn", "mbxp", "rosetta"):
        (data / name).rename(data / f"no-{name}")
    assert [task.name for task in load_tasks(data, split="valid")] == ["valid-cosqa"]
    for name in ("cosqa", "valid-cosqa"):
        (task,) = load_tasks(data, [name], "valid")
        assert (task.name, task.queries.ids) == ("valid-cosqa", ("q/2",))


def test_a_task_without_a_validation_split_is_refused_by_what_has_one(data):
    for name in ("mbxp-anon-python", "conala"):
        (data / "conala").mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match=f"validation split: got '{name}'.*allowed.*cosqa"):
            load_tasks(data, [name], "valid")
    with pytest.raises(ConfigError, match="Did you mean valid-cosqa"):
        load_tasks(data, ["coqsa"], "valid")


def test_published_formats_have_no_validation_split(tmp_path):
    write(tmp_path / "test.jsonl", [{"idx": 1, "docstring_tokens": ["read"], "function_tokens": ["f"]}])
    assert [task.name for task in load_tasks(tmp_path)] == ["advtest"]
    with pytest.raises(DataError, match="holds no validation split"):
        load_tasks(tmp_path, split="valid")


@pytest.mark.parametrize(
    ("file", "rows", "message"),
    [
        ("csn/test.jsonl.xz", [*CSN, CSN[0]], r"test.jsonl.xz, line 5: duplicate id: got 'go/1'"),
        ("csn/test.jsonl.xz", [CSN[0], "{"], r"test.jsonl.xz, line 2 is not JSON"),
        ("csn/test.jsonl.xz", [CSN[0], "[]"], r"test.jsonl.xz, line 2: got 'list'"),
        ("csn/test.jsonl.xz", [{**CSN[0], "query": " "}], r"test.jsonl.xz, line 1: field 'query' is empty"),
        ("csn/test.jsonl.xz", [{**CSN[0], "code": None}], r"test.jsonl.xz, line 1 has no field 'code'"),
        ("csn/test.jsonl.xz", [{**CSN[0], "code": {}}], r"test.jsonl.xz, line 1, field 'code': got {}"),
        ("csn/test.jsonl.xz", [CSN[3]], r"task csn-go has no queries"),
    ],
)
def test_faulty_rows_are_named_by_file_and_line(data, file, rows, message):
    write(data / file, rows)
    with pytest.raises(DataError, match=message):
        load_tasks(data, ["csn-go"])


def test_code_to_code_needs_groups(data):
    write(data / "mbxp" / "test.jsonl.xz", [{**MBXP[0], "group": None}])
    with pytest.raises(DataError, match="line 1 has no field 'group'"):
        load_tasks(data, ["mbxp-code-python-java"])


def test_unknown_positive(data):
    write(data / "cosqa" / "queries-test.jsonl.xz", [{"id": "q", "query": "x", "positive": "c/9"}])
    with pytest.raises(DataError, match=r"queries-test.jsonl.xz, line 1: refers to an unknown id: got 'c/9'"):
        load_tasks(data, ["cosqa"])


def test_missing_file_of_a_set(data):
    (data / "cosqa" / "codebase.jsonl.xz").unlink()
    with pytest.raises(DataError, match=r"cosqa has no file codebase.jsonl"):
        load_tasks(data, ["cosqa"])


def test_damaged_file(data):
    path = data / "csn" / "test.jsonl.xz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"test.jsonl.xz is damaged or not text"):
        load_tasks(data, ["csn-go"])
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"test.jsonl.xz is damaged or not text"):
        load_tasks(data, ["csn-go"])


def test_error_for_an_unknown_name_has_the_nearest(data):
    with pytest.raises(ConfigError, match="Did you mean csn-ruby"):
        load_tasks(data, ["csn-rubby"])


def test_folder_that_is_missing_or_empty(tmp_path):
    with pytest.raises(DataError, match="no data folder"):
        load_tasks(tmp_path / "nowhere")
    for read in (load_tasks, task_names):
        with pytest.raises(DataError, match="holds no tasks"):
            read(tmp_path)


@pytest.fixture(scope="module")
def open_data():
    folder = os.environ.get("MOSE_DATA")
    if not folder:
        pytest.skip("MOSE_DATA does not name the folder of the open data")
    return Path(folder)


def test_every_open_task_loads_with_a_sound_relation(open_data):
    names = task_names(open_data) + task_names(open_data, "valid")
    tasks = load_tasks(open_data, names)
    assert len(tasks) == len({task.name for task in tasks}) == len(names) == 88
    for task in tasks:
        num_rows = len(task.corpus.ids)
        assert len(task.relevant) == len(task.queries.ids) == len(task.queries.texts) > 0, task.name
        assert all(rows and max(rows) < num_rows for rows in task.relevant), task.name
        assert all(not rows & left for rows, left in zip(task.relevant, task.excluded, strict=False)), task.name
        assert len(set(task.corpus.ids)) == num_rows and len(set(task.queries.ids)) == len(task.queries.ids)


@pytest.mark.parametrize(
    ("name", "num_queries", "num_rows", "floor"),
    [
        ("cosqa", 500, 6267, 0.325),
        ("csn-ruby", 1915, 1964, 0.531),
        ("csn-go", 1315, 1355, 0.652),
        ("mbxp-python", 499, 496, 0.48),
        ("mbxp-anon-python", 499, 495, 0.13),
        ("mbxp-code-python-java", 453, 457, 0.88),
        ("mbxp-anon-code-python-java", 452, 456, 0.40),
        ("rosetta-code-c-go", 132, 142, 0.56),
    ],
)
def test_word_overlap_reaches_the_floor_that_the_data_states(open_data, name, num_queries, num_rows, floor):
    """Proves the protocol: the floors were measured independently of these loaders."""
    pytest.importorskip("bm25s")
    from mose.evaluate.systems.bm25 import Bm25

    task = one(open_data, name)
    assert (len(task.queries.ids), len(task.corpus.ids)) == (num_queries, num_rows)
    index = Bm25().index(task.corpus)
    scores = [index.scores(*query) for query in zip(task.queries.texts, task.queries.languages, strict=True)]
    ranks = ranking.relevant_ranks(np.stack(scores), task.corpus.ids, task.relevant, task.excluded)
    assert ranking.reciprocal_rank(ranks).mean() >= floor
