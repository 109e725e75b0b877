from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from index_doubles import WordEncoder, content, write_file

from mose.errors import CodeIndexError
from mose.search import vectors as vectors_module
from mose.search.deepening import encoder_text
from mose.search.indexer import deepen, refresh
from mose.search.vectors import HEADER_BYTES, VectorFile, is_member, run_members
from mose.search.writing import repair_vectors, write_vectors


def _rows(count, width=4, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _file(folder, **changes):
    return VectorFile(folder, "exit_6.vec", **({"model": "m", "exit_layer": 6, "width": 4} | changes))


# ---- one file


def test_rows_come_back_as_written_batch_after_batch(tmp_path):
    file = _file(tmp_path)
    assert file.map(10).shape == (0, 4)
    file.write(0, _rows(5))
    file.write(5, _rows(3, seed=1))
    np.testing.assert_array_equal(file.map(8), np.concatenate([_rows(5), _rows(3, seed=1)]))
    assert file.map(6).shape == (6, 4)
    assert not file.map(8).flags.writeable


def test_rows_after_the_committed_ones_are_overwritten(tmp_path):
    file = _file(tmp_path)
    file.write(0, _rows(5))
    file.write(5, _rows(3, seed=1))
    file.write(5, _rows(3, seed=2))
    np.testing.assert_array_equal(file.map(8)[5:], _rows(3, seed=2))


@pytest.mark.parametrize("lost_bytes", [1, 16, 17, 79, 80, 81, 5000])
def test_file_that_lost_its_end_has_fewer_whole_rows(tmp_path, lost_bytes):
    file = _file(tmp_path)
    file.write(0, _rows(5))
    os.truncate(file.path, max(0, HEADER_BYTES + 80 - lost_bytes))
    expected = max(0, (80 - lost_bytes) // 16)
    assert file.num_rows() == expected
    np.testing.assert_array_equal(file.map(5), _rows(5)[:expected])


@pytest.mark.parametrize("change", [{"model": "other"}, {"exit_layer": 3}, {"width": 5}])
def test_vectors_of_another_model_exit_or_width_are_refused(tmp_path, change):
    _file(tmp_path).write(0, _rows(5))
    with pytest.raises(CodeIndexError, match="--rebuild") as caught:
        _file(tmp_path, **change).map(5)
    assert "exit_6.vec" in str(caught.value)


@pytest.mark.parametrize("header", [b"", b"MoSEvec1{not json" + b"\0" * 5000, b"\x7fELF" + b"\0" * 5000])
def test_file_without_a_readable_header_has_no_rows(tmp_path, header):
    (tmp_path / "exit_6.vec").write_bytes(header)
    assert _file(tmp_path).num_rows() == 0


def test_full_disk_is_a_clear_error_that_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors_module.os, "write", _no_space)
    with pytest.raises(CodeIndexError, match="No space left") as caught:
        _file(tmp_path).write(0, _rows(5))
    assert str(tmp_path / "exit_6.vec") in str(caught.value)
    assert "MOSE_HOME" in str(caught.value)


def _no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_write_that_is_cut_short_goes_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(vectors_module.os, "write", lambda fd, data: real(fd, data[:7]))
    _file(tmp_path).write(0, _rows(5))
    np.testing.assert_array_equal(_file(tmp_path).map(5), _rows(5))


@pytest.mark.parametrize("name", ["../exit_6.vec", "/etc/passwd", "notes.txt", ".bashrc"])
def test_index_cannot_name_a_file_that_is_not_its_own(store, name):
    store.connection.execute("UPDATE exits SET file = ?", (name,))
    with pytest.raises(CodeIndexError, match="not its own"):
        store.vector_matrix(0)
    with pytest.raises(CodeIndexError, match="not its own"):
        write_vectors(store, 0, "words-1", np.array([1]), np.ones((1, 8), np.float32))


def test_link_in_place_of_a_vector_file_is_not_written_through(tmp_path):
    write_file(tmp_path / "precious.txt", "precious")
    (tmp_path / "exit_6.vec").symlink_to(tmp_path / "precious.txt")
    with pytest.raises(CodeIndexError, match=r"exit_6\.vec"):
        _file(tmp_path).write(0, _rows(1))
    assert (tmp_path / "precious.txt").read_text() == "precious"


# ---- which rows belong to whom


def test_run_members_number_rows_through():
    runs = [(0, np.array([7, 3], "<i8").tobytes()), (2, np.array([9], "<i8").tobytes())]
    ids, rows = run_members(runs)
    assert ids.tolist() == [7, 3, 9]
    assert rows.tolist() == [0, 1, 2]
    assert run_members([])[0].size == 0


def test_is_member_equals_membership():
    rising = np.array([2, 3, 5, 8])
    assert is_member(np.array([8, 1, 9, 2, 4]), rising).tolist() == [True, False, False, True, False]
    assert is_member(np.array([1]), rising[:0]).tolist() == [False]


def test_matrix_rows_are_the_vectors_of_their_chunks(store):
    ids, rows, matrix = store.vector_matrix(0)
    words = WordEncoder(exit=0)
    for chunk, row in zip(store.chunks(ids.tolist()), rows, strict=True):
        np.testing.assert_array_equal(matrix[row], words.encode([encoder_text(chunk)])[0])


def test_vectors_of_removed_chunks_are_not_among_the_rows(store, tmp_path):
    (tmp_path / "tree" / "src" / "dates.py").unlink()
    refresh(store, tmp_path / "tree", WordEncoder())
    ids, rows, matrix = store.vector_matrix(0)
    assert ids.tolist() == store.chunk_ids().tolist()
    assert len(matrix) > len(rows)


def test_state_tells_when_vectors_were_added(store):
    before = store.vector_state(6)
    deepen(store, WordEncoder(), 6, ids=store.chunk_ids()[:1])
    assert store.vector_state(6) != before
    assert store.exits() == {0: 8, 6: 12}


def test_lost_rows_are_made_again(store, tmp_path):
    expected = content(store)
    name = store.vector_state(0)[0]
    os.truncate(store.folder / name, HEADER_BYTES + 4 * 8 * 2 + 5)
    assert len(store.vector_matrix(0)[0]) == 2
    write_file(tmp_path / "tree" / "new.md", "something new\n")
    refresh(store, tmp_path / "tree", WordEncoder())
    (tmp_path / "tree" / "new.md").unlink()
    refresh(store, tmp_path / "tree", WordEncoder())
    assert content(store) == expected


def test_vector_file_that_is_gone_is_made_again_by_the_next_refresh(store, tmp_path):
    expected = content(store)
    (store.folder / store.vector_state(0)[0]).unlink()
    refresh(store, tmp_path / "tree", WordEncoder())
    assert content(store) == expected


def test_many_small_runs_are_kept_as_one(store, monkeypatch):
    from mose.search import writing

    monkeypatch.setattr(writing, "MAX_RUNS", 2)
    ids = store.chunk_ids()
    for chunk_id in ids:
        deepen(store, WordEncoder(), 6, ids=[chunk_id])
    assert store.vector_matrix(6)[0].tolist() == ids.tolist()
    assert store.rows("SELECT count(*) FROM runs WHERE exit = 6")[0][0] <= 2
    content(store, (0, 6))


def test_mostly_unused_rows_are_moved_together(store, monkeypatch):
    from mose.search import writing

    monkeypatch.setattr(writing, "WASTED_ROWS_ALLOWED", 0)
    expected = content(store)
    ids = store.chunk_ids()
    for _ in range(3):
        write_vectors(store, 0, "words-1", np.full(len(ids), 10**6), np.ones((len(ids), 8), np.float32))
    old = store.folder / store.vector_state(0)[0]
    repair_vectors(store)
    assert content(store) == expected
    assert len(store.vector_matrix(0)[2]) == len(ids)
    assert not old.exists()
