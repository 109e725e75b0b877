"""Old copies: a file that repeats what a file of the same name defines in a folder above it.

Packages keep a former version of themselves in a folder inside (``pydantic/v1/fields.py`` beside
``pydantic/fields.py``); who searches wants the one above.
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

    def names(self, table: ChunkTable, row: int) -> set[str]:
        chunks = self.order[self.starts[row] : self.starts[row + 1]].tolist()
        return {last_name(name) for chunk in chunks if table.defined[chunk] for name in table.defines[chunk]}


_known: WeakKeyDictionary[ChunkTable, _Copies] = WeakKeyDictionary()


def is_old_copy(table: ChunkTable, file_row: int) -> bool:
    """True if a folder above has a file of the same name that shares half of this file's definitions.

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
