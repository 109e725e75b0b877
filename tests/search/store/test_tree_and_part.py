"""A folder or file of an indexed tree is searched with the index of that tree."""

import json
import os

import pytest

from mose.search.store.location import tree_and_part


def rows(mose, *words):
    code, out, err = mose("search", *words, "--json")
    return code, [json.loads(line) for line in out.splitlines()], err


def test_a_subfolder_uses_the_index_around_it(mose, sample_tree, home, monkeypatch):
    mose("index", sample_tree, "--quiet")
    code, hits, _ = rows(mose, "parse an ISO date", sample_tree / "src")
    assert code == 0
    assert {hit["root"] for hit in hits} == {str(sample_tree / "src")}
    assert hits[0]["path"] == "dates.py"
    assert {hit["path"] for hit in hits} <= {"dates.py", "network.py", "store.go"}
    assert all(os.path.isfile(hit["absolute_path"]) for hit in hits)
    assert len(list((home / "trees").iterdir())) == 1
    monkeypatch.chdir(sample_tree / "src")
    assert mose("search", "parse an ISO date")[1].startswith(f"{hits[0]['score']:.2f}  dates.py:")


def test_path_may_be_a_file(mose, sample_tree, home):
    code, hits, _ = rows(mose, "release a connection", sample_tree / "src" / "network.py")
    assert (code, {hit["path"] for hit in hits}) == (0, {"network.py"})
    mose("index", sample_tree / "tests", "--quiet")
    assert rows(mose, "date", sample_tree / "tests" / "test_dates.py")[1][0]["path"] == "test_dates.py"
    (sample_tree / "src" / "empty.bin").write_bytes(b"\0\1\2")
    code, _, err = rows(mose, "date", sample_tree / "src" / "empty.bin")
    assert code == 2
    assert "has nothing of empty.bin" in err and "--why empty.bin" in err


def test_filters_and_places_are_relative_to_what_was_named(mose, sample_tree):
    mose("index", sample_tree, "--quiet")
    assert {hit["path"] for hit in rows(mose, "date", sample_tree / "src", "--path", "/dates.py")[1]} == {"dates.py"}
    assert {hit["path"] for hit in rows(mose, "date", sample_tree / "src", "--path", "!*.py")[1]} <= {"store.go"}
    code, _, err = rows(mose, "date", sample_tree / "src", "--path", "web/")
    assert (code, "no indexed file matches" in err) == (2, True)
    code, hits, _ = rows(mose, "--like", "dates.py:5", sample_tree / "src")
    assert (code, {hit["path"] for hit in hits} <= {"dates.py", "network.py", "store.go"}) == (0, True)
    code, hits, _ = rows(mose, "--like", "web/login.js:2", sample_tree / "src")
    assert code == 0 and hits


def test_an_index_of_its_own_comes_first(mose, sample_tree, home):
    mose("index", sample_tree, "--quiet")
    mose("index", sample_tree / "src", "--quiet")
    assert tree_and_part(sample_tree / "src") == (sample_tree / "src", "")
    assert tree_and_part(sample_tree / "web") == (sample_tree, "web")


def test_a_folder_that_the_tree_leaves_out_is_a_tree_of_its_own(mose, sample_tree, home):
    (sample_tree / ".gitignore").write_text("made/\n")
    (sample_tree / "made").mkdir()
    (sample_tree / "made" / "out.py").write_text("def parse_made():\n    return 1\n")
    mose("index", sample_tree, "--quiet")
    code, hits, _ = rows(mose, "parse made", sample_tree / "made")
    assert (code, hits[0]["path"]) == (0, "out.py")
    assert len(list((home / "trees").iterdir())) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs another user's folder")
def test_no_folder_of_another_user_is_climbed_to(mose, sample_tree):
    mose("index", sample_tree, "--quiet")
    os.chown(sample_tree, 12345, 12345)
    assert tree_and_part(sample_tree / "src") == (sample_tree / "src", "")


def test_no_home_folder_is_indexed_for_one_file(mose, sample_tree, monkeypatch):
    monkeypatch.setenv("HOME", str(sample_tree))
    code, _, err = rows(mose, "date", sample_tree / "README.md")
    assert code == 2
    assert "no indexed tree holds" in err and "mose index" in err
