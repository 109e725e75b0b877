"""Rows of pair files as they are compared.

The files are read once. Of a row only hashes and its position stay in memory (28 bytes); its grams go to the disk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.data.curate.contamination import HeldOut
from mose.data.curate.grams import Grams, GramTable, grams
from mose.data.curate.stage import Fate, read_pairs
from mose.data.pairs import key_of


class ComparedRows:
    """Rows by number over all files, from 0. R rows.

    Args:
        files: Pair files.
        held_out: Evaluation sets whose copies are looked for.

    Raises:
        DataError: A file is faulty.
        OutputError: The disk is full, or cannot be written.
    """

    def __init__(self, files: Sequence[Path], held_out: HeldOut | None = None) -> None:
        codes, queries, kinds, lines, ends = array("q"), array("q"), array("i"), array("i"), array("q")
        labels: list[str] = []
        known: dict[str, int] = {}
        self.fates: dict[int, Fate] = {}
        """What ``HeldOut.fate`` gives, by the number of the row."""

        def texts() -> Iterator[Grams]:
            if held_out:
                yield from held_out.grams
            for where, row in read_pairs(files):
                label, _, line = where.rpartition(":")
                if labels[-1:] != [label]:
                    labels.append(label)
                    ends.append(len(codes))
                ends[-1] += 1
                if held_out and (fate := held_out.fate(row)):
                    self.fates[len(codes)] = fate
                codes.append(key_of(row["code"]))
                queries.append(key_of(str(row.get("query") or "")))
                kinds.append(known.setdefault(str(row.get("kind") or ""), len(known)))
                lines.append(int(line))
                yield grams(row["code"])

        self.grams = GramTable(texts())
        """Of the codes of the evaluation sets, if any, then of the rows."""
        self._labels, self._ends, self._lines = labels, np.array(ends, np.int64), lines
        self.code_R, self.query_R = np.array(codes, np.int64), np.array(queries, np.int64)
        self.kind_R: NDArray[np.int32] = np.array(kinds, np.int32)

    def __len__(self) -> int:
        return len(self.code_R)

    def where(self, number: int) -> str:
        """File and line of a row."""
        file = int(np.searchsorted(self._ends, number, side="right"))
        return f"{self._labels[file]}:{self._lines[number]}"
