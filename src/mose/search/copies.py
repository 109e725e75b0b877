"""Old copies: files that repeat those above them.

Packages keep a former version of themselves in a folder inside (``pydantic/v1/fields.py`` beside
``pydantic/fields.py``); who searches wants the one above. A file is taken for a copy if one of the same name in a
folder above defines half of its names, or if half of the files in its folder have a namesake in the folder above.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from mose.search.intent import last_name
from mose.search.records import ChunkTable


class _Copies:
    """What has been found out about the files of one table."""

    def __init__(self, table: ChunkTable) -> None:
        self.row_of = {path: row for row, path in enumerate(table.paths)}
        self.order = np.argsort(table.file_row, kind="stable")
        self.starts = np.searchsorted(table.file_row[self.order], np.arange(len(table.paths) + 1))
        self.answers: dict[int, bool] = {}
        self.files_of: dict[str, list[str]] = {}
        for path in table.paths:
            folder, _, name = path.rpartition("/")
            self.files_of.setdefault(folder, []).append(name)

    def names(self, table: ChunkTable, row: int) -> set[str]:
        chunks = self.order[self.starts[row] : self.starts[row + 1]].tolist()
        return {last_name(name) for chunk in chunks if table.defined[chunk] for name in table.defines[chunk]}


_known: WeakKeyDictionary[ChunkTable, _Copies] = WeakKeyDictionary()


def is_old_copy(table: ChunkTable, file_row: int) -> bool:
    """True if a file repeats one above it, or lies in a folder that repeats the one above.

    Args:
        table: All chunks of the index.
        file_row: The file, as a row of ``table.paths``.
    """
    copies = _known.get(table)
    if copies is None:
        copies = _known[table] = _Copies(table)
    answer = copies.answers.get(file_row)
    if answer is None:
        answer = copies.answers[file_row] = _look(table, copies, file_row)
    return answer


def _look(table: ChunkTable, copies: _Copies, file_row: int) -> bool:
    folder, _, name = table.paths[file_row].rpartition("/")
    if _repeats_parent(copies, folder):
        return True
    own: set[str] | None = None
    while folder:
        folder = folder.rpartition("/")[0]
        above = copies.row_of.get(f"{folder}/{name}" if folder else name)
        if above is None:
            continue
        if own is None:
            own = copies.names(table, file_row)
        if len(own) >= 2 and 2 * len(own & copies.names(table, above)) >= len(own):
            return True
    return False


def _repeats_parent(copies: _Copies, folder: str) -> bool:
    """True if half of a folder's files, and more than a few, have a namesake in the folder above."""
    if not folder:
        return False
    above = set(copies.files_of.get(folder.rpartition("/")[0], ()))
    own = [name for name in copies.files_of[folder] if name.split(".", 1)[0] not in _EVERYWHERE]
    return len(own) >= _MIN_FILES and 2 * sum(name in above for name in own) >= len(own)


_EVERYWHERE = frozenset({"__init__", "__main__", "index", "mod", "package", "package-info", "Makefile", "README"})
_MIN_FILES = 4
