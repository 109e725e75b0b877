from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys

import numpy as np
import pytest
from index_doubles import WordEncoder, content

from mose.search.deepen import deepen
from mose.search.store import shared_file, shared_vectors
from mose.search.store.shared_vectors import SharedVectors, as_kept, shared_key


def _rows(count, width=4, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _shared(tmp_path, model="m"):
    return SharedVectors(tmp_path / "vectors.db", model=model)


def _keys(count, first=0):
    return [b"%d" % number for number in range(first, first + count)]


def test_shared_vectors_come_back_rounded_once(tmp_path):
    shared = _shared(tmp_path)
    rows = as_kept(_rows(3))
    shared.add(6, [b"a", b"b", b"c"], rows)
    found = shared.find(6, 4, [b"c", b"a", b"nothing", b"a"])
    assert set(found) == {b"a", b"c"}
    np.testing.assert_array_equal(found[b"a"], rows[0])
    np.testing.assert_array_equal(as_kept(rows), rows)
    np.testing.assert_allclose(rows, _rows(3), atol=1e-3)


def test_shared_vectors_keep_models_and_exits_apart(tmp_path):
    _shared(tmp_path).add(6, [b"a"], _rows(1))
    assert _shared(tmp_path).find(3, 4, [b"a"]) == {}
    assert _shared(tmp_path, "other").find(6, 4, [b"a"]) == {}


def test_first_vector_of_a_key_stays(tmp_path):
    shared = _shared(tmp_path)
    shared.add(6, [b"a"], _rows(1))
    shared.add(6, [b"a", b"b"], _rows(2, seed=5))
    np.testing.assert_array_equal(shared.find(6, 4, [b"a"])[b"a"], as_kept(_rows(1))[0])


def test_several_processes_fill_the_shared_vectors_at_once(tmp_path):
    program = (
        "import sys, numpy as np; from pathlib import Path; from mose.search.store.shared_vectors import SharedVectors\n"
        "shared = SharedVectors(Path(sys.argv[1]), model='m')\n"
        "for n in range(40):\n"
        "    row = np.eye(64, dtype=np.float32)[n]\n"
        "    shared.add(6, [b'%d' % n, b'%s %d' % (sys.argv[2].encode(), n)], np.stack([row, row]))\n"
        "assert not shared.problem, shared.problem\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "vectors.db")]
    running = [subprocess.Popen([*command, name], env=_environment()) for name in ("a", "b", "c")]
    assert [process.wait() for process in running] == [0, 0, 0]
    found = _shared(tmp_path).find(6, 64, [*_keys(40), *(b"b %d" % n for n in range(40))])
    assert len(found) == 80
    assert all(found[b"%d" % n][n] == 1 for n in range(40))


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


# ---- room and rights


def test_a_vector_takes_little_more_than_its_numbers(tmp_path):
    shared = _shared(tmp_path)
    for first in range(0, 4000, 500):
        shared.add(6, _keys(500, first), _rows(500, 512, seed=first))
    shared.close()
    assert (tmp_path / "vectors.db").stat().st_size / 4000 < 1.15 * 2 * 512


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_nobody_else_can_read_the_file_or_its_folder_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        shared = SharedVectors(tmp_path / "home" / "deep" / "vectors.db", model="m")
        shared.add(6, [b"a"], _rows(1))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "home").rglob("*")}
    assert {modes.pop("deep"), stat.S_IMODE((tmp_path / "home").stat().st_mode)} == {0o700}
    assert set(modes.values()) == {0o600}, modes
    (tmp_path / "home" / "deep" / "vectors.db").chmod(0o644)
    SharedVectors(tmp_path / "home" / "deep" / "vectors.db", model="m")
    assert stat.S_IMODE((tmp_path / "home" / "deep" / "vectors.db").stat().st_mode) == 0o600


def test_file_does_not_grow_beyond_its_cap_and_keeps_what_was_used_last(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_file, "MAX_BYTES", 4_000_000)
    shared = _shared(tmp_path)
    for first in range(0, 10_000, 500):
        shared.add(6, _keys(500, first), _rows(500, 512, seed=first))
        _make_old(shared, 30)
        assert set(shared.find(6, 512, _keys(7))) == set(_keys(7)), "used again and again"
    assert 3_000_000 < shared_file.used_bytes(shared._connection) < 4_600_000
    assert not shared.find(6, 512, _keys(500, 5_000))
    assert len(shared.find(6, 512, _keys(500, 9_500))) == 500
    shared.close()
    assert (tmp_path / "vectors.db").stat().st_size < 6_000_000


def _make_old(shared, days):
    shared._connection.execute("UPDATE vectors SET day = day - ?", (days,))


def test_vectors_that_nobody_used_for_long_go_when_others_come(tmp_path):
    shared = _shared(tmp_path)
    shared.add(6, _keys(1500), _rows(1500))
    _make_old(shared, shared_file.MAX_AGE_DAYS)
    shared.find(6, 4, _keys(3))
    _make_old(shared, 1)
    shared.add(6, [b"new"], _rows(1))
    assert set(shared.find(6, 4, [*_keys(1500), b"new"])) == {*_keys(3), b"new"}


def test_finding_writes_nothing_unless_the_last_use_was_long_ago(tmp_path):
    shared = _shared(tmp_path)
    shared.add(6, _keys(9), _rows(9))
    before = shared._connection.total_changes
    shared.find(6, 4, _keys(9))
    _make_old(shared, shared_vectors.USE_NOTED_DAYS)
    changed = shared._connection.total_changes
    shared.find(6, 4, _keys(9))
    assert (changed - before, shared._connection.total_changes - changed) == (9, 0)


# ---- damage


@pytest.mark.parametrize(
    "poison",
    ["NULL", "''", "'text'", "5", "zeroblob(12)", "zeroblob(100000)", "randomblob(12)", "substr(vector, 1, 10)",
     "(SELECT vector FROM vectors WHERE id = 2)"],
)  # fmt: skip
def test_poisoned_vector_is_not_found_and_can_be_made_again(tmp_path, poison):
    shared = _shared(tmp_path)
    shared.add(6, _keys(3), _rows(3))
    shared._connection.execute("PRAGMA ignore_check_constraints = ON")
    try:
        shared._connection.execute(f"UPDATE vectors SET vector = {poison} WHERE id = 1")
    except sqlite3.IntegrityError:
        return  # NULL: the table refuses it
    assert set(shared.find(6, 4, _keys(3))) == set(_keys(3)[1:])
    shared.add(6, _keys(3), _rows(3))
    np.testing.assert_array_equal(shared.find(6, 4, _keys(1))[b"0"], as_kept(_rows(1))[0])


@pytest.mark.parametrize("values", [[np.nan, 0, 0, 1], [np.inf, 0, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0]])
def test_vector_that_is_not_of_unit_length_is_neither_kept_nor_found(tmp_path, values):
    shared = _shared(tmp_path)
    poison = np.array([values], np.float32)
    shared.add(6, [b"a"], poison)
    assert shared._connection.execute("SELECT count(*) FROM vectors").fetchall() == [(0,)]
    key = shared_key("m", 6, b"a")
    blob = shared_vectors._packed(key, poison[0].astype("<f2"))
    shared._connection.execute("INSERT INTO vectors(key, day, vector) VALUES (?, 30000, ?)", (key, blob))
    assert shared.find(6, 4, [b"a"]) == {}


def test_vector_of_another_width_is_not_found(tmp_path):
    shared = _shared(tmp_path)
    shared.add(6, [b"a"], _rows(1))
    assert shared.find(6, 5, [b"a"]) == {}


def _foreign_database(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs(x)")


FAULTS = {
    "text": lambda path: path.write_bytes(b"no database at all " * 500),
    "foreign": _foreign_database,
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "link": lambda path: path.symlink_to("/nowhere/at/all"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_search_does_without_what_is_not_a_vector_store_and_leaves_it_alone(store, home, fault):
    FAULTS[fault](home / "vectors.db")
    before = (home / "vectors.db").read_bytes() if fault in ("text", "foreign") else None
    assert deepen(store, WordEncoder(), 6).num_encoded == len(store.chunk_ids())
    shared = SharedVectors(home / "vectors.db", model="m")
    assert "vectors.db" in shared.problem
    assert before is None or (home / "vectors.db").read_bytes() == before


def test_locked_file_is_done_without(store, home, monkeypatch):
    monkeypatch.setattr(shared_file, "WAIT_MS", 50)
    SharedVectors(home / "vectors.db", model="m").close()
    with sqlite3.connect(home / "vectors.db", isolation_level=None) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert deepen(store, WordEncoder(), 6).num_encoded == len(store.chunk_ids())
    assert content(store, (0, 6))["vectors"][6]


def test_full_disk_is_done_without(store, home):
    shared = SharedVectors(home / "vectors.db", model="words-1")
    shared._connection.execute("PRAGMA max_page_count = 3")
    shared.add(6, _keys(500), _rows(500, 512))
    assert "full" in shared.problem
    assert shared.find(6, 512, _keys(500)) == {}


def test_file_of_an_earlier_layout_is_replaced(tmp_path):
    with sqlite3.connect(tmp_path / "vectors.db") as old:
        old.execute("CREATE TABLE vectors(model TEXT, exit INTEGER, key BLOB, vector BLOB)")
        old.execute(f"PRAGMA application_id = {shared_file.SHARED_APPLICATION_ID}")
    shared = _shared(tmp_path)
    shared.add(6, _keys(3), _rows(3))
    assert len(shared.find(6, 4, _keys(3))) == 3


@pytest.mark.parametrize("seed", range(30))
def test_damaged_file_gives_right_vectors_or_none_and_is_replaced(tmp_path, seed):
    """Bytes changed, pages lost, the end gone: what is found is right, and the next process but one has it all."""
    shared = _shared(tmp_path)
    rows = _rows(400, 512)
    shared.add(6, _keys(400), rows)
    shared.close()
    random = np.random.default_rng(seed)
    path = tmp_path / "vectors.db"
    data = bytearray(path.read_bytes())
    for _ in range(int(random.integers(1, 40))):
        place = int(random.integers(100 if random.random() < 0.8 else 0, len(data)))
        if 68 <= place < 72:
            continue  # this would be a foreign file
        if random.random() < 0.1:
            data[place : place + 16384] = bytes(len(data[place : place + 16384]))
        data[place] ^= int(random.integers(1, 256))
    path.write_bytes(data[: len(data) - int(random.integers(0, 2)) * int(random.integers(1, 30_000))])
    kept = as_kept(rows)
    for _ in range(3):
        shared = _shared(tmp_path)
        for key, vector in shared.find(6, 512, _keys(400)).items():
            np.testing.assert_array_equal(vector, kept[int(key)])
        shared.add(6, _keys(400), rows)
        shared.close()
    shared = _shared(tmp_path)
    assert len(shared.find(6, 512, _keys(400))) == 400
    assert not shared.problem
