"""Indexes that cannot be written, and homes that cannot be used."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
from index_doubles import write_file

from mose import CodeIndex, Encoder, SearchOptions
from mose.errors import CodeIndexError, MoseError
from mose.search import loaded
from mose.search.deepen import deepen
from mose.search.opening import Opening
from mose.search.store.location import index_folder, source_root

QUERIES = ["read a date", "reuse an open connection", "throw away the oldest entry", "check a password", "signIn"]
AS_ANOTHER_USER = 12345


class CountingEncoder(Encoder):
    """The encoder that ships, which notes every code that it reads at a deep exit."""

    codes: ClassVar[list[str]] = []

    def at(self, exit=None, width=None):
        return type(self)(self._model, exit=exit if exit is not None else self.exit, width=width or self._asked_width)

    def encode(self, texts, *, kind="code", **options):
        if kind == "code" and self.exit:
            self.codes.extend(texts)
        return super().encode(texts, kind=kind, **options)


def _state(folder):
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def _run(code, *words, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [*options.pop("before", ()), sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


def test_an_answer_without_an_update_writes_nothing_at_all(sample_tree, home):
    with CodeIndex.open(sample_tree) as index:
        expected = index.search("read a date", SearchOptions(budget_s=60))
    write_file(sample_tree / "new.py", "def brand_new():\n    return 1\n")
    before = _state(home)
    with CodeIndex.open(sample_tree, update=False) as index:
        assert [hit.path for hit in index.search("read a date", SearchOptions(budget_s=60))] == [
            hit.path for hit in expected
        ]
        assert index.search("give a connection back", SearchOptions(budget_s=60))[0].parts.exit == 6
        assert index.status().complete
        with pytest.raises(CodeIndexError, match="as it is"):
            index.deepen()
        assert _state(home) == before
    assert _state(home) == before


def test_what_was_read_for_an_answer_without_an_update_is_not_read_again(sample_tree):
    CodeIndex.open(sample_tree).close()
    encoder = CountingEncoder.load()
    opening = Opening(root=source_root(sample_tree), encoder=encoder, update=False)
    with CodeIndex(opening, opening.open()) as index:
        first = index.search("read a date", SearchOptions(budget_s=60))
        num_encoded = len(encoder.codes)
        assert num_encoded == first.stats.num_encoded == first.stats.num_read > 0
        again = index.search("read a date", SearchOptions(budget_s=60))
        assert list(again) == list(first)
        assert (again.stats.num_encoded, again.stats.num_read) == (0, first.stats.num_read)
        narrow = index.search("read a date", SearchOptions(width=64, budget_s=60))
        assert narrow.stats.num_encoded == 0
        assert len(encoder.codes) == num_encoded
    with CodeIndex.open(sample_tree) as index:
        assert list(index.search("read a date", SearchOptions(budget_s=60))) == list(first)
        assert list(index.search("read a date", SearchOptions(width=64, budget_s=60))) == list(narrow)


def test_what_was_read_without_an_update_is_kept_when_another_stores_vectors_and_dropped_when_the_tree_changes(
    sample_tree,
):
    CodeIndex.open(sample_tree).close()
    with CodeIndex.open(sample_tree, update=False) as index:
        num_read = index.search("read a date", SearchOptions(budget_s=60)).stats.num_read
        with CodeIndex.open(sample_tree) as other:
            some = other.store.chunk_ids()[:2]
            deepen(other.store, other.encoder, 6, ids=some)
        stats = index.search("read a date", SearchOptions(budget_s=60)).stats
        assert (stats.num_encoded, stats.num_read) == (0, num_read)
        write_file(sample_tree / "clock.py", "def read_the_clock():\n    return 1\n")
        CodeIndex.open(sample_tree).close()
        stats = index.search("read a date", SearchOptions(budget_s=60)).stats
        assert stats.num_read == stats.num_short == num_read + 1


def test_vectors_in_memory_have_a_bound(store, monkeypatch):
    monkeypatch.setattr(loaded, "MAX_UNSTORED", 3)
    table = store.chunk_table()
    vectors = loaded.ExitVectors(store, table, 6)
    vector = np.ones(12, dtype=np.float32)
    vectors.keep({0: vector, 1: vector})
    vectors.keep({2: vector, 3: vector, 1: vector})
    assert list(vectors.unstored) == [1, 2, 3]
    cosines = vectors.cosines_at(np.eye(12, dtype=np.float32)[0], np.array([0, 3]))
    assert np.isnan(cosines[0])
    assert cosines[1] == pytest.approx(12**-0.5)


def test_an_answer_without_an_update_sees_what_another_has_written_meanwhile(sample_tree):
    CodeIndex.open(sample_tree).close()
    with CodeIndex.open(sample_tree, update=False) as index:
        index.search("read a date")
        write_file(sample_tree / "clock.py", "def wind_the_clock():\n    '''Winds the clock.'''\n")
        CodeIndex.open(sample_tree).close()
        assert index.search("wind the clock", SearchOptions(budget_s=0))[0].path == "clock.py"


IN_A_SMALL_MOUNT = """
set -e
mkdir -p "$MOSE_HOME"
mount -t tmpfs -o size="$3" none "$MOSE_HOME"
"$1" -c "$4" "$2"
"""
FULL = """
import os, sys
from pathlib import Path
from mose import CodeIndex, SearchOptions
from mose.cli import main
tree = Path(sys.argv[1])
assert main(["search", "read a date", str(tree), "--limit", "1"]) == 0
home = Path(os.environ["MOSE_HOME"])
try:
    with (home / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
except OSError:
    pass
(tree / "new.py").write_text("def brand_new():\\n    return 1\\n" * 3000)
print("--- full")
assert main(["search", "read a date", str(tree), "--limit", "1"]) == 0
assert main(["search", "reuse an open connection", str(tree), "--limit", "1", "--no-update"]) == 0
assert main(["index", str(tree), "--quiet"]) == 2
(home / "ballast").unlink()
print("--- room again")
assert main(["search", "brand_new", str(tree), "--limit", "1"]) == 0
"""
READ_ONLY = """
import os, subprocess, sys
from pathlib import Path
from mose.cli import main
tree = Path(sys.argv[1])
assert main(["search", "read a date", str(tree), "--limit", "1"]) == 0
subprocess.run(["mount", "-o", "remount,ro", os.environ["MOSE_HOME"]], check=True)
(tree / "new.py").write_text("def brand_new():\\n    return 1\\n")
for options in (["--no-update"], []):
    assert main(["search", "reuse an open connection", str(tree), "--limit", "1", *options]) == 0
assert main(["status", str(tree)]) == 0
assert main(["index", str(tree), "--quiet"]) == 2
"""


def _can_mount():
    return (
        sys.platform == "linux"
        and not subprocess.run(
            ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False
        ).returncode
    )


@pytest.mark.skipif(not _can_mount(), reason="needs a mount of its own")
@pytest.mark.parametrize(("program", "size"), [(FULL, "2m"), (READ_ONLY, "20m")], ids=["full", "read-only"])
def test_a_full_or_read_only_disk_is_answered_from_what_is_there(sample_tree, home, program, size):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = ["unshare", "-rm", "sh", "-c", IN_A_SMALL_MOUNT, "sh", sys.executable, sample_tree, size, program]
    ended = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "src/network.py" in ended.stdout
    assert "this answer is from the index as it is" in ended.stderr
    assert "forget" not in ended.stderr
    assert "--rebuild" not in ended.stderr
    if program is FULL:
        assert "new.py" in ended.stdout.partition("--- room again")[2]


SEARCH = "import sys; from mose.cli import main; raise SystemExit(main(sys.argv[1:]))"
DROP = ["setpriv", f"--reuid={AS_ANOTHER_USER}", f"--regid={AS_ANOTHER_USER}", "--clear-groups"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv"), reason="becomes another user"
)
def test_another_users_readable_index_is_answered_from(sample_tree, home):
    with CodeIndex.open(sample_tree) as index:
        index.deepen()
    for folder in (home, sample_tree, *home.parents, *sample_tree.parents):
        if str(folder).startswith(("/tmp/", str(home.parent))):
            folder.chmod(0o755)
    for path in home.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    ended = _run(SEARCH, "search", "read a date", sample_tree, "--limit", 1, before=DROP)
    if "No module named" in ended.stderr or "Permission denied" in ended.stderr.partition("mose")[0]:
        pytest.skip("the other user cannot read this installation")
    assert (ended.returncode, ended.stdout.count("src/dates.py")) == (0, 1), ended.stderr
    assert "as it is" in ended.stderr


def test_folders_are_closed_to_others_under_any_umask(sample_tree, home, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", str(home / "new" / "home"))
    before = os.umask(0)
    try:
        for inside in (False, True):
            with CodeIndex.open(sample_tree, inside=inside) as index:
                index.search("read a date")
                folder = index.store.folder
            for made in (folder, folder.parent, *(home / "new").rglob("*"), home / "new"):
                if made.is_dir() and made.exists():
                    assert stat.S_IMODE(made.stat().st_mode) == 0o700, made
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", ["file", "below a file", "dangling link", "closed folder"])
def test_a_home_that_cannot_be_used_is_a_clear_error(sample_tree, tmp_path, monkeypatch, kind):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "else")
    (tmp_path / "closed").mkdir(mode=0o500)
    if kind == "closed folder" and os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("this user may write everything")
    where = {"file": "file", "below a file": "file/home", "dangling link": "link", "closed folder": "closed"}[kind]
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / where))
    for options in ({}, {"update": False}, {"inside": True}):
        with pytest.raises(MoseError, match=r"MOSE_HOME|no index"):
            CodeIndex.open(sample_tree, **options)
    assert not index_folder(sample_tree).exists()


def test_rebuild_with_wrong_arguments_leaves_the_index_alone(mose, sample_tree):
    mose("index", sample_tree, "--inside", "--quiet")
    before = _state(sample_tree / ".mose")
    for words in (["--exit", 5], ["--model", "nowhere"]):
        code, _, err = mose("index", sample_tree, "--rebuild", "--quiet", *words)
        assert (code, "ModelError" in err) == (2, True)
    assert _state(sample_tree / ".mose") == before
    assert mose("index", sample_tree, "--rebuild", "--quiet")[0] == 0
    after = list((sample_tree / ".mose").glob("*/index.db"))
    assert len(after) == 1
    assert str(after[0]) not in before, "it stays inside and is another one"


# ---- threads


def _answers(index):
    return [
        [(hit.path, hit.start_line, round(hit.score, 5)) for hit in index.search(query, SearchOptions(budget_s=60))]
        for query in QUERIES
    ]


def test_eight_threads_get_the_answers_of_one(sample_tree):
    with CodeIndex.open(sample_tree) as index:
        index.deepen()
        expected = _answers(index)
        expected_like = [hit.path for hit in index.like("tests/test_dates.py", 5)]
    CodeIndex.open(sample_tree, rebuild=True).close()
    with CodeIndex.open(sample_tree) as index, ThreadPoolExecutor(8) as pool:
        index.deepen()
        searches = [pool.submit(_answers, index) for _ in range(12)]
        others = [pool.submit(index.deepen), pool.submit(index.refresh), pool.submit(index.status)]
        like = pool.submit(index.like, "tests/test_dates.py", 5)
        assert [search.result() for search in searches] == [expected] * 12
        assert [hit.path for hit in like.result()] == expected_like
        assert all(other.result() is not None for other in others)
        assert index.status().complete
