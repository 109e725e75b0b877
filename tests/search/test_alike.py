"""A second worktree, clone or copy of an indexed tree: what is equal is neither cut nor embedded again."""

from __future__ import annotations

import shutil

import pytest
from index_doubles import WordEncoder, content, fresh_content, many_files, wait_until_settled, write_file

from mose import CodeIndex
from mose.search import lifecycle, refresh
from mose.search.chunking import cut_files, prepare
from mose.search.deepen import deepen
from mose.search.store.location import index_folder
from mose.search.store.status import limits_of
from mose.search.store.store import Store


@pytest.fixture
def first(tmp_path):
    """An indexed tree of 260 files, read at exit 6."""
    tree = many_files(tmp_path, 260)
    with Store.open(index_folder(tree)) as store:
        refresh.refresh(store, tree, WordEncoder())
        deepen(store, WordEncoder(), 6)
    return tree


@pytest.fixture
def second(first, tmp_path):
    """A copy of it with some other files."""
    tree = tmp_path / "second"
    shutil.copytree(first, tree, copy_function=shutil.copyfile)  # with its own time stamps
    for number in range(3):
        write_file(tree / f"f{number}.py", f"def other_{number}():\n    return {number}\n")
    write_file(tree / "new" / "file.py", "def new():\n    return 1\n")
    (tree / "f9.py").unlink()
    (tree / "f10.py").rename(tree / "moved.py")
    wait_until_settled()
    return tree


@pytest.fixture
def num_cut(monkeypatch):
    cut, files = prepare._cut, []

    def counted(*given):
        files.append(given)
        return cut(*given)

    monkeypatch.setattr(prepare, "_cut", counted)
    return files


def index(tree, encoder, **settings):
    with Store.open(index_folder(tree)) as store:
        report = refresh.refresh(store, tree, encoder, num_workers=0, **settings)
        deepen(store, encoder, 6)
        return report, content(store, (0, 6)), store.meta("root"), limits_of(store).max_file_bytes


def test_only_what_differs_is_cut_and_embedded_and_the_index_equals_a_new_one(first, second, num_cut, tmp_path):
    encoder = WordEncoder()
    report, found, root, _ = index(second, encoder)
    assert len(num_cut) == 5  # three edited, one new, one moved
    assert encoder.num_encoded(0) == 5 and encoder.num_encoded(6) == 5
    assert (report.num_added, report.num_changed, report.num_removed) == (2, 3, 2)
    assert root == str(second)
    assert found == fresh_content(second, tmp_path, (0, 6))
    with Store.open(index_folder(first)) as store:
        assert content(store, (0, 6)) == fresh_content(first, tmp_path, (0, 6))
        assert store.meta("root") == str(first)


def test_what_is_equal_needs_no_process(first, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    expected = fresh_content(copy, tmp_path, (0, 6))
    monkeypatch.setattr(cut_files, "_cut_each", None)
    assert index(copy, WordEncoder())[1] == expected


@pytest.mark.parametrize("why", ["another model", "told not to", "few files", "another tree", "unfinished", "inside"])
def test_an_index_that_does_not_fit_is_not_used(why, first, second, num_cut, monkeypatch, tmp_path):
    if why == "few files":
        monkeypatch.setattr(lifecycle, "ALIKE_FILES", 1_000)
    if why == "another tree":
        for number in range(11, 150):
            write_file(second / f"f{number}.py", f"def quite_another_{number}(): return {number}\n")
    if why == "unfinished":
        with Store.open(index_folder(first)) as store:
            refresh.set_meta(store, complete="0")
    if why == "inside":
        lifecycle.forget(first)
        with Store.open(index_folder(first, inside=True)) as store:
            refresh.refresh(store, first, WordEncoder())
    encoder = WordEncoder(identity="words-2" if why == "another model" else "words-1")
    num_cut.clear()
    index(second, encoder, begins_alike=why != "told not to")
    assert len(num_cut) == 260


def test_what_was_interrupted_right_after_the_copy_is_done_by_the_next_call(first, second, tmp_path, monkeypatch):
    with Store.open(index_folder(second)) as store:
        with monkeypatch.context() as patched, pytest.raises(TypeError):
            patched.setattr(refresh, "cut_files", None)
            refresh.refresh(store, second, WordEncoder())
        assert not store.complete
    assert index(second, WordEncoder())[1] == fresh_content(second, tmp_path, (0, 6))


def test_a_limit_of_the_other_tree_does_not_come_along(first, second):
    with Store.open(index_folder(first)) as store:
        refresh.refresh(store, first, WordEncoder(), limits=refresh.WalkLimits(max_file_bytes=5_000_000))
    assert index(second, WordEncoder())[3] == refresh.WalkLimits().max_file_bytes


def test_a_damaged_index_of_another_tree_harms_nothing(first, second, tmp_path):
    with Store.open(index_folder(first)) as store:
        database, vectors = store.path, next(store.folder.glob("exit_6.*"))
    vectors.write_bytes(vectors.read_bytes()[:100])
    assert index(second, WordEncoder())[1] == fresh_content(second, tmp_path, (0, 6))
    with Store.open(index_folder(second)) as store:
        pass
    lifecycle.forget(second)
    database.write_bytes(database.read_bytes()[:9_000] + b"x" * 50_000)
    assert index(second, WordEncoder())[1] == fresh_content(second, tmp_path, (0, 6))


def test_stamps_of_a_file_prove_nothing_in_another_tree(first, second, tmp_path):
    """Two read-only images may give the same number and times to different files of one size."""
    write_file(second / "f7.py", "def function_7():\n    return 8\n")
    found = (second / "f7.py").stat()
    wait_until_settled()
    with Store.open(index_folder(first)) as store:
        store.connection.execute(
            "UPDATE files SET modified_ns = ?, changed_ns = ?, inode = ?, doubtful = 0 WHERE path = 'f7.py'",
            (found.st_mtime_ns, found.st_ctime_ns, found.st_ino),
        )
    assert index(second, WordEncoder())[1] == fresh_content(second, tmp_path, (0, 6))


@pytest.mark.parametrize("name", ["../../../precious", "absolute"])
def test_nothing_outside_the_folders_of_both_indexes_is_copied(name, first, second, tmp_path, home):
    precious = home / "precious"
    precious.write_text("mine")
    before = precious.stat().st_ino
    with Store.open(index_folder(first)) as store:
        file = str(precious) if name == "absolute" else name
        store.connection.execute("UPDATE exits SET file = ? WHERE exit = 6", (file,))
    assert index(second, WordEncoder())[1] == fresh_content(second, tmp_path, (0, 6))
    assert (precious.read_text(), precious.stat().st_ino) == ("mine", before)


@pytest.mark.parametrize("found", ["by the first search", "while the tree is read"])
def test_damage_that_came_along_is_mended_at_once(found, tmp_path):
    """The tree is read then, and not the damaged index once more."""
    tree = many_files(tmp_path, 220)
    shutil.copytree(tree, tmp_path / "second", copy_function=shutil.copyfile)
    with CodeIndex.open(tree, exit=0) as index:
        database = index.store.path
    content = database.read_bytes()
    assert b"return 123" in content
    database.write_bytes(
        content.replace(b"return 123", b"return 321" if found == "by the first search" else b"\xff\xffturn 123")
    )
    if found == "while the tree is read":  # the words of the old text are taken out then
        write_file(tmp_path / "second" / "f123.py", "def function_123():\n    return 123  # edited\n")
    with CodeIndex.open(tmp_path / "second", exit=0) as index:
        hits = index.search("function_123")
        assert hits[0].path == "f123.py" and hits[0].text.startswith("def function_123():\n    return 123")
        assert "rebuilt" in index.notes[0]
