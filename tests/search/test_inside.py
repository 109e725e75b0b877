"""A tree that brings a ``.mose`` of its own: nothing in it is opened, followed, written or deleted."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from index_doubles import WordEncoder, content, fresh_content

from mose import CodeIndex, SearchOptions
from mose.errors import CodeIndexError
from mose.search.lifecycle import forget
from mose.search.refresh import refresh
from mose.search.store.location import INSIDE_NAME, index_folder
from mose.search.store.store import Store


def _inside(tree: Path) -> Path:
    """An index inside a tree, as its folder."""
    with Store.open(index_folder(tree, inside=True)) as store:
        refresh(store, tree, WordEncoder())
        return store.folder


def _everything(folder: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        readable = path.is_file() and not path.is_symlink()
        found[str(path)] = (status.st_mode, status.st_ino, path.read_bytes() if readable else b"")
    return found


def _poison(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("UPDATE texts SET text = 'audited and harmless'")
    connection.commit()
    connection.close()


def _own_index_that_came_along(tree, outside):
    """What a clone or a copy of a tree brings: an index that was made elsewhere, with other texts."""
    other = tree.parent / "other"
    shutil.copytree(tree, other)
    _poison(_inside(other) / "index.db")
    shutil.copytree(other / INSIDE_NAME, tree / INSIDE_NAME)
    for path in (tree / INSIDE_NAME).glob("*/*"):
        shutil.copy(path, tree / INSIDE_NAME)


def _link_to_a_folder(tree, outside):
    (tree / INSIDE_NAME).symlink_to(outside)


def _links_to_files(tree, outside):
    (tree / INSIDE_NAME).mkdir()
    for name in ("index.db", "index.db-wal", "index.db-shm", "deepen.log", "write.lock", "exit_0.vec", ".gitignore"):
        (tree / INSIDE_NAME / name).symlink_to(outside / "precious.txt")


def _hard_links(tree, outside):
    (tree / INSIDE_NAME).mkdir()
    for name in ("index.db", "index.db-wal", "deepen.log", "write.lock", "exit_0.vec"):
        os.link(outside / "precious.txt", tree / INSIDE_NAME / name)


def _pipes(tree, outside):
    (tree / INSIDE_NAME).mkdir()
    for name in ("index.db", "index.db-wal", "deepen.log", "write.lock", "exit_0.vec", "current"):
        os.mkfifo(tree / INSIDE_NAME / name)


def _endless_view(tree, outside):
    (tree / INSIDE_NAME).mkdir()
    connection = sqlite3.connect(tree / INSIDE_NAME / "index.db")
    connection.executescript(
        "PRAGMA application_id = 1299141445; PRAGMA user_version = 1;"
        "CREATE VIEW meta AS WITH RECURSIVE n(key, value) AS (SELECT 1, 1 UNION ALL SELECT key + 1, 1 FROM n) "
        "SELECT * FROM n;"
    )
    connection.close()


def _names_of_ours(tree, outside):
    """Even the names of a pointer and an identity give nothing."""
    (tree / INSIDE_NAME / ("0" * 32)).mkdir(parents=True)
    (tree / INSIDE_NAME / "current").write_bytes(b"0" * 32 + b"\0")
    (tree / INSIDE_NAME / "unfinished").write_bytes(os.fsencode(outside) + b"\0")


def _file(tree, outside):
    (tree / INSIDE_NAME).write_text("not a folder")


def _dangling_link(tree, outside):
    (tree / INSIDE_NAME).symlink_to(outside / "nowhere")


TRICKS = [
    _own_index_that_came_along, _link_to_a_folder, _links_to_files, _hard_links, _pipes, _endless_view,
    _names_of_ours, _file, _dangling_link,
]  # fmt: skip


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious.txt").write_text("precious\n")
    shutil.copy(folder / "precious.txt", folder / "index.db")
    return folder


@pytest.mark.timeout(120)
@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__.strip("_"))
def test_a_folder_that_came_with_the_tree_is_neither_used_nor_touched(sample_tree, outside, trick):
    trick(sample_tree, outside)
    before = _everything(sample_tree / INSIDE_NAME), _everything(outside)
    with CodeIndex.open(sample_tree) as index:
        hits = index.search("read a date", SearchOptions(budget_s=60))
        assert (hits[0].path, "audited" in hits[0].text) == ("src/dates.py", False)
        index.deepen()
        assert not index.store.folder.is_relative_to(sample_tree)
        assert any(f"{sample_tree / INSIDE_NAME} is not used" in note for note in index.notes)
    assert forget(sample_tree)
    assert forget(sample_tree) == []
    assert (_everything(sample_tree / INSIDE_NAME), _everything(outside)) == before


@pytest.mark.timeout(120)
@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__.strip("_"))
def test_an_index_asked_for_inside_beside_what_came_with_the_tree(sample_tree, outside, trick):
    trick(sample_tree, outside)
    before = _everything(sample_tree / INSIDE_NAME), _everything(outside)
    own = sample_tree / INSIDE_NAME
    if own.is_symlink() or not own.is_dir():
        with pytest.raises(CodeIndexError, match="leave out --inside"):
            CodeIndex.open(sample_tree, inside=True)
    else:
        with CodeIndex.open(sample_tree, inside=True) as index:
            assert index.store.folder.parent == own
            assert index.search("read a date", SearchOptions(budget_s=60))[0].path == "src/dates.py"
            assert index.notes == ()
        forget(sample_tree)
    assert (_everything(own), _everything(outside)) == before


def test_an_index_inside_that_was_copied_with_its_tree_is_not_used(tree, tmp_path):
    _poison(_inside(tree) / "index.db")
    shutil.copytree(tree, tmp_path / "copy")
    with Store.open(index_folder(tmp_path / "copy")) as store:
        refresh(store, tmp_path / "copy", WordEncoder())
        found, expected = content(store), fresh_content(tree, tmp_path)
        assert found["chunks"] == expected["chunks"]


def _replaced_by_a_link(folder, outside):
    folder.parent.rename(outside / "moved")
    folder.parent.symlink_to(outside / "moved")


def _opened_to_others(folder, outside):
    folder.parent.chmod(0o777)


def _removed(folder, outside):
    shutil.rmtree(folder.parent)


def _emptied(folder, outside):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize("change", [_replaced_by_a_link, _opened_to_others, _removed, _emptied])
def test_an_index_inside_that_cannot_be_trusted_any_more_is_made_anew(tree, tmp_path, outside, change):
    folder = _inside(tree)
    change(folder, outside)
    before = _everything(outside)
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        found = content(store)
    assert {**found, "skipped": []} == {**fresh_content(tree, tmp_path), "skipped": []}
    forget(tree)
    assert _everything(outside) == before


@pytest.mark.parametrize("name", ["exit_0.vec", "index.db-wal", "index.db-journal"])
@pytest.mark.parametrize("how", ["link", "hard link", "pipe"])
def test_what_is_not_a_file_of_its_own_in_an_index_is_a_clear_error(tree, outside, name, how):
    folder = _inside(tree)
    (folder / name).unlink(missing_ok=True)
    if how == "link":
        (folder / name).symlink_to(outside / "precious.txt")
    elif how == "hard link":
        os.link(outside / "precious.txt", folder / name)
    else:
        os.mkfifo(folder / name)
    for opening in (Store.open, Store.open_to_read):
        with pytest.raises(CodeIndexError, match=f"{name} is not a file of mose"):
            opening(index_folder(tree))
    assert forget(tree) == [tree.resolve() / INSIDE_NAME]
    assert (outside / "precious.txt").read_text() == "precious\n"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW spy AS SELECT 1",
        "CREATE TRIGGER spy AFTER UPDATE ON meta BEGIN DELETE FROM texts; END",
        "CREATE TABLE more(x)",
        "CREATE INDEX more ON files(hash)",
        "DROP TABLE skipped",
        "ALTER TABLE files ADD COLUMN more AS (1)",
    ],
)
def test_an_index_with_other_tables_than_ours_is_refused(store, statement):
    store.connection.execute(statement)
    for opening in (Store.open, Store.open_to_read):
        with pytest.raises(CodeIndexError, match="not those of mose") as caught:
            opening(store.base)
        assert "--rebuild" in str(caught.value)


def test_an_index_moves_into_its_tree_and_out_again_and_is_never_there_twice(tree, home):
    with Store.open(index_folder(tree)) as outside_tree:
        refresh(outside_tree, tree, WordEncoder())
    folder = _inside(tree)
    assert not outside_tree.folder.exists()
    assert folder.exists()
    with Store.open(index_folder(tree, inside=False)) as again:
        assert again.folder.is_relative_to(home)
    assert not (tree / INSIDE_NAME).exists()
