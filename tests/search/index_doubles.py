"""What the index tests share: a quick encoder, small trees, and the whole content of an index as plain values."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mose.search.chunking.prepare import DOUBTFUL_NS
from mose.search.deepen import deepen
from mose.search.refresh import refresh
from mose.search.store.exit_vectors import read_entries, read_exit
from mose.search.store.store import Store
from mose.words import split_words


@dataclass(frozen=True)
class Widths:
    widths: dict[int, int]


@dataclass
class WordEncoder:
    """An encoder whose vectors depend on exit, identity and the bag of words alone; it counts what it was given."""

    exit: int = 6
    identity: str = "words-1"
    calls: list[tuple[int, int]] = field(default_factory=list)  # exit, number of texts
    exits: tuple[int, ...] = (0, 2, 6)

    @property
    def manifest(self) -> Widths:
        return Widths({0: 8, 2: 12, 6: 12})

    def at(self, exit=None, width=None):
        return type(self)(self.exit if exit is None else exit, self.identity, self.calls, self.exits)

    def num_encoded(self, exit):
        return sum(count for at, count in self.calls if at == exit)

    def encode(self, texts, *, kind="code", language=None, progress=None):
        return self.encode_words([split_words(text) for text in texts])

    def encode_words(self, words):
        self.calls.append((self.exit, len(words)))
        width = self.manifest.widths[self.exit]
        return np.array([self._vector(bag, width) for bag in words], dtype=np.float32).reshape(-1, width)

    def _vector(self, words, width):
        seed = f"{self.identity} {self.exit} {' '.join(sorted(words))}".encode()
        data = np.frombuffer(hashlib.blake2b(seed, digest_size=2 * width).digest(), dtype="<i2").astype(np.float32)
        return data / np.linalg.norm(data)


def vector_matrix(store: Store, exit_layer: int):
    """Chunk ids [M], their rows [M], and the matrix of an exit."""
    found = read_exit(store, exit_layer)
    return found.ids, found.rows, found.matrix


def widths_of(store: Store) -> dict[int, int]:
    return {entry.exit: entry.width for entry in read_entries(store)}


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Files that count as settled: written longer ago than a file system may stamp two changes alike."""
    for name, text in files.items():
        write_file(root / name, text)
    wait_until_settled()
    return root


def wait_until_settled() -> None:
    """Wait until a change to a file would show in its stamps."""
    time.sleep(2 * DOUBTFUL_NS / 1e9)


def write_file(path: Path, text: str, *, age_s: float = 100.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    settle(path, age_s)


def settle(path: Path, age_s: float = 100.0) -> None:
    moment = path.stat().st_mtime_ns - int(age_s * 1e9)
    os.utime(path, ns=(moment, moment))


def content(store: Store, exits: tuple[int, ...] = (0,)) -> dict[str, object]:
    """Files, chunks, words and vectors, without ids and time stamps: equal for equal indexes."""
    table = store.chunk_table()
    chunks = {chunk.id: chunk for chunk in store.chunks(table.ids.tolist())}
    order: dict[tuple[str, int], int] = {}
    names = {}
    for chunk_id, chunk in sorted(chunks.items()):
        place = order[chunk.path, chunk.first_line] = order.get((chunk.path, chunk.first_line), 0) + 1
        names[chunk_id] = (chunk.path, chunk.first_line, place)
    store.connection.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.instances USING fts5vocab('main', 'words', 'instance')"
    )
    words = store.rows("SELECT doc, term, col, offset FROM temp.instances")
    vectors: dict[int, dict[object, bytes]] = {}
    for exit_layer in exits:
        ids, rows, matrix = vector_matrix(store, exit_layer)
        vectors[exit_layer] = {names[i]: matrix[row].tobytes() for i, row in zip(ids.tolist(), rows, strict=True)}
    return {
        "files": sorted(store.rows("SELECT path, hash, size_bytes, language, cut_by, trouble, skipped FROM files")),
        "chunks": sorted(
            (*names[chunk.id], chunk.last_line, chunk.kind, chunk.symbol, chunk.signature, chunk.context, chunk.text)
            for chunk in chunks.values()
        ),
        "words": sorted((names.get(doc, ("gone", doc, 0)), term, col, offset) for doc, term, col, offset in words),
        "vectors": vectors,
        "skipped": sorted(store.rows("SELECT reason, count FROM skipped")),
    }


def fresh_content(tree: Path, tmp_path: Path, exits: tuple[int, ...] = (0,)) -> dict[str, object]:
    """The content of an index of the tree made in one go, elsewhere."""
    folder = tmp_path / f"fresh{time.monotonic_ns()}"
    with Store.open(folder) as store:
        refresh(store, tree, WordEncoder(), begins_alike=False)
        for exit_layer in exits:
            if exit_layer:
                deepen(store, WordEncoder(), exit_layer)
        return content(store, exits)


def many_files(tmp_path: Path, count: int = 200) -> Path:
    """A tree of small functions that all differ."""
    return write_tree(tmp_path / "many", {f"f{n}.py": f"def function_{n}():\n    return {n}\n" for n in range(count)})


SOURCES = {
    "src/dates.py": '''"""Reading dates."""

import datetime


def parse_iso_date(text):
    """Parse a date such as 2024-02-29, with four digits for the year and two for month and day."""
    if text.count("-") != 2:
        raise ValueError(f"a date has three numbers with hyphens between them, not {text!r}")
    year, month, day = map(int, text.split("-"))
    return datetime.date(year, month, day)


class DateRange:
    """Two dates."""

    def __init__(self, first, last):
        self.first = first
        self.last = last

    def contains(self, day):
        """Whether the day lies within the range, its first and its last day included."""
        if day is None:
            raise ValueError("a range cannot say whether it contains no day at all")
        return self.first <= day <= self.last

    def overlaps(self, other):
        """Whether two ranges share a day, be it the last of the one and the first of the other."""
        if other is None:
            raise ValueError("a range cannot say whether it overlaps with no range at all")
        return self.first <= other.last and other.first <= self.last
''',
    "src/proxy.js": "export function openProxy(url) {\n  return connect(url, { tunnel: true });\n}\n",
    "README.md": "# Dates\n\nA library that reads dates and opens proxies.\n",
}
