"""A second worktree, clone or copy of an indexed tree: what is equal is neither cut nor embedded again."""

from __future__ import annotations

import codecs
import os
import shutil
import signal
import subprocess
import sys

import pytest
from index_doubles import WordEncoder, content, fresh_content, many_files, wait_until_settled, write_file

from mose import CodeIndex
from mose.errors import CodeIndexError, IndexReplacedError
from mose.search import lifecycle, refresh
from mose.search.chunking import cut_files, prepare
from mose.search.deepen import deepen
from mose.search.store.location import base_folder, index_folder
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
    (first / "marked.py").write_bytes(codecs.BOM_UTF8 + b"def marked():\r\n    return 1\r\n")
    write_file(first / "minified.js", "var a=1;" * 5_000)
    write_file(first / "deep" / "er" / "twin.py", "def twin(): return 2\n")
    wait_until_settled()
    index(first, WordEncoder())
    copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    wait_until_settled()
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


KILLER = """
import os, signal, sys
from pathlib import Path
from index_doubles import WordEncoder
from mose.search import lifecycle, refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store

lifecycle.ALIKE_FILES = 1
WATCHED = {"connect", "execute", "executemany", "backup", "fsync", "mkdir", "replace", "unlink", "rmdir"}
tree = Path(sys.argv[1])
for line in sys.stdin:
    kill_at = int(line)
    child = os.fork()
    if child:
        print(os.waitpid(child, 0)[1], flush=True)
        continue
    steps = 0
    def before_call(frame, event, called):
        global steps
        if event == "c_call" and called.__name__ in WATCHED:
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    refresh.cut_files = lambda *given, **settings: os._exit(0)
    with Store.open(index_folder(tree)) as store:
        begin = refresh.begin_alike
        def watched(*given):
            sys.setprofile(before_call)
            begin(*given)
        refresh.begin_alike = watched
        refresh.refresh(store, tree, WordEncoder(), num_workers=0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each copy is a process that is killed")
def test_killed_at_any_step_of_copying_there_is_no_index_or_one_that_says_it_is_unfinished(tmp_path, home, monkeypatch):
    monkeypatch.setattr(lifecycle, "ALIKE_FILES", 1)
    first, second = many_files(tmp_path, 6), tmp_path / "second"
    shutil.copytree(first, second)
    write_file(second / "f0.py", "def other(): return 0\n")
    with Store.open(index_folder(first)) as store:
        refresh.refresh(store, first, WordEncoder())
    expected = fresh_content(second, tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command, found = [sys.executable, "-c", KILLER, str(second)], []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as killer:
        status = signal.SIGKILL
        while status == signal.SIGKILL:
            killer.stdin.write(f"{len(found) + 1}\n")
            killer.stdin.flush()
            status = int(killer.stdout.readline())
            found.append(state_of(second))
            if len(found) % 6 == 0:
                with Store.open(index_folder(second)) as store:
                    refresh.refresh(store, second, WordEncoder(), num_workers=0)
                    assert content(store) == expected, len(found)
                    assert [path.name for path in store.base.iterdir() if path.is_dir()] == [store.folder.name]
            lifecycle.forget(second)
            assert not base_folder(index_folder(second)).exists()
        killer.stdin.close()
    assert status == 0
    assert len(found) > 30
    assert set(found) == {"empty", "unfinished"}


def state_of(tree):
    """What another process may see of the index of a tree."""
    try:
        with Store.open_to_read(index_folder(tree)) as store:
            if store.generation == 0:
                return "empty"
            assert store.meta("root") == str(tree)
            return "finished" if store.complete else "unfinished"
    except CodeIndexError:
        return "none"


def test_what_has_the_empty_index_open_goes_on_with_the_copy(first, second, tmp_path):
    with Store.open(index_folder(second)) as waiting:
        expected = index(second, WordEncoder())[1]
        assert not waiting.is_current()
        with pytest.raises(IndexReplacedError):
            refresh.refresh(waiting, second, WordEncoder())
    assert expected == fresh_content(second, tmp_path, (0, 6))


def test_an_answer_from_an_unfinished_index_says_so(tmp_path):
    tree = many_files(tmp_path, 3)
    CodeIndex.open(tree, exit=0).close()
    with CodeIndex.open(tree, exit=0, update=False) as index:
        assert index.notes == ()
    with Store.open(index_folder(tree)) as store:
        refresh.set_meta(store, complete="0")
    with CodeIndex.open(tree, exit=0, update=False) as index:
        assert "not read to its end" in index.notes[0]
