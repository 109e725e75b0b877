from __future__ import annotations

import threading

import numpy as np
import pytest
from index_doubles import SOURCES, WordEncoder, content, vector_matrix, write_file, write_tree

from mose.errors import CodeIndexError
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store
from mose.search.store.write import transaction


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
        assert (table.symbol[row], table.kind[row], table.names_of(row)) == (
            chunk.symbol,
            chunk.kind,
            chunk.names,
        )


def test_chunk_table_survives_names_with_its_separator(store):
    table = store.chunk_table()
    with transaction(store):
        store.connection.execute("UPDATE chunks SET symbol = 'a' || char(31) || 'b' WHERE id = ?", (int(table.ids[0]),))
    again = store.chunk_table()
    assert again.symbol == ["a\x1fb", *table.symbol[1:]]
    assert again.kind == table.kind


def test_empty_index_has_an_empty_table(tree):
    with Store.open(index_folder(tree)) as empty:
        table = empty.chunk_table()
        assert len(table) == 0
        assert table.rows_of(np.array([3])).tolist() == [-1]
        assert vector_matrix(empty, 0)[0].size == 0
        assert empty.status().num_chunks == 0


def test_rows_of_finds_ids_and_tells_unknown_ones(store):
    table = store.chunk_table()
    asked = np.array([table.ids[-1], 10_000, table.ids[0], 0])
    assert table.rows_of(asked).tolist() == [len(table) - 1, -1, 0, -1]


def test_row_at_gives_the_smallest_chunk_around_a_line(store):
    lines = SOURCES["src/dates.py"].split("\n")
    line = 1 + next(number for number, text in enumerate(lines) if "map(int" in text)
    table = store.chunk_table()
    chunk = store.chunks([table.ids[table.row_at("src/dates.py", line)]])[0]
    assert chunk is not None
    assert chunk.first_line <= line <= chunk.last_line
    assert "map(int" in chunk.text
    assert table.row_at("src/dates.py", 5000) is None
    assert table.row_at("src/none.py", 1) is None


def test_rows_that_define_a_name_are_the_same_whether_one_or_all_are_looked_up(store):
    one, all_at_once = store.chunk_table(), store.chunk_table()
    assert len(all_at_once.rows_by_name) > 5
    for name in (*all_at_once.rows_by_name, "PARSE_ISO_DATE", "nowhere", ""):
        assert one.rows_defining(name) == all_at_once.rows_defining(name)
    assert one.rows_defining("Parse_ISO_date")
    assert all(one.rows_defining(name) for name in all_at_once.rows_by_name)


def test_texts_leave_out_what_is_gone(store):
    first = int(store.chunk_table().ids[0])
    assert [chunk.id for chunk in store.chunks([first, 9999])] == [first]
    assert store.chunks([9999]) == []


# ---- words


def _found(store, match, **weights):
    ids, scores = store.lexical(match, **weights)
    assert (np.diff(ids) > 0).all()
    return [store.chunks([int(chunk_id)])[0].path for chunk_id in ids[np.argsort(-scores)]]


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
        store.lexical('"unclosed')


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
        with Store.open_to_read(store.base) as reader:
            assert content(reader) == before
        store.connection.execute("ROLLBACK")
        store.connection.execute("BEGIN")


def test_snapshot_does_not_move_while_the_index_does(store, tree):
    with Store.open_to_read(store.base) as reader:
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
                    ids, _ = reader.lexical("function OR value")
                    vector_ids, rows, matrix = vector_matrix(reader, 0)
                    if (table.rows_of(ids) < 0).any() or (table.rows_of(vector_ids) < 0).any():
                        problems.append("an id without a chunk")
                    if len(rows) and not np.allclose(np.linalg.norm(matrix[rows], axis=1), 1, atol=1e-3):
                        problems.append("a row that is no vector")

    with Store.open(index_folder(tree)) as store:
        thread = threading.Thread(target=read)
        thread.start()
        for round_number in range(6):
            for number in range(0, 60, 3):
                write_file(tree / f"f{number}.py", f"def function_{number}(value):\n    return {round_number}\n")
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
