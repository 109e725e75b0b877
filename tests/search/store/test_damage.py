"""Whatever happens to the bytes of an index, a search gives a right answer, mends the index, or says what to do."""

from __future__ import annotations

import pytest
from index_doubles import WordEncoder, content

from mose.errors import DamagedIndexError
from mose.search.deepen import deepen
from mose.search.store.store import Store

POISON = [
    "UPDATE chunks SET first_line = 'one'",
    "UPDATE chunks SET first_line = 0 WHERE id = 1",
    "UPDATE chunks SET first_line = -5",
    "UPDATE chunks SET last_line = 1 << 40",
    "UPDATE chunks SET last_line = 2.5",
    "UPDATE chunks SET file_id = 77 WHERE id = 2",
    "UPDATE chunks SET id = -3 WHERE id = 2",
    "UPDATE chunks SET symbol = x'ff'",
    "UPDATE chunks SET symbol = 'other' WHERE id = 1",
    "UPDATE chunks SET kind = 7 WHERE id = 1",
    "UPDATE texts SET text = replace(text, 'a', 'b')",
    "UPDATE texts SET text = x'ff00'",
    "UPDATE texts SET text = 5",
    "UPDATE texts SET key = 'text'",
    "UPDATE texts SET sum = 'text'",
    "UPDATE files SET path = x'ff' WHERE id = 1",
    "UPDATE files SET path = 3 WHERE id = 1",
    "UPDATE files SET language = x'00' WHERE id = 1",
    "DELETE FROM files WHERE id = 1",
    "UPDATE exits SET width = 1 << 50",
    "UPDATE exits SET width = -8",
    "UPDATE exits SET width = 'wide'",
    "UPDATE exits SET next_row = -1",
    "UPDATE exits SET next_row = 1 << 60",
    "UPDATE exits SET exit = -1",
    "UPDATE exits SET model = x'ff'",
    "UPDATE meta SET value = 'many' WHERE key = 'generation'",
    "UPDATE meta SET value = x'ff'",
    "INSERT INTO skipped VALUES ('why', 'many', '[')",
]


def everything(store):
    """All that a search or a status reads."""
    status = store.status()
    store.document_frequencies(["date", "proxy"])
    store.keys(store.chunk_ids())
    return content(store), status.num_files, status.vectors


@pytest.mark.parametrize("sql", POISON)
def test_value_that_cannot_be_is_damage(store, sql):
    store.connection.execute(sql)
    with Store.open(store.path.parent) as again, pytest.raises(DamagedIndexError, match="--rebuild"):
        everything(again)


LOST = [
    "UPDATE exits SET next_row = next_row + 5",
    "UPDATE exits SET width = 7",
    "UPDATE exits SET model = 'words-2'",
    "UPDATE runs SET first_row = -1",
    "UPDATE runs SET first_row = 1 << 50",
    "UPDATE runs SET ids = 'text'",
    "UPDATE runs SET ids = zeroblob(24)",
    "UPDATE runs SET ids = zeroblob(5)",
    "UPDATE runs SET sums = x'00'",
    "DELETE FROM runs",
    "DELETE FROM exits",
    "UPDATE exits SET file = 'exit_0.99.vec'",
]


@pytest.mark.parametrize("sql", LOST)
def test_vectors_that_cannot_be_told_are_made_again(store, sql):
    expected = everything(store)
    store.connection.execute(sql)
    with Store.open(store.path.parent) as again:
        deepen(again, WordEncoder(), 6)
        deepen(again, WordEncoder(), 6)
    with Store.open(store.path.parent) as mended:
        assert content(mended) == expected[0]
        assert mended.status().damaged == {}
