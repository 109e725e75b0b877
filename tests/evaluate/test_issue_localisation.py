"""The benchmark of bug reports: trees of a repository, measures by hand, continued runs."""

import importlib
import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    before = set(sys.modules)
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    module = importlib.import_module("issue_localisation")
    monkeypatch.setattr(importlib.import_module("results"), "FOLDER", tmp_path / "results")
    yield module
    for name in {"issue_localisation", "plain_bm25", "results", "splits"} - before:
        sys.modules.pop(name, None)


def git(folder, *words):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def project(sample_tree, tmp_path):
    """The folder of repositories, and a row of the data set that it answers."""
    repository = tmp_path / "repositories" / "example+dates"
    repository.parent.mkdir()
    sample_tree.rename(repository)
    (repository / "large.bin").write_text("a file that a partial copy lacks")
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "first")
    row = {
        "instance_id": "example__dates-7",
        "repo": "example/dates",
        "base_commit": git(repository, "rev-parse", "HEAD"),
        "problem_statement": "Parsing an ISO date fails\n\nWhen a text such as 2020-01-02 is parsed, it fails.",
    }
    return repository.parent, row


def chunk(benchmark, path, first, last, chars=0):
    return benchmark.Chunk(path=path, first_line=first, last_line=last, num_chars=chars)


def report(benchmark, files, functions=()):
    return benchmark.Report(
        instance="x-1", repository="x", revision="", text="?", files=tuple(files), functions=tuple(functions)
    )


def test_measures_by_hand(benchmark):
    wanted = report(benchmark, ["a.py", "b.py"], [chunk(benchmark, "a.py", 5, 9), chunk(benchmark, "b.py", 1, 3)])
    chunks = [chunk(benchmark, "a.py", 9, 20), chunk(benchmark, "b.py", 4, 8), chunk(benchmark, "b.py", 1, 3)]
    assert benchmark.measure(wanted, ["c.py", "b.py", "a.py"], chunks, chunks[:2]) == {
        "File@1": 0,
        "File@5": 1,
        "File@10": 1,
        "any@10": 1,
        "MRR": 0.5,
        "func@10": 1,
        "file 8k": 1,
        "func 8k": 0,
    }


def test_a_fix_without_functions_has_no_measure_of_functions(benchmark):
    values = benchmark.measure(report(benchmark, ["a.py"]), ["b.py"], [], [])
    assert "func@10" not in values and "func 8k" not in values
    assert values["MRR"] == values["any@10"] == values["file 8k"] == 0


def test_chunks_within_a_budget_end_before_the_first_that_does_not_fit(benchmark):
    chunks = [chunk(benchmark, "a.py", line, line, chars=8) for line in range(3)]
    assert benchmark.within(chunks, 4) == chunks[:2]
    assert benchmark.within(chunks, 3) == chunks[:1]


def test_a_tree_lacks_only_what_its_repository_lacks(benchmark, project, tmp_path):
    repositories, row = project
    repository = repositories / "example+dates"
    blob = git(repository, "rev-parse", "HEAD:large.bin")
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    benchmark.extract_tree(repository, row["base_commit"], tmp_path / "out")
    found = {file.relative_to(tmp_path / "out"): file.read_bytes() for file in (tmp_path / "out").rglob("*.*")}
    for file, content in found.items():
        assert content == (repository / file).read_bytes()
    tracked = set(git(repository, "ls-files").splitlines())
    assert {file.as_posix() for file in found} == tracked - {"large.bin"}


def test_a_killed_run_continues_without_asking_twice(benchmark, project, tmp_path, monkeypatch, capsys):
    repositories, row = project
    dates = "dates.py" if (repositories / "example+dates" / "dates.py").exists() else "src/dates.py"
    rows = [row | {"instance_id": f"example__dates-{n}", "gold_files": [dates]} for n in (7, 10, 9)]
    data = tmp_path / "data" / "issue-localisation"
    data.mkdir(parents=True)
    with lzma.open(data / "lite.jsonl.xz", "wt") as file:
        file.writelines(json.dumps(one) + "\n" for one in rows)
    out = tmp_path / "out.jsonl"
    words = ["--data", data.parent, "--repositories", repositories, "--out", out, "--baseline"]
    monkeypatch.setattr(sys, "argv", ["issue_localisation.py", *map(str, words)])
    benchmark.main()
    head, *lines = out.read_text().splitlines(keepends=True)
    assert [json.loads(line)["instance"] for line in lines] == [f"example__dates-{n}" for n in (7, 9, 10)]
    assert json.loads(lines[0])["values"]["mose"]["File@1"] == 1

    changed = lines[0].replace('"MRR": 1.0', '"MRR": 0.125')
    out.write_text(head + changed + lines[1][:40])
    asked = []
    answer = benchmark.answers
    monkeypatch.setattr(benchmark, "answers", lambda one, *rest: asked.append(one.instance) or answer(one, *rest))
    capsys.readouterr()
    benchmark.main()
    assert asked == ["example__dates-9", "example__dates-10"]
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["table"]["mose"]["MRR"]["all"]["mean"] == pytest.approx((0.125 + 1 + 1) / 3)
    assert set(result["table"]) == {"mose", "mose, as ranked", "BM25, 50-line chunks"}
    assert "sympy" not in result["table"]["mose"]["MRR"]

    monkeypatch.setattr(sys, "argv", [*sys.argv, "--max-tokens", "100"])
    with pytest.raises(SystemExit, match="name another --out"):
        benchmark.main()
