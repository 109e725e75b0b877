"""Changes of an index: its files, chunks, words and settings, one transaction a call.

Whatever writes does so inside ``Store.writing``; `transaction` sees to it itself.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mose import database
from mose.search.chunking.index_words import both_words, path_words, symbol_words
from mose.search.chunking.names import bare_names
from mose.search.chunking.prepare import CutChunk, CutFile
from mose.search.store.records import chunk_sum
from mose.search.store.schema import clear_errors, damaged, stored_values
from mose.search.store.store import Store

MAX_ID = 1 << 53


@contextmanager
def transaction(store: Store) -> Iterator[None]:
    """All or nothing: commits at the end, rolls back whatever was raised.

    Raises:
        CodeIndexError: The disk is full, or the index is damaged, not writable or locked for long.
    """
    with store.writing(), clear_errors(store.path), database.transaction(store.connection):
        yield


def set_meta(store: Store, **values: str) -> None:
    """Store settings, inside a transaction or on their own."""
    with store.writing(), clear_errors(store.path):
        store.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def begin_as_copy(connection: sqlite3.Connection, root: str, num_files: int) -> None:
    """Make the unfinished index of a tree of a finished one of another tree: each file is to be read again."""
    with database.transaction(connection):
        connection.execute("DELETE FROM meta WHERE key = 'max_file_bytes'")
        own = {"root": root, "complete": "0", "pending": str(num_files)}
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(own.items()))
        # In another file system, another file may have the same stamps.
        connection.execute("UPDATE files SET changed_ns = -1, inode = -1")


def write_files(store: Store, *, removed: Sequence[int], files: Sequence[CutFile]) -> list[int]:
    """Remove files and add files with their chunks and words, in one transaction.

    Args:
        store: The index.
        removed: Ids of files to remove: gone, or about to be replaced.
        files: Files to add. One marked ``same`` keeps its chunks; only its time stamp is stored.

    Returns:
        Ids of the new chunks in order.
    """
    connection = store.connection
    with transaction(store):
        _remove_files(store, removed)
        next_id = first_id = _last_id(store) + 1
        changed = bool(removed)
        for file in files:
            if file.same:
                connection.execute(
                    "UPDATE files SET size_bytes = ?, modified_ns = ?, changed_ns = ?, inode = ?, doubtful = ?, "
                    "skipped = ? WHERE path = ?",
                    (*_stamps(file), file.skipped, file.path),
                )
                continue
            changed = True
            cursor = connection.execute(
                "INSERT INTO files(path, hash, size_bytes, modified_ns, changed_ns, inode, doubtful, language, cut_by, "
                "trouble, generated, skipped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    file.path,
                    file.hash,
                    *_stamps(file),
                    file.language,
                    file.cut_by,
                    file.trouble,
                    file.generated,
                    file.skipped,
                ),
            )
            next_id = _add_chunks(store, cursor.lastrowid or 0, file, next_id)
        if changed:
            generation = str(store.generation + 1)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('generation', ?)", (generation,))
    return list(range(first_id, next_id))


def _last_id(store: Store) -> int:
    """The largest id that a chunk ever had."""
    found = store.rows("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'")
    last = found[0][0] if found else 0
    if not isinstance(last, int) or not 0 <= last <= MAX_ID:
        raise damaged(store.path, f"its last chunk is {last!r}")
    return last


def _stamps(file: CutFile) -> tuple[int, int, int, int, bool]:
    return file.size_bytes, file.modified_ns, file.changed_ns, file.inode, file.doubtful


def _add_chunks(store: Store, file_id: int, file: CutFile, next_id: int) -> int:
    ids = range(next_id, next_id + len(file.chunks))
    path = path_words(file.path)
    chunks: list[tuple[object, ...]] = []
    texts: list[tuple[object, ...]] = []
    words: list[tuple[object, ...]] = []
    for chunk_id, chunk in zip(ids, file.chunks, strict=True):
        chunks.append((chunk_id, file_id, chunk.first_line, chunk.last_line, chunk.kind, chunk.symbol, chunk.defines))
        head = (file.path, file.language, chunk.first_line, chunk.last_line, chunk.kind, chunk.symbol)
        content = (chunk.signature, chunk.context, chunk.defines, chunk.text, chunk.key)
        check = chunk_sum(chunk_id, *head, *content)
        texts.append((chunk_id, chunk.key, chunk.signature, chunk.context, chunk.text, check))
        words.append((chunk_id, body_of(chunk), chunk.symbol_words, path))
    store.connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", chunks)
    store.connection.executemany("INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?)", texts)
    store.connection.executemany("INSERT INTO words(rowid, body, symbol, path) VALUES (?, ?, ?, ?)", words)
    return ids.stop


def body_of(chunk: CutChunk) -> str:
    """What the lexical index keeps of a chunk's text."""
    return f"{chunk.text_words} {chunk.whole_words}"


def _remove_files(store: Store, file_ids: Sequence[int]) -> None:
    """Remove files. The word index keeps no text, so it needs the same words again to remove them."""
    connection = store.connection
    for file_id in file_ids:
        rows = connection.execute(
            "SELECT chunks.id, text, symbol, defines, path FROM chunks JOIN texts ON texts.id = chunks.id "
            "JOIN files ON files.id = file_id WHERE file_id = ?",
            (file_id,),
        ).fetchall()
        with stored_values(store.path):
            words = [
                (chunk_id, " ".join(both_words(text)), symbol_words(symbol, bare_names(defines)), path_words(path))
                for chunk_id, text, symbol, defines, path in rows
            ]
        connection.executemany(
            "INSERT INTO words(words, rowid, body, symbol, path) VALUES ('delete', ?, ?, ?, ?)", words
        )
        connection.executemany("DELETE FROM texts WHERE id = ?", [(row[0],) for row in rows])
        connection.execute("DELETE FROM chunks WHERE file_id = ?", (file_id,))
        connection.execute("DELETE FROM files WHERE id = ?", (file_id,))


def write_skipped(store: Store, skipped: dict[str, tuple[int, list[str]]]) -> None:
    """Replace the counts of what the walk left out: reason -> count, examples."""
    rows = [(reason, count, json.dumps(examples)) for reason, (count, examples) in skipped.items()]
    with transaction(store):
        store.connection.execute("DELETE FROM skipped")
        store.connection.executemany("INSERT INTO skipped VALUES (?, ?, ?)", rows)


def merge_words(store: Store) -> None:
    """Merge the word index into one segment; worth it after many changes."""
    with transaction(store):
        store.connection.execute("INSERT INTO words(words) VALUES ('optimize')")
