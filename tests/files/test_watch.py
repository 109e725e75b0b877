"""Hearing of changes: what is heard, what cannot matter, and when silence counts. The system and its limits are real."""

import os
import resource
import subprocess
import sys
import time

import pytest
import watchfiles

from mose.files import watch as watching
from mose.files.mounts import remote_kind
from mose.files.walking import Looked, walk
from mose.files.watch import Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="folders are listened to one by one on Linux alone")
PATIENCE_S = 10.0


def write(path, text="def f(): return 1\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def git(folder, *words):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=b", *words], cwd=folder, check=True, capture_output=True
    )


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "outer" / "tree"
    write(tree / "src" / "a.py")
    write(tree / "src" / "b.py")
    write(tree / "build" / "made.py")
    write(tree / "run.log", "x\n")
    write(tree / ".gitignore", "build/\n*.log\n")
    (tree / "empty").mkdir()
    write(tree / "venv" / "pyvenv.cfg")
    git(tree.parent, "init", "-q")
    git(tree.parent, "add", ".")
    return tree


def cover(watch, tree):
    mark = watch.mark()
    looked = Looked()
    list(walk(tree, looked=looked))
    watch.cover(mark, looked, "index")


def settle(watch, tree):
    for _ in range(20):
        cover(watch, tree)
        if watch.will_be_unchanged("index", time.monotonic()):
            return
    raise AssertionError("it never became quiet")


@pytest.fixture
def watch(tree):
    watch = Watch(tree)
    settle(watch, tree)
    assert watch.is_unchanged("index", time.monotonic() - 1) and not watch.is_unchanged("another", time.monotonic() - 1)
    yield watch
    watch.close()


def hears(watch):
    deadline = time.monotonic() + PATIENCE_S
    while not watch.has_changed():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def save_by_rename(tree):
    write(tree / "src" / ".a.py.new", "def g(): return 2\n")
    os.replace(tree / "src" / ".a.py.new", tree / "src" / "a.py")


def edit_in_place(tree):
    with open(tree / "src" / "a.py", "r+") as file:
        file.write("DEF")


CHANGES = {
    "a save": lambda tree: write(tree / "src" / "a.py", "def g(): return 2\n"),
    "an edit in place": edit_in_place,
    "a save by rename": save_by_rename,
    "a new file": lambda tree: write(tree / "src" / "new.py"),
    "a file in an empty folder": lambda tree: write(tree / "empty" / "new.py"),
    "a file in a new folder": lambda tree: write(tree / "src" / "deep" / "new.py"),
    "a removal": lambda tree: (tree / "src" / "a.py").unlink(),
    "a rename": lambda tree: (tree / "src" / "a.py").rename(tree / "src" / "c.py"),
    "a folder moved in": lambda tree: (write(tree.parent / "x" / "y.py"), (tree.parent / "x").rename(tree / "x")),
    "a folder moved out": lambda tree: (tree / "src").rename(tree.parent / "elsewhere"),
    "other rights": lambda tree: (tree / "src" / "a.py").chmod(0o600),
    "another rule": lambda tree: write(tree / ".gitignore", "*.log\n"),
    "a rule of a folder above": lambda tree: write(tree.parent / ".gitignore", "src/\n"),
    "a rule of the repository": lambda tree: write(tree.parent / ".git" / "info" / "exclude", "src/\n"),
    "an ignored file that git tracks now": lambda tree: git(tree, "add", "-f", "build/made.py"),
    "a mark that is gone": lambda tree: (tree / "venv" / "pyvenv.cfg").unlink(),
    "the tree itself": lambda tree: tree.rename(tree.parent / "moved"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_that_matters_is_heard(change, tree, watch):
    CHANGES[change](tree)
    assert hears(watch)
    assert not watch.is_unchanged("index", float("-inf"))


def test_what_cannot_matter_is_not_heard(tree, watch):
    for number in range(5):
        write(tree / "run.log", "x\n" * number)
        write(tree / "build" / f"made{number}.py")
        write(tree / "build" / "more" / "made.py")
        write(tree / "venv" / "lib" / f"{number}.py") if number else None
        (tree / "src" / "a.py").read_text()
    git(tree, "hash-object", "-w", "src/a.py")
    time.sleep(0.3)
    changed = watch.has_changed()
    (tree / "venv" / "lib").is_dir()
    assert changed is True  # venv/lib has appeared in a folder that was listed
    settle(watch, tree)
    for number in range(5):
        write(tree / "run.log", "y\n" * number)
        write(tree / "build" / "more" / "made.py", f"{number}")
        write(tree / "venv" / "lib" / f"{number}.py", "0")
    time.sleep(0.3)
    assert not watch.has_changed()
    assert watch.is_unchanged("index", time.monotonic() - 0.2)


@pytest.mark.parametrize("how", ["made", "made again", "moved in", "nested"])
def test_a_folder_that_has_appeared_is_listened_to_before_silence_counts(how, tree, watch):
    if how == "made again":
        (tree / "src" / "a.py").unlink()
        (tree / "src" / "b.py").unlink()
        (tree / "src").rmdir()
        time.sleep(0.2)
    if how == "moved in":
        write(tree.parent / "x" / "y" / "z.py")
        (tree.parent / "x").rename(tree / "x")
    folder = tree / {"made": "lib", "made again": "src", "moved in": "x/y", "nested": "a/b/c/d"}[how]
    folder.mkdir(parents=True, exist_ok=True)
    assert hears(watch)
    mark = watch.mark()
    looked = Looked()
    list(walk(tree, looked=looked))
    watch.cover(mark, looked, "index")
    assert not watch.is_unchanged("index", float("-inf"))  # whatever has happened in it meanwhile was not heard
    settle(watch, tree)
    write(folder / "late.py")
    assert hears(watch)


def test_a_change_during_the_walk_does_not_pass_for_covered(tree, watch):
    mark = watch.mark()
    looked = Looked()
    list(walk(tree, looked=looked))
    write(tree / "src" / "a.py", "def g(): return 2\n")
    assert hears(watch)
    watch.cover(mark, looked, "index")
    assert watch.has_changed()
    settle(watch, tree)


def test_another_folder_in_the_place_of_the_tree_is_noticed_and_listened_to(tree, watch):
    tree.rename(tree.parent / "away")
    assert not watch.is_unchanged("index", float("-inf"))
    write(tree / "src" / "other.py")
    settle(watch, tree)
    write(tree / "src" / "more.py")
    assert hears(watch)


def wait_until(is_done):
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_changes_at_once_end_the_listening_and_the_next_walk_starts_it_anew(tree, watch, monkeypatch):
    monkeypatch.setattr(watching, "_LARGE_BATCH", 100)
    listener = watch._listener
    for number in range(3_000):
        (tree / "src" / f"many{number}.py").write_text("1\n")
    wait_until(lambda: not listener.is_alive)  # the system has perhaps lost some
    assert not watch.is_unchanged("index", float("-inf"))
    settle(watch, tree)
    (tree / "src" / "many7.py").unlink()
    assert hears(watch)


@pytest.mark.parametrize("ends", ["with a pause", "after long"])
def test_a_batch_is_due_once_it_ends_and_then_not_again(ends, tree, watch, monkeypatch):
    assert not watch.is_due(None)
    monkeypatch.setattr(watching, "PAUSE_S" if ends == "after long" else "LONGEST_BATCH_S", 1_000.0)
    monkeypatch.setattr(watching, "LONGEST_BATCH_S" if ends == "after long" else "PAUSE_S", 1.5)
    watch._asked_at = watch._tried_at = float("-inf")  # long ago
    write(tree / "src" / "a.py", "def g(): return 2\n")
    assert hears(watch)
    assert not watch.is_due(None)
    wait_until(lambda: watch.is_due(None))
    settle(watch, tree)
    monkeypatch.setattr(watching, "PAUSE_S", 0.01)
    time.sleep(0.3)
    assert not watch.is_due(None) and not watch.is_due(0.0)


def test_the_limit_of_the_system_is_told_and_walks_take_over(tree):
    watch = Watch(tree)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    mark, looked = watch.mark(), Looked()
    list(walk(tree, looked=looked))
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        watch.cover(mark, looked, "index")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "limit" in watch.trouble and str(tree) in watch.trouble
    assert not watch.is_unchanged("index", float("-inf"))
    time.sleep(0.5)
    assert not watch.is_due(None) and not watch.is_due(100.0) and watch.is_due(0.0)


@pytest.mark.parametrize("why", ["a folder that has just gone", "the limit of watched folders"])
def test_a_folder_that_cannot_be_listened_to_means_that_silence_does_not_count(why, tree, monkeypatch):
    watch, looked = Watch(tree), Looked()
    if why == "the limit of watched folders":

        def refuse(*paths, ignore_permission_denied, **_):
            assert not ignore_permission_denied  # with it, this very error is not raised
            raise OSError('OS file watch limit reached. about ["/a"] (Error { kind: MaxFilesWatch, paths: ["/a"] })')

        monkeypatch.setattr(watchfiles, "watch", refuse)
    list(walk(tree, looked=looked))
    looked.folders.add(str(tree / "gone"))
    watch.cover(watch.mark(), looked, "index")
    assert watch.mark().listener is None
    watch.cover(watch.mark(), looked, "index")
    assert not watch.is_unchanged("index", float("-inf"))
    assert bool(watch.trouble) == (why == "the limit of watched folders")


def test_folders_of_other_machines_are_told_by_their_kind():
    mounts = "\n".join(
        f"{number} 0 0:{number} / {point} rw,relatime shared:{number} - {kind} source rw"
        for number, (point, kind) in enumerate(
            [("/", "ext4"), ("/net", "nfs4"), ("/net/local", "xfs"), ("/a\\040b", "fuse.sshfs"), ("/disk", "fuseblk"),
             ("/over", "ext4"), ("/over", "cifs"), ("/proc", "proc")]
        )
    )  # fmt: skip
    assert remote_kind("/net/src", mounts) == "nfs4"
    assert (
        remote_kind("/net/local/src", mounts) == remote_kind("/network", mounts) == remote_kind("/disk", mounts) == ""
    )
    assert remote_kind("/a b/src", mounts) == "fuse.sshfs"
    assert remote_kind("/over/it", mounts) == "cifs"
    assert remote_kind("/", mounts) != ""  # one below will do
