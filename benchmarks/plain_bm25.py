"""BM25 over chunks of 50 lines, words as they are: a baseline that is easy to build."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mose.files import SourceFile, read_source, walk

NUM_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Lines of a file, 1-based and inclusive."""

    path: str
    first_line: int
    last_line: int
    num_chars: int


def words_of(query: str) -> list[str]:
    """Words of a query in lower case."""
    return re.findall(r"\w+", query.lower())


def index_chunks(root: Path) -> Callable[[list[str], int], list[Chunk]]:
    """Index a tree; returns a function from words and a limit to the best chunks, best first."""
    chunks: list[Chunk] = []
    table = sqlite3.connect(":memory:")
    table.execute("CREATE VIRTUAL TABLE words USING fts5(body, tokenize=\"unicode61 tokenchars '_'\")")
    for file in walk(root):
        if not isinstance(file, SourceFile) or not isinstance(text := read_source(root, file), str):
            continue
        lines = text.splitlines()
        for start in range(0, len(lines), NUM_LINES):
            body, end = "\n".join(lines[start : start + NUM_LINES]), min(start + NUM_LINES, len(lines))
            table.execute("INSERT INTO words VALUES (?)", (body,))
            chunks.append(Chunk(path=file.path, first_line=start + 1, last_line=end, num_chars=len(body)))

    def find(words: list[str], limit: int) -> list[Chunk]:
        match = " OR ".join(f'"{word}"' for word in words)
        rows = table.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", (match, limit))
        return [chunks[row - 1] for (row,) in rows]

    return find
