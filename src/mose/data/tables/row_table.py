"""Rows of a pair file on the disk, read one by one: a training set may be larger than memory.

In: checked rows, in passing. Out: ``RowTable``. Only the position of each row, the hashes of its texts and its language
are in memory (36 bytes).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.data.pairs import Row, key_of
from mose.data.tables.disk_items import DiskItems

NO_GROUP = -1


class RowTable:
    """Rows by number. R rows.

    Args:
        rows: Taken one by one.
        folder: Folder on the disk that takes the file.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> row = Row(text="add", code="a + b", language="c", group="")
        >>> RowTable([row], Path(tempfile.gettempdir()))[0] == row
        True
    """

    def __init__(self, rows: Iterable[Row], folder: Path) -> None:
        codes, texts, groups, languages = array("q"), array("q"), array("q"), array("i")
        known: dict[str, int] = {}

        def packed() -> Iterator[bytes]:
            for row in rows:
                codes.append(key_of(row.code))
                texts.append(key_of(row.text))
                groups.append(key_of("group " + row.group) if row.group else NO_GROUP)
                languages.append(known.setdefault(row.language, len(known)))
                yield _packed(row)

        self._rows = DiskItems(packed(), folder)
        self.code_R, self.text_R, self.group_R = (np.array(keys, dtype=np.int64) for keys in (codes, texts, groups))
        """Hashes of codes, texts and groups; ``NO_GROUP`` for a row without one."""
        self.languages = list(known)
        """Each once; ``language_R`` counts from 0."""
        self.language_R: NDArray[np.int32] = np.array(languages, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.code_R)

    def __getitem__(self, number: int) -> Row:
        values = json.loads(self._rows[number])
        return Row(**values | {"negatives": tuple(values.get("negatives", ()))})


def _packed(row: Row) -> bytes:
    values = {name: value for name in Row.__slots__ if (value := getattr(row, name)) or name in _REQUIRED}
    return json.dumps(values, ensure_ascii=False).encode()


_REQUIRED = frozenset({"text", "code", "language", "group"})
