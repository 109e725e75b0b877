from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from index_doubles import WordEncoder, content, vector_matrix, widths_of, write_file

from mose.errors import CodeIndexError
from mose.search.chunking.chunk import embedding_text
from mose.search.deepen import deepen
from mose.search.refresh import refresh
from mose.search.store import exit_vectors as vectors_module
from mose.search.store.exit_vectors import VectorFile, is_member, read_exit, row_sums, run_members
from mose.search.store.store import Store
from mose.search.store.write_vectors import repair_vectors, write_vectors


def _rows(count, width=4, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _file(folder):
    return VectorFile(folder, "exit_6.vec", width=4)


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


@pytest.mark.parametrize("lost_bytes", [1, 15, 16, 17, 79, 80])
def test_file_that_lost_its_end_has_fewer_whole_rows(tmp_path, lost_bytes):
    file = _file(tmp_path)
    file.write(0, _rows(5))
    os.truncate(file.path, 80 - lost_bytes)
    np.testing.assert_array_equal(file.map(5), _rows(5)[: (80 - lost_bytes) // 16])


def test_pipe_or_folder_in_place_of_a_vector_file_has_no_rows_and_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "exit_6.vec")
    assert len(_file(tmp_path).map(5)) == 0


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
        vector_matrix(store, 0)
    with pytest.raises(CodeIndexError, match="not its own"):
        write_vectors(store, 0, "words-1", np.array([1]), np.ones((1, 8), np.float32))


def test_link_in_place_of_a_vector_file_is_not_written_through(tmp_path):
    write_file(tmp_path / "precious.txt", "precious")
    (tmp_path / "exit_6.vec").symlink_to(tmp_path / "precious.txt")
    with pytest.raises(CodeIndexError, match=r"exit_6\.vec"):
        _file(tmp_path).write(0, _rows(1))
    assert (tmp_path / "precious.txt").read_text() == "precious"


# ---- which rows belong to whom


def _run(first_row, *ids):
    return first_row, np.array(ids, "<i8").tobytes(), np.array(ids, "<u4").tobytes()


def test_run_members_number_rows_through():
    ids, rows, sums = run_members([_run(0, 7, 3), _run(2, 9)])
    assert ids.tolist() == sums.tolist() == [7, 3, 9]
    assert rows.tolist() == [0, 1, 2]
    assert run_members([])[0].size == 0


@pytest.mark.parametrize(
    "bad",
    [(2, None, b""), ("2", b"", b""), (2, "text", b""), (2, b"\0" * 9, b"\0" * 4), (-1, b"", b""), (1, b"", b""),
     (1 << 50, b"\0" * 8, b"\0" * 4)],
)  # fmt: skip
def test_runs_that_cannot_be_are_left_out(bad):
    assert run_members([_run(0, 7, 3), bad, _run(2, 9)])[0].tolist() == [7, 3, 9]


def test_is_member_equals_membership():
    rising = np.array([2, 3, 5, 8])
    assert is_member(np.array([8, 1, 9, 2, 4]), rising).tolist() == [True, False, False, True, False]
    assert is_member(np.array([1]), rising[:0]).tolist() == [False]


def test_matrix_rows_are_the_vectors_of_their_chunks(store):
    ids, rows, matrix = vector_matrix(store, 0)
    words = WordEncoder(exit=0)
    for chunk, row in zip(store.chunks(ids.tolist()), rows, strict=True):
        np.testing.assert_array_equal(matrix[row], words.encode([embedding_text(chunk, chunk.path)])[0])


def test_vectors_of_removed_chunks_are_not_among_the_rows(store, tmp_path):
    (tmp_path / "tree" / "src" / "dates.py").unlink()
    refresh(store, tmp_path / "tree", WordEncoder())
    ids, rows, matrix = vector_matrix(store, 0)
    assert ids.tolist() == store.chunk_ids().tolist()
    assert len(matrix) > len(rows)


def test_state_tells_when_vectors_were_added(store):
    before = store.vector_state(6)
    deepen(store, WordEncoder(), 6, ids=store.chunk_ids()[:1])
    assert store.vector_state(6) != before
    assert widths_of(store) == {0: 8, 6: 12}


def test_lost_rows_are_made_again(store, tmp_path):
    expected = content(store)
    name = store.vector_state(0)[0]
    os.truncate(store.folder / name, 4 * 8 * 2 + 5)
    assert len(vector_matrix(store, 0)[0]) == 2
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
    from mose.search.store import write_vectors as writing

    monkeypatch.setattr(writing, "MAX_RUNS", 2)
    ids = store.chunk_ids()
    for chunk_id in ids:
        deepen(store, WordEncoder(), 6, ids=[chunk_id])
    assert vector_matrix(store, 6)[0].tolist() == ids.tolist()
    assert store.rows("SELECT count(*) FROM runs WHERE exit = 6")[0][0] <= 2
    content(store, (0, 6))


def test_mostly_unused_rows_are_moved_together(store, monkeypatch):
    from mose.search.store import write_vectors as writing

    monkeypatch.setattr(writing, "WASTED_ROWS_ALLOWED", 0)
    expected = content(store)
    ids = store.chunk_ids()
    for _ in range(3):
        write_vectors(store, 0, "words-1", np.full(len(ids), 10**6), np.ones((len(ids), 8), np.float32))
    old = store.folder / store.vector_state(0)[0]
    repair_vectors(store)
    assert content(store) == expected
    assert len(vector_matrix(store, 0)[2]) == len(ids)
    assert not old.exists()


# ---- damage


def test_checksum_tells_any_changed_byte_and_any_two_numbers_exchanged():
    row = _rows(1, width=7)
    others = []
    for byte in range(4 * 7):
        data = bytearray(row.tobytes())
        data[byte] ^= 1 << byte % 8
        others.append(np.frombuffer(bytes(data), "<f4"))
    for left in range(6):
        order = np.arange(7)
        order[[left, left + 1]] = order[[left + 1, left]]
        others.append(row[0, order])
    with np.errstate(all="ignore"):
        assert row_sums(row)[0] not in row_sums(np.stack(others))


def _damage(path, random):
    """One byte of a file changed, or a page lost."""
    data = bytearray(path.read_bytes())
    place = int(random.integers(len(data)))
    if random.random() < 0.2:
        data[place : place + 4096] = bytes(len(data[place : place + 4096]))
    else:
        data[place] ^= int(random.integers(1, 256))
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_rows_are_not_read_and_are_made_again_once(store, tree, seed):
    deepen(store, WordEncoder(), 6)
    expected = content(store, (0, 6))
    random = np.random.default_rng(seed)
    exit_layer = int(random.choice([0, 6]))
    _damage(store.folder / store.vector_state(exit_layer)[0], random)
    with Store.open(store.folder) as again:
        found = content(again, (0, 6))["vectors"]
        for exit_seen, vectors in found.items():
            assert vectors.items() <= expected["vectors"][exit_seen].items()
        assert 0 < read_exit(again, exit_layer).num_damaged == len(expected["vectors"][0]) - len(found[exit_layer])
        deepen(again, WordEncoder(), 6)
        assert content(again, (0, 6)) == expected
        size_bytes = [path.stat().st_size for path in sorted(again.folder.glob("exit_*.vec"))]
        assert size_bytes == [4 * width * len(again.chunk_ids()) for width in (8, 12)], "rows were only appended"
    encoder = WordEncoder()
    with Store.open(store.folder) as third:
        refresh(third, tree, encoder)
        deepen(third, encoder, 6)
    assert encoder.calls == []


def test_checksum_ties_a_row_to_its_chunk(store):
    """Ids that were exchanged would give each chunk the other's vector."""
    (ids,) = store.rows("SELECT ids FROM runs WHERE exit = 0")[0]
    store.connection.execute("UPDATE runs SET ids = ? WHERE exit = 0", (ids[8:16] + ids[:8] + ids[16:],))
    assert read_exit(store, 0).num_damaged == 2


def test_what_a_batch_of_vectors_costs_does_not_grow_with_the_chunks_of_the_index(store):
    """No statement that is run for it reads the table of chunks."""
    statements = []
    store.connection.set_trace_callback(statements.append)
    write_vectors(store, 9, "other", store.chunk_ids()[:1], _rows(1, width=12))
    statements.clear()
    store.connection.execute(
        "UPDATE meta SET value = value + 1 WHERE key = 'generation'"
    )  # what is known counts no more
    write_vectors(store, 9, "other", np.array([10_000]), _rows(1, width=12, seed=1))
    store.connection.set_trace_callback(None)
    assert [text for text in statements if "exits" in text]
    assert [text for text in statements if "chunks" in text and "sqlite_sequence" not in text] == []
