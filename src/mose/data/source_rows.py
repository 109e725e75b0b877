"""Rows that the sources take of pair files: each file is read once for all its sources.

In: ``SourceConfig`` (file, languages, kinds). Out: ``SourceRows`` by the name of the source.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.config import SourceConfig
from mose.data.pairs import Row, stream_rows
from mose.data.tables.equal_rows import first_of_equal
from mose.data.tables.row_table import RowTable
from mose.storage import home


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRows:
    """What one source takes of a file."""

    path: Path
    table: RowTable
    """Rows that any source of the file takes."""
    numbers: NDArray[np.int64]
    """This source's, ascending, without exact duplicates (white space apart)."""
    dropped: Counter[str]
    """Left-out rows of the file by reason."""


def read_sources(configs: Sequence[SourceConfig], folder: Path) -> dict[str, SourceRows]:
    """Rows of all sources by name; one pass over each file and each choice of fields that are read of it.

    Raises:
        DataError: A file is missing or a row is faulty; the message names file and line.
        OutputError: The disk is full, or cannot be written.
    """
    sharing: dict[tuple[str, bool, str], list[SourceConfig]] = {}
    for config in configs:
        code_only = config.task == "code-code"
        fields = (config.file, code_only, "" if code_only else config.query_field)
        sharing.setdefault(fields, []).append(config)
    found: dict[str, SourceRows] = {}
    for (file, code_only, text_field), together in sharing.items():
        rows = stream_rows(folder / file, with_text=not code_only, with_group=code_only, text_field=text_field)
        found |= _share(rows, folder / file, together)
    return found


def _share(rows: Iterator[Row], path: Path, configs: Sequence[SourceConfig]) -> dict[str, SourceRows]:
    dropped: dict[str, Counter[str]] = {config.name: Counter() for config in configs}
    numbers = {config.name: array("q") for config in configs}

    def taken() -> Iterator[Row]:
        count = 0
        for row in rows:
            is_taken = False
            for config in configs:
                if reason := _misfit(config, row):
                    dropped[config.name][reason] += 1
                else:
                    numbers[config.name].append(count)
                    is_taken = True
            if is_taken:
                count += 1
                yield row

    table = RowTable(taken(), home())
    found = {}
    for config in configs:
        chosen = np.array(numbers.pop(config.name), dtype=np.int64)
        is_first = first_of_equal(table.text_R[chosen], table.code_R[chosen]) == np.arange(len(chosen))
        left = dropped[config.name] + Counter(duplicate=int((~is_first).sum()))
        found[config.name] = SourceRows(path=path, table=table, numbers=chosen[is_first], dropped=left)
    return found


def _misfit(config: SourceConfig, row: Row) -> str:
    """Why a source does not take a row; empty if it does."""
    if config.languages and row.language not in config.languages:
        return "other language"
    return "other kind" if config.kinds and row.kind not in config.kinds else ""
