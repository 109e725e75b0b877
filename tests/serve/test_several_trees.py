"""Several trees: one ranking on the command line, and the list of all indexes."""

import json
import re
import shutil

import pytest


@pytest.fixture
def other_tree(tmp_path):
    root = tmp_path / "other"
    root.mkdir()
    (root / "retry.py").write_text("def retry_with_backoff(call, tries):\n    '''Calls again, later each time.'''\n")
    (root / "paint.py").write_text("def mix_colors(red, blue):\n    '''Mixes paint.'''\n    return red + blue\n")
    return root


def hits_of(out):
    return [json.loads(line) for line in out.splitlines()]


def test_one_ranking_over_several_trees_names_the_tree(mose, sample_tree, other_tree, monkeypatch):
    monkeypatch.chdir(sample_tree.parent)
    for query, first in (
        ("retry with backoff", "other/retry.py"),
        ("read a date in ISO form", "sample/src/dates.py"),
        ("parse_iso_date", "sample/src/dates.py"),
    ):
        code, out, err = mose("search", query, "sample", "other")
        assert code == 0 and out.splitlines()[0].split()[1].startswith(first), out
        scores = [float(line.split()[0]) for line in out.splitlines() if line[:1].isdigit()]
        assert scores == sorted(scores, reverse=True)
        assert "sample/:" in err and "other/:" in err
        _, again, err = mose("search", query, "other", "sample", "--json", "--limit", "3")
        best = hits_of(again)[0]
        assert best["absolute_path"].endswith(f"/{first}") and f"{best['root']}/{best['path']}" == best["absolute_path"]
        counts = [int(count) for count in re.findall(r"^(\d+) hits? in ", err, re.MULTILINE)]
        assert len(counts) == 2 and sum(counts) == len(hits_of(again)) == 3


def test_several_parts_of_one_tree_are_searched_alone(mose, sample_tree, monkeypatch):
    mose("index", sample_tree, "--exit", "0")
    monkeypatch.chdir(sample_tree)
    found = {
        line.split()[1].rsplit(":", 1)[0]
        for line in mose("search", "date", "src", "tests")[1].splitlines()
        if line[:1].isdigit()
    }
    assert "src/dates.py" in found and "tests/test_dates.py" in found and "README.md" not in found


def test_one_tree_is_searched_as_before_and_words_that_are_no_trees_are_refused(mose, sample_tree, other_tree):
    alone = hits_of(mose("search", "date", sample_tree, "--json")[1])
    assert "src/dates.py" in {hit["path"] for hit in alone}
    code, _, err = mose("search", "read", "a", "date", sample_tree)
    assert code == 2 and 'mose search "read a date"' in err
    code, _, err = mose("search", "--like", "src/dates.py:5", sample_tree, other_tree)
    assert code == 2 and "one of the two" in err


def test_list_shows_every_index_with_its_tree_size_and_depth(mose, sample_tree, other_tree, home):
    assert mose("list") == (1, "", "There is no index on this machine. `mose search` makes one.\n")
    mose("index", sample_tree)
    mose("index", other_tree, "--exit", "0", "--inside")
    found = {row["root"]: row for row in hits_of(mose("list", "--json")[1])}
    assert set(found) == {str(sample_tree), str(other_tree)}
    sample = found[str(sample_tree)]
    assert (sample["files"], sample["has_tree"]) == (6, True)
    assert sample["vectors"] == {"0": sample["chunks"], "6": sample["chunks"]}
    folder = next((home / "trees").glob("sample-*"))
    assert sample["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(sample_tree)
    (next((home / "trees").glob("other-*")) / "current").write_bytes(b"nowhere\0")
    code, out, _ = mose("list")
    assert code == 0 and "the tree is gone: `mose prune`" in out and "read 100% for --exit 0, 100% for --exit 6" in out
    assert "cannot be read" in out
