"""The metric and task files of whole-repository search, worked by hand."""

import json
import math

import pytest

from mose.errors import DataError
from mose.evaluate.repository.benchmark import Location, load_tasks, ndcg_at_10

A, B, C = (Location(path=f"pkg/{name}.py", start_line=1, end_line=50) for name in "abc")


def gain(*ranks):
    return sum(1 / math.log2(rank + 1) for rank in ranks)


def target(path, start=None, end=None):
    return Location(path=path, start_line=start, end_line=end)


@pytest.mark.parametrize(
    ("hits", "targets", "score"),
    [
        ([A], [target("pkg/a.py")], 1.0),
        ([B, A], [target("pkg/a.py")], gain(2)),
        ([A, B], [target("pkg/a.py"), target("pkg/b.py")], 1.0),
        ([A, C, B], [target("pkg/a.py"), target("pkg/b.py")], gain(1, 3) / gain(1, 2)),
        ([A], [target("a.py")], 1.0),  # one path ends the other
        ([A], [target("la.py")], 0.0),  # but not in the middle of a name
        ([A], [target("pkg/a.py", 50, 60)], 1.0),  # ranges overlap
        ([A], [target("pkg/a.py", 51, 60)], 0.0),
        (
            [A],
            [target("pkg/a.py", 1, 9), target("pkg/a.py", 20, 30)],
            gain(1) / gain(1, 2),
        ),  # one hit, one rank
        ([A, A, B], [target("pkg/b.py")], gain(3)),  # a second hit in a file uses up a rank
        ([C] * 10 + [A], [target("pkg/a.py")], 0.0),  # beyond the ten best
        ([], [target("pkg/a.py")], 0.0),
    ],
)
def test_ndcg(hits, targets, score):
    assert ndcg_at_10(hits, targets) == pytest.approx(score, abs=1e-12)


def write(folder, task):
    (folder / "pkg.json").write_text(task if isinstance(task, str) else json.dumps(task))


def test_tasks_are_read(tmp_path):
    query = {
        "query": "q",
        "category": "symbol",
        "relevant": ["a.py", {"path": "b.py", "start_line": 3, "end_line": 9}],
        "secondary": ["c.py"],
    }
    write(tmp_path, {"package": "pkg", "version": "1.0", "root": "pkg", "queries": [query]})
    (task,) = load_tasks(tmp_path)
    assert task.queries[0].targets == (target("a.py"), target("b.py", 3, 9), target("c.py"))


def test_repositories_of_other_languages_are_read(tmp_path):
    query = {"query": "q", "category": "semantic", "relevant": ["src/a.rs"], "secondary": []}
    task = {"name": "rep", "language": "rust", "revision": "1f", "root": "src", "pinned": False, "queries": [query]}
    write(tmp_path, task)
    (task,) = load_tasks(tmp_path)
    assert (task.package, task.version, task.language, task.pinned) == ("rep", "1f", "rust", False)


def test_a_missing_field_is_named_with_its_file(tmp_path):
    write(tmp_path, {"package": "pkg", "version": "1.0", "queries": [{"query": "q"}]})
    with pytest.raises(DataError, match=r"pkg\.json: no field 'category'"):
        load_tasks(tmp_path)


def test_broken_json_is_named_with_its_line(tmp_path):
    write(tmp_path, '{"package": 1,\n oops')
    with pytest.raises(DataError, match=r"pkg\.json, line 2: not JSON"):
        load_tasks(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no task file"):
        load_tasks(tmp_path)
