from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from index_doubles import WordEncoder, content, many_files, write_tree

from mose.search.deepen import deepen
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.prune import prune
from mose.search.store.shared_vectors import SharedVectors
from mose.search.store.store import Store


def _indexed(tree):
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        deepen(store, WordEncoder(), 6)
        return content(store, (0, 6))


@pytest.fixture
def two(tmp_path):
    """A tree that stays and one that goes, both indexed."""
    stays = many_files(tmp_path, 20)
    goes = write_tree(tmp_path / "goes", {f"g{n}.py": f"def gone_{n}():\n    return {n}\n" for n in range(15)})
    expected = _indexed(stays)
    _indexed(goes)
    shutil.rmtree(goes)
    return stays, goes, expected


def _check_kept(stays, expected):
    with Store.open(index_folder(stays)) as store:
        assert content(store, (0, 6)) == expected


def test_index_of_a_tree_that_is_gone_goes_with_its_vectors_and_nothing_else(two, home):
    stays, goes, expected = two
    planned = prune(dry_run=True)
    report = prune()
    for told in (planned, report):
        assert [(index.root, index.reason) for index in told.indexes] == [(str(goes), "its tree is gone")]
        assert (told.num_kept, told.num_vectors, told.num_vectors_kept) == (1, 15, 20)
    assert len(list((home / "trees").iterdir())) == 1
    _check_kept(stays, expected)
    again = prune()
    assert (again.indexes, again.num_vectors, again.num_vectors_kept) == ([], 0, 20)
    encoder = WordEncoder()
    with Store.open(index_folder(stays)) as store:
        deepen(store, encoder, 6)
    assert encoder.calls == []


def test_damaged_index_and_left_over_folder_go(two, home):
    stays, _, _ = two
    with Store.open(index_folder(stays)) as store:
        path = store.path
    path.write_bytes(path.read_bytes()[:5000])
    (home / "trees" / "stray-0123456789ab").mkdir()
    assert sorted(index.reason for index in prune().indexes) == ["damaged", "its tree is gone", "left over"]
    assert list((home / "trees").iterdir()) == []


def test_index_that_is_being_written_is_left_alone(two):
    _, goes, _ = two
    base = next(index.folder for index in prune(dry_run=True).indexes)
    from mose.search.store.lock import writer_lock

    with writer_lock(base, wait=False):
        assert prune().busy == [base]
    assert [index.root for index in prune().indexes] == [str(goes)]


def test_shared_vectors_that_cannot_be_read_are_named(two, home):
    (home / "vectors.db").write_bytes(b"rubbish " * 1000)
    assert "vectors.db" in prune().notes[0]


def test_command_says_what_it_did(two, mose):
    _, goes, _ = two
    assert f"Would remove the index of {goes}" in mose("prune", "--dry-run")[1]
    code, out, _ = mose("prune", "--json")
    assert (code, json.loads(out)["indexes"][0]["root"]) == (0, str(goes))
    assert "Kept: 1 index and 20 vectors that all trees share." in mose("prune")[1]


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_kill_at_any_moment_leaves_what_is_used_and_the_next_call_ends_it(two, home):
    stays, _, expected = two
    pattern = home.with_name(home.name + "-pattern")
    shutil.copytree(home, pattern)
    program = "import sys; from mose.search.store.prune import prune; print(1, flush=True); sys.stdin.read(1); prune()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    random = np.random.default_rng(3)
    for _ in range(15):
        shutil.rmtree(home)
        shutil.copytree(pattern, home)
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
            process.stdout.readline()
            process.stdin.write(b"x")
            process.stdin.flush()
            time.sleep(random.random() * 0.03)
            process.send_signal(signal.SIGKILL)
        _check_kept(stays, expected)
        prune()
        _check_kept(stays, expected)
        assert len(list((home / "trees").iterdir())) == 1
        shared = SharedVectors(home / "vectors.db", model="words-1")
        assert shared._connection.execute("SELECT count(*) FROM vectors").fetchall() == [(20,)]
        shared.close()
