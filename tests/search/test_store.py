from __future__ import annotations

import sqlite3
import threading

import numpy as np
import pytest
from index_doubles import SOURCES, WordEncoder, content, write_file, write_tree

from mose.errors import CodeIndexError, SourceError
from mose.search.indexer import forget, refresh
from mose.search.location import index_folder, make_folder
from mose.search.store import Store
from mose.search.writing import set_meta, transaction


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", SOURCES)


@pytest.fixture
def store(tree):
    with Store.open(index_folder(tree)) as opened:
        refresh(opened, tree, WordEncoder())
        yield opened


# ---- where it lies


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
    assert (tree / ".mose" / ".gitignore").read_text() == "*\n"
    assert index_folder(tree, inside=False) != tree / ".mose"


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
    (store.folder / "notes.txt").write_text("mine")
    assert forget(tree) == [store.folder]
    assert [path.name for path in store.folder.iterdir()] == ["notes.txt"]
    assert (tree / "src" / "dates.py").exists()
    assert forget(tree) == []


def test_forget_works_for_a_tree_that_is_gone(tree, store):
    import shutil

    shutil.rmtree(tree)
    assert forget(tree) == [store.folder]
    assert not store.folder.exists()


# ---- opening


def test_there_is_no_index_says_what_to_run(tree):
    with pytest.raises(CodeIndexError, match="mose index"):
        Store.open(index_folder(tree), create=False)
    with pytest.raises(CodeIndexError, match="mose index"):
        Store.open_to_read(index_folder(tree))


def _refused(tree, match):
    for opening in (Store.open, Store.open_to_read):
        with pytest.raises(CodeIndexError, match=match) as caught:
            opening(index_folder(tree))
        assert str(index_folder(tree) / "index.db") in str(caught.value)
        assert "mose forget" in str(caught.value) or "mose index PATH --rebuild" in str(caught.value)


def test_file_that_is_no_database_is_refused(tree):
    make_folder(index_folder(tree))
    (index_folder(tree) / "index.db").write_bytes(b"something else entirely\n" * 400)
    _refused(tree, "damaged")


def test_foreign_database_is_refused_and_left_alone(tree):
    make_folder(index_folder(tree))
    other = sqlite3.connect(index_folder(tree) / "index.db")
    other.execute("CREATE TABLE theirs(x)")
    other.commit()
    _refused(tree, "not an index of mose")
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_database_of_another_application_is_refused(tree):
    make_folder(index_folder(tree))
    other = sqlite3.connect(index_folder(tree) / "index.db")
    other.execute("PRAGMA application_id = 77")
    other.commit()
    _refused(tree, "not an index of mose")


@pytest.mark.parametrize(("version", "word"), [(99, "newer"), (0, "older")])
def test_other_format_versions_are_refused(tree, store, version, word):
    store.connection.execute(f"PRAGMA user_version = {version}")
    _refused(tree, word)


def test_truncated_database_is_refused_and_can_be_rebuilt(tree, store):
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    expected = content(store)
    store.close()
    path = store.path
    path.write_bytes(path.read_bytes()[:-5000])
    _refused(tree, "damaged")
    forget(tree)
    with Store.open(index_folder(tree)) as fresh:
        refresh(fresh, tree, WordEncoder())
        assert content(fresh) == expected


def test_damage_found_later_is_a_clear_error(tree, store):
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    data = bytearray(store.path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    store.path.write_bytes(data)
    with Store.open(store.folder) as damaged, pytest.raises(CodeIndexError, match="--rebuild"):
        damaged.chunk_table()


def test_empty_file_is_taken_for_a_new_index(tree):
    make_folder(index_folder(tree))
    (index_folder(tree) / "index.db").touch()
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        assert store.status().complete


def test_store_opened_to_read_cannot_write(tree, store):
    with Store.open_to_read(store.folder) as reader:
        assert content_paths(reader) == content_paths(store)
        with pytest.raises(CodeIndexError, match="writing"):
            set_meta(reader, root="elsewhere")


# ---- chunks


def content_paths(store):
    return sorted(store.chunk_table().paths)


def test_chunk_table_says_what_single_chunks_say(store):
    table = store.chunk_table()
    assert len(table) > 3
    assert (np.diff(table.ids) > 0).all()
    assert table.generation == store.generation
    for row, chunk in enumerate(store.chunks(table.ids.tolist())):
        assert table.paths[table.file_row[row]] == chunk.path
        assert table.languages[table.file_row[row]] == chunk.language
        assert (table.first_line[row], table.last_line[row]) == (chunk.first_line, chunk.last_line)
        assert (table.symbol[row], table.kind[row], table.defines[row]) == (
            chunk.symbol,
            chunk.kind,
            chunk.defines,
        )


def test_chunk_table_survives_names_with_its_separator(store):
    table = store.chunk_table()
    with transaction(store):
        store.connection.execute(
            "UPDATE chunks SET symbol = 'a' || char(31) || 'b' WHERE id = ?", (int(table.ids[0]),)
        )
    again = store.chunk_table()
    assert again.symbol == ["a\x1fb", *table.symbol[1:]]
    assert again.kind == table.kind


def test_empty_index_has_an_empty_table(tree):
    with Store.open(index_folder(tree)) as empty:
        table = empty.chunk_table()
        assert len(table) == 0
        assert table.rows_of(np.array([3])).tolist() == [-1]
        assert empty.vector_matrix(0)[0].size == 0
        assert empty.status().num_chunks == 0


def test_rows_of_finds_ids_and_tells_unknown_ones(store):
    table = store.chunk_table()
    asked = np.array([table.ids[-1], 10_000, table.ids[0], 0])
    assert table.rows_of(asked).tolist() == [len(table) - 1, -1, 0, -1]


def test_find_chunk_gives_the_smallest_around_a_line(store):
    lines = SOURCES["src/dates.py"].split("\n")
    line = 1 + next(number for number, text in enumerate(lines) if "map(int" in text)
    chunk = store.find_chunk("src/dates.py", line)
    assert chunk is not None
    assert chunk.first_line <= line <= chunk.last_line
    assert "map(int" in chunk.text
    assert store.find_chunk("src/dates.py", 5000) is None
    assert store.find_chunk("src/none.py", 1) is None


def test_texts_leave_out_what_is_gone(store):
    first = int(store.chunk_table().ids[0])
    assert list(store.texts([first, 9999])) == [first]
    assert store.chunk(9999) is None


# ---- words


def _found(store, match, **weights):
    ids, scores = store.lexical(match, 50, **weights)
    assert (np.diff(scores) <= 0).all()
    return [store.chunk(int(chunk_id)).path for chunk_id in ids]


def test_words_find_parts_and_whole_identifiers_and_inflections(store):
    assert "src/dates.py" in _found(store, '"parse_iso_date"')
    assert "src/dates.py" in _found(store, "iso")
    assert "src/proxy.js" in _found(store, '"openproxy"')
    assert "src/proxy.js" in _found(store, "proxies")
    assert _found(store, "path : readme") == ["README.md"]
    assert _found(store, "nowhere") == []


def test_column_weights_change_the_order(store):
    by_path = _found(store, "dates OR readme", column_weights=(0.0, 0.0, 9.0))
    assert by_path[0] == "README.md"


def test_expression_that_fts_cannot_read_is_a_clear_error(store):
    with pytest.raises(CodeIndexError, match="query of words"):
        store.lexical('"unclosed', 5)


def test_document_frequencies_count_chunks_with_inflected_forms(store):
    counts = store.document_frequencies(["dates", "proxy", "openproxy", "nowhere", "", "*"])
    assert counts["dates"] == len(_found(store, "date")) > 1
    assert counts["proxy"] == len(_found(store, "proxy"))
    assert counts["openproxy"] == 1
    assert counts["nowhere"] == counts[""] == counts["*"] == 0


def test_removed_files_leave_no_words_behind(store, tree):
    (tree / "src" / "proxy.js").unlink()
    refresh(store, tree, WordEncoder())
    assert _found(store, "tunnel") == []
    assert store.document_frequencies(["tunnel"]) == {"tunnel": 0}
    store.connection.execute("INSERT INTO words(words) VALUES ('integrity-check')")


# ---- readers and writers


def test_reader_sees_the_last_commit_while_a_writer_is_busy(store):
    before = content(store)
    with transaction(store):
        store.connection.execute("DELETE FROM chunks")
        with Store.open_to_read(store.folder) as reader:
            assert content(reader) == before
        store.connection.execute("ROLLBACK")
        store.connection.execute("BEGIN")


def test_snapshot_does_not_move_while_the_index_does(store, tree):
    with Store.open_to_read(store.folder) as reader:
        with reader.snapshot():
            before = content(reader)
            write_file(tree / "new.py", "def brand_new():\n    return 1\n")
            refresh(store, tree, WordEncoder())
            assert content(reader) == before
        assert "new.py" in content_paths(reader)


def test_searching_while_indexing_never_fails_and_never_names_what_is_not_there(tree, home):
    files = {f"f{n}.py": f"def function_{n}(value):\n    return value + {n}\n" * 8 for n in range(60)}
    write_tree(tree, files)
    problems: list[str] = []
    done = threading.Event()

    def read():
        with Store.open(index_folder(tree)) as reader:
            while not done.is_set():
                with reader.snapshot():
                    table = reader.chunk_table()
                    ids, _ = reader.lexical("function OR value", 20)
                    vector_ids, rows, matrix = reader.vector_matrix(0)
                    if (table.rows_of(ids) < 0).any() or (table.rows_of(vector_ids) < 0).any():
                        problems.append("an id without a chunk")
                    if len(rows) and not np.allclose(np.linalg.norm(matrix[rows], axis=1), 1, atol=1e-3):
                        problems.append("a row that is no vector")

    with Store.open(index_folder(tree)) as store:
        thread = threading.Thread(target=read)
        thread.start()
        for round_number in range(6):
            for number in range(0, 60, 3):
                write_file(
                    tree / f"f{number}.py", f"def function_{number}(value):\n    return {round_number}\n"
                )
            refresh(store, tree, WordEncoder(), num_workers=0)
        done.set()
        thread.join()
    assert problems == []


# ---- status


def test_status_counts_what_is_there_and_what_was_left_out(store, tree):
    (tree / "picture.png").write_bytes(b"\x89PNG\0\0")
    (tree / "binary.py").write_bytes(b"a = 1\0\0\0\xff\xfe" * 20)
    refresh(store, tree, WordEncoder())
    status = store.status()
    assert status.complete
    assert status.num_files == 3
    assert status.num_chunks == len(store.chunk_table())
    assert status.vectors == {0: status.num_chunks}
    assert status.skipped["binary"] == 2
    assert set(status.skipped_examples["binary"]) == {"picture.png", "binary.py"}
    assert {entry.language: entry.num_cut_by_lines for entry in status.languages} == {
        "python": 0,
        "javascript": 0,
        "markdown": 1,
    }
    assert sum(entry.num_chunks for entry in status.languages) == status.num_chunks
    assert status.model == "words-1"
    assert status.root == str(tree.resolve())
    assert status.size_bytes > 10_000
    assert status.refreshed_at is not None
