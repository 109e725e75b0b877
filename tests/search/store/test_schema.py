from __future__ import annotations

import sqlite3

import pytest
from index_doubles import WordEncoder, content

from mose.errors import CodeIndexError
from mose.search.lifecycle import forget
from mose.search.refresh import refresh
from mose.search.store.exchange import exchanging, replace_index
from mose.search.store.location import index_folder
from mose.search.store.store import Store
from mose.search.store.write import set_meta


def test_there_is_no_index_says_what_to_run(tree):
    with pytest.raises(CodeIndexError, match="mose index"):
        Store.open(index_folder(tree), create=False)
    with pytest.raises(CodeIndexError, match="mose index"):
        Store.open_to_read(index_folder(tree))


def _database(tree):
    """Where the database of a new index would be."""
    with exchanging(index_folder(tree)):
        return replace_index(index_folder(tree)) / "index.db"


def _refused(path, match):
    for opening in (Store.open, Store.open_to_read):
        with pytest.raises(CodeIndexError, match=match) as caught:
            opening(path.parent.parent)
        assert str(path) in str(caught.value)
        assert "mose forget" in str(caught.value) or "mose index PATH --rebuild" in str(caught.value)


def test_file_that_is_no_database_is_refused(tree):
    path = _database(tree)
    path.write_bytes(b"something else entirely\n" * 400)
    _refused(path, "damaged")


def test_foreign_database_is_refused_and_left_alone(tree):
    path = _database(tree)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs(x)")
    other.commit()
    _refused(path, "not an index of mose")
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    assert other.execute("PRAGMA journal_mode").fetchall() == [("delete",)]


def test_database_of_another_application_is_refused(tree):
    path = _database(tree)
    other = sqlite3.connect(path)
    other.execute("PRAGMA application_id = 77")
    other.commit()
    _refused(path, "not an index of mose")


@pytest.mark.parametrize(("version", "word"), [(99, "newer"), (0, "older")])
def test_other_format_versions_are_refused(tree, store, version, word):
    store.connection.execute(f"PRAGMA user_version = {version}")
    _refused(store.path, word)


def test_truncated_database_is_refused_and_can_be_rebuilt(tree, store):
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    expected = content(store)
    store.close()
    path = store.path
    path.write_bytes(path.read_bytes()[:-5000])
    _refused(store.path, "damaged")
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
    with Store.open(store.base) as damaged, pytest.raises(CodeIndexError, match="--rebuild"):
        damaged.chunk_table()


def test_empty_file_is_taken_for_a_new_index(tree):
    _database(tree).touch()
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        assert store.status().complete


def test_store_opened_to_read_cannot_write(tree, store):
    with Store.open_to_read(store.base) as reader:
        assert content(reader) == content(store)
        with pytest.raises(CodeIndexError, match="opened for reading alone"):
            set_meta(reader, root="elsewhere")
