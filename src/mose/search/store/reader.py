"""Reading an opened index: its settings, its tables and its words, and several reads of one state."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.errors import CodeIndexError
from mose.search.store.location import DATABASE_NAME
from mose.search.store.schema import TOKENIZER, clear_errors, damaged, stored_values


class Reader:
    """A connection to the database of an index, and what was already read from it.

    Attributes:
        folder: The folder of this very index; its name is the index's identity.
        path: The database in it.
        connection: For the modules that write (`mose.search.store.write`).
        row_sums: Exit -> vector file, and the sums of its rows that were read already (`exit_vectors.py`).
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.path = folder / DATABASE_NAME
        self.connection = connection
        self.row_sums: dict[int, tuple[str, NDArray[np.uint32]]] = {}
        self._live: tuple[int, NDArray[np.int64]] | None = None
        self._stemmer: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the files; the index cannot be used afterwards."""
        self.connection.close()
        if self._stemmer is not None:
            self._stemmer.close()
            self._stemmer = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see one state of the index, whatever a writer commits meanwhile."""
        if self.connection.in_transaction:
            yield
            return
        with clear_errors(self.path):
            self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """The result of one query, all of it."""
        with clear_errors(self.path):
            return self.connection.execute(sql, values).fetchall()

    def meta(self, key: str) -> str | None:
        """One stored setting, None if it was never set."""
        with clear_errors(self.path):
            row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @property
    def generation(self) -> int:
        """Rises with every change of files and chunks (not of vectors)."""
        with stored_values(self.path):
            return int(self.meta("generation") or 0)

    @property
    def complete(self) -> bool:
        """The last refresh ran to its end."""
        return self.meta("complete") == "1"

    def chunk_ids(self) -> NDArray[np.int64]:
        """Ids of all chunks, rising."""
        generation = self.generation
        if self._live is None or self._live[0] != generation:
            with self.snapshot():
                found = self.rows("SELECT group_concat(id) FROM (SELECT id FROM chunks ORDER BY id)")[0][0]
                self._live = (self.generation, np.fromstring(found or "", dtype=np.int64, sep=","))
        return self._live[1]

    def vector_state(self, exit_layer: int) -> tuple[str, int]:
        """Changes whenever vectors of an exit were added or moved; compare to know whether to read again."""
        found = self.rows("SELECT file, next_row FROM exits WHERE exit = ?", (exit_layer,))
        return (found[0][0], found[0][1]) if found else ("", 0)

    def lexical(
        self, match: str, column_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """BM25 of every chunk that fits an FTS5 expression.

        Args:
            match: FTS5 query syntax; columns are ``body``, ``symbol`` and ``path``.
            column_weights: Of body, symbol and path.

        Returns:
            Chunk ids [K], rising, and scores [K], higher is better.

        Raises:
            CodeIndexError: ``match`` is not valid FTS5 syntax, or the index cannot be read.
        """
        body, symbol, path = (float(weight) for weight in column_weights)
        sql = f"SELECT rowid, bm25(words, {body}, {symbol}, {path}) FROM words WHERE words MATCH ? ORDER BY rowid"
        with clear_errors(self.path):
            try:
                found = self.connection.execute(sql, (match,)).fetchall()
            except sqlite3.OperationalError as error:
                if not any(word in str(error) for word in ("syntax error", "unterminated", "no such column")):
                    raise
                raise CodeIndexError(f"a query of words ({error})", got=match, allowed="words in quotes") from error
        with stored_values(self.path):
            ids = np.array([row[0] for row in found], dtype=np.int64)
            scores = -np.array([row[1] for row in found], dtype=np.float64)
        if not np.isfinite(scores).all():
            raise damaged(self.path, "its word index holds impossible scores")
        return ids, scores

    def document_frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """How many chunks hold each word, inflected forms counted together as the index does.

        Args:
            terms: Words as `mose.words.split_words` gives them, or whole identifiers in lower case.
        """
        stems = self._stems(list(dict.fromkeys(terms)))
        found = self.rows(
            "SELECT term, doc FROM vocabulary WHERE term IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(set(stems.values()))),),
        )
        counts = dict(found)
        return {term: counts.get(stem, 0) for term, stem in stems.items()}

    def has_beginning(self, letters: str) -> bool:
        """Whether any word of the index, in the form that it keeps, begins with these letters, three or more."""
        sql = "SELECT 1 FROM vocabulary WHERE term >= ? AND term < ? LIMIT 1"
        return len(letters) > 2 and bool(self.rows(sql, (letters, letters + "\U0010ffff")))

    def _stems(self, terms: list[str]) -> dict[str, str]:
        """Each word and the form under which the index keeps it; asked of FTS5, which alone knows."""
        if self._stemmer is None:
            self._stemmer = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._stemmer.execute(f'CREATE VIRTUAL TABLE one USING fts5(word, tokenize="{TOKENIZER}")')
            self._stemmer.execute("CREATE VIRTUAL TABLE stems USING fts5vocab(one, instance)")
        self._stemmer.execute("DELETE FROM one")
        self._stemmer.execute("INSERT INTO one(rowid, word) SELECT key, value FROM json_each(?)", (json.dumps(terms),))
        found = dict(self._stemmer.execute("SELECT doc, min(term) FROM stems GROUP BY doc"))
        return {term: str(found.get(row, "")) for row, term in enumerate(terms)}
