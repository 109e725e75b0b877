from __future__ import annotations

import os
import shutil

import pytest
from index_doubles import WordEncoder, write_file

from mose import CodeIndex
from mose.errors import CodeIndexError, SourceError
from mose.search.lifecycle import forget
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store


def test_index_lies_in_home_and_not_in_the_tree(tree, home):
    folder = index_folder(tree)
    assert folder.parent == home / "trees"
    assert folder.name.startswith("tree-")
    assert not folder.exists()


def test_two_trees_of_one_name_have_two_folders(tmp_path):
    first, second = tmp_path / "a" / "same", tmp_path / "b" / "same"
    first.mkdir(parents=True)
    second.mkdir(parents=True)
    assert index_folder(first) != index_folder(second)


def test_a_link_to_a_tree_leads_to_the_same_index(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    assert index_folder(tmp_path / "link") == index_folder(tree)


def test_index_asked_for_inside_is_found_there_and_hidden_from_git(tree):
    with Store.open(index_folder(tree, inside=True)) as store:
        refresh(store, tree, WordEncoder())
        assert not any(path.startswith(".mose") for path in store.chunk_table().paths)
    assert index_folder(tree) == tree.resolve() / ".mose"
    assert store.folder.parent == tree.resolve() / ".mose"
    assert (store.folder / ".gitignore").read_text() == "*\n"
    assert index_folder(tree, inside=False) != tree / ".mose"


def test_link_named_like_an_inside_index_is_not_followed(tree, tmp_path):
    """A tree of a stranger must not lead to files elsewhere."""
    write_file(tmp_path / "elsewhere" / "index.db", "")
    (tree / ".mose").symlink_to(tmp_path / "elsewhere")
    assert index_folder(tree) != tree.resolve() / ".mose"


def test_missing_tree_and_file_are_two_clear_errors(tmp_path):
    with pytest.raises(SourceError, match=r"no folder .*nowhere"):
        index_folder(tmp_path / "nowhere")
    write_file(tmp_path / "one.py", "x = 1\n")
    with pytest.raises(SourceError, match=r"one\.py is not a folder"):
        index_folder(tmp_path / "one.py")


def test_home_that_cannot_be_written_names_the_variable(tree, tmp_path, monkeypatch):
    write_file(tmp_path / "file", "in the way")
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / "file"))
    with pytest.raises(CodeIndexError, match="MOSE_HOME") as caught:
        Store.open(index_folder(tree))
    assert str(tmp_path / "file") in str(caught.value)


def test_forget_removes_the_index_and_nothing_else(tree, store, home):
    (store.base / "notes.txt").write_text("mine")
    assert forget(tree) == [store.base]
    assert [path.name for path in store.base.iterdir()] == ["notes.txt"]
    assert (tree / "src" / "dates.py").exists()
    assert forget(tree) == []


def test_forget_works_for_a_tree_that_is_gone(tree, store):
    shutil.rmtree(tree)
    assert forget(tree) == [store.base]
    assert not store.base.exists()


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_nobody_else_can_read_anything_of_the_users_folder_whatever_the_umask(sample_tree, monkeypatch, tmp_path):
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / "new" / "home"))
    before = os.umask(0)
    try:
        with CodeIndex.open(sample_tree, exit=2) as index:
            index.search("parse an ISO date")
            found = {path: path.stat().st_mode for path in (tmp_path / "new").rglob("*")}
    finally:
        os.umask(before)
    assert {"index.db", "index.db-wal", "vectors.db", "current"} <= {path.name for path in found}
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o077} == {}
