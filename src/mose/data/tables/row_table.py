"""Rows of a pair file on the disk, read one by one: a training set may be larger than memory.

In: checked rows, in passing. Out: ``RowTable``. Only the position of each row, the hashes of its texts and its language
are in memory (34 bytes). The file has no name, so that it is gone when the process ends, however that may be.
"""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mose.data.pairs import Row, key_of
from mose.errors import OutputError

NO_GROUP = -1


class RowTable:
    """Rows by number. R rows.

    Args:
        rows: Taken one by one.
        folder: Folder on the disk that takes the file.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.

    Example:
        >>> row = Row(text="add", code="a + b", language="c", group="")
        >>> RowTable([row], Path(tempfile.gettempdir()))[0] == row
        True
    """

    def __init__(self, rows: Iterable[Row], folder: Path) -> None:
        ends, codes, texts, groups, languages = array("q", [0]), array("q"), array("q"), array("q"), array("h")
        self.languages: list[str] = []
        """Each once; ``language_R`` counts from 0."""
        known: dict[str, int] = {}
        try:
            self._file = _file_in(folder)
            for row in rows:
                ends.append(ends[-1] + self._file.write(_packed(row)))
                codes.append(key_of(row.code))
                texts.append(key_of(row.text))
                groups.append(key_of("group " + row.group) if row.group else NO_GROUP)
                languages.append(known.setdefault(row.language, len(known)))
            self._file.flush()
        except OSError as error:  # readers of pair files raise errors of their own
            raise OutputError(f"rows cannot be kept in {folder}: {error.strerror}",
                              remedy="Set MOSE_HOME to a folder on a disk with room for them.") from error  # fmt: skip
        self.languages = list(known)
        self._ends = np.array(ends, dtype=np.int64)
        self.code_R, self.text_R, self.group_R = (np.array(keys, dtype=np.int64) for keys in (codes, texts, groups))
        """Hashes of codes, texts and groups; ``NO_GROUP`` for a row without one."""
        self.language_R: NDArray[np.int16] = np.array(languages, dtype=np.int16)

    def __len__(self) -> int:
        return len(self.code_R)

    def __getitem__(self, number: int) -> Row:
        start, end = int(self._ends[number]), int(self._ends[number + 1])
        values = json.loads(_read(self._file, start, end - start))
        return Row(**values | {"negatives": tuple(values.get("negatives", ()))})

    def __getstate__(self) -> dict[str, Any]:
        """For a system without fork: the whole content."""
        return self.__dict__ | {"_file": _read(self._file, 0, int(self._ends[-1]))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._file = _file_in(Path(tempfile.gettempdir()))
        self._file.write(state["_file"])
        self._file.flush()


def _file_in(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder, prefix="mose-rows-")


def _packed(row: Row) -> bytes:
    values = {name: value for name in Row.__slots__ if (value := getattr(row, name)) or name in _REQUIRED}
    return json.dumps(values, ensure_ascii=False).encode()


_REQUIRED = frozenset({"text", "code", "language", "group"})


def _read(file: IO[bytes], start: int, size: int) -> bytes:
    if hasattr(os, "pread"):  # forked processes share the position of the file
        return os.pread(file.fileno(), size, start)
    file.seek(start)
    return file.read(size)
