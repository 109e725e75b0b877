"""Rows that copy a row of an evaluation set: exact, renamed, near, or inside a longer text.

In: rows of pairs and of evaluation sets. Out: for each copy its reason and the evaluation row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from mose.data.curate.grams import Grams, GramTable, grams
from mose.data.curate.near_pairs import SignedTexts, near_pairs
from mose.data.curate.stage import Fate
from mose.data.evaluation_sets import EvaluationRow, query_key
from mose.data.mine.manifest import held_out_name
from mose.data.mine.select import Evaluation
from mose.data.near_copies import shingles
from mose.data.pairs import key_of
from mose.data.rename import renamed_form
from mose.errors import require
from mose.progress import ProgressCallback, no_progress

HELD_OUT = "source of a held-out repository"
SAME_CODE = "code of an evaluation row"
SAME_QUERY = "query of an evaluation row"
RENAMED = "renamed copy of an evaluation row"
NEAR = "near copy of an evaluation row"
INSIDE = "an evaluation row inside"

_MIN_RENAMED_TOKENS = 60
"""Shorter codes, such as "lock, return a field" in Go, are alike by chance (13 of 293,657 mined rows at 30)."""


class HeldOut:
    """What copies of evaluation rows are told by.

    Args:
        rows: The rows, taken one by one; of equal ones the first counts.
        threshold: Jaccard similarity of runs of five characters (near) and share of the words of the smaller code
            (inside), from which two codes are copies; above 0, at most 1.

    Raises:
        ConfigError: The threshold is out of range.
        DataError: A file of the rows is faulty.
    """

    def __init__(self, rows: Iterable[EvaluationRow], threshold: float) -> None:
        require(0 < threshold <= 1, "jaccard", threshold, "above 0, at most 1")
        self.size = 0
        """Number of rows."""
        self.where: list[str] = []
        """Of each row with a code."""
        self._known: dict[int, str] = {}
        self._renamed: dict[int, str] = {}
        self._texts = Evaluation((), threshold)
        self.grams = GramTable(self._take(rows))
        """Of each code."""

    def _take(self, rows: Iterable[EvaluationRow]) -> Iterator[Grams]:
        for row in rows:
            self.size += 1
            self._texts.add(row)
            if row.code.strip():
                self.where.append(row.where)
                self._known.setdefault(key_of(row.code), row.where)
                if key := _renamed_key(row.code):
                    self._renamed.setdefault(key, row.where)
                yield grams(row.code)

    def fate(self, row: Mapping[str, Any]) -> Fate | None:
        """Why an evaluation must not have been trained on a row: the first reason that holds, near copies apart.

        Args:
            row: With ``code`` and ``query``; with ``source``, the repository must not be held out either.
        """
        code = str(row.get("code") or "")
        source = str(row.get("source") or row.get("package") or "")
        if held_out_name(source.rpartition(":")[2]):
            return Fate(reason=HELD_OUT)
        if where := self._known.get(key_of(code)):
            return Fate(reason=SAME_CODE, copy_of=where)
        if where := self._texts.queries.get(query_key(str(row.get("query") or ""))):
            return Fate(reason=SAME_QUERY, copy_of=where)
        if where := self._renamed.get(_renamed_key(code)):
            return Fate(reason=RENAMED, copy_of=where)
        return Fate(reason=INSIDE) if self._texts.codes.has_near(shingles(code)) else None


def add_near_copies(
    fates: Mapping[int, Fate], held_out: HeldOut, signed: SignedTexts, *, progress: ProgressCallback = no_progress
) -> dict[int, Fate]:
    """Rows that an evaluation must not have been trained on.

    Args:
        fates: Number of the row -> what ``HeldOut.fate`` gives.
        held_out: The evaluation sets.
        signed: Their codes, then those of the rows.
        progress: Called with the progress so far.

    Returns:
        Number of the row -> its fate, with the first reason that holds.
    """
    found = dict(fates)
    num_codes = len(held_out.where)
    pairs = near_pairs(signed, reference=num_codes, progress=progress) if num_codes else np.zeros((0, 2), np.int64)
    for code, text in reversed(pairs.tolist()):
        known = fates.get(text - num_codes)
        if known is None or known.reason == INSIDE:
            found[text - num_codes] = Fate(reason=NEAR, copy_of=held_out.where[code])
    return found


def count_reasons(found: Mapping[int, Fate]) -> dict[str, int]:
    """Number of copies by reason, most frequent first."""
    return dict(Counter(fate.reason for fate in found.values()).most_common())


def _renamed_key(code: str) -> int:
    form = renamed_form(code)
    return key_of(form) if len(form.split()) >= _MIN_RENAMED_TOKENS else 0
