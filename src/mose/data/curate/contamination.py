"""Rows that copy a row of an evaluation set: exact, renamed, near, or inside a longer text.

In: rows of pairs and of evaluation sets. Out: for each copy its reason and the evaluation row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mose.data.curate.near_pairs import GramTable, near_pairs
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


def find_copies(
    rows: Sequence[Mapping[str, Any]],
    evaluation: Sequence[EvaluationRow],
    *,
    threshold: float = 0.7,
    progress: ProgressCallback = no_progress,
) -> dict[int, Fate]:
    """Rows that an evaluation must not have been trained on, with the first reason that holds.

    Args:
        rows: With ``code`` and ``query``; with ``source``, the repository must not be held out either.
        evaluation: The sets.
        threshold: Jaccard similarity of runs of five characters (near) and share of the words of the smaller code
            (inside), from which two codes are copies.
        progress: Called with the progress so far.

    Returns:
        Number of the row -> its fate.
    """
    codes = [row for row in evaluation if row.code.strip()]
    known = {key_of(row.code): row.where for row in reversed(codes)}
    renamed = {key: row.where for row in reversed(codes) if (key := _renamed_key(row.code))}
    held_out_texts = Evaluation(evaluation, threshold)
    texts = [str(row.get("code") or "") for row in rows]
    near = _near(codes, texts, threshold, progress)
    found: dict[int, Fate] = {}
    for number, (row, code) in enumerate(zip(rows, texts, strict=True)):
        source = str(row.get("source") or row.get("package") or "")
        if held_out_name(source.rpartition(":")[2]):
            found[number] = Fate(reason=HELD_OUT)
        elif where := known.get(key_of(code)):
            found[number] = Fate(reason=SAME_CODE, copy_of=where)
        elif where := held_out_texts.queries.get(query_key(str(row.get("query") or ""))):
            found[number] = Fate(reason=SAME_QUERY, copy_of=where)
        elif where := renamed.get(_renamed_key(code)):
            found[number] = Fate(reason=RENAMED, copy_of=where)
        elif number in near:
            found[number] = Fate(reason=NEAR, copy_of=codes[near[number]].where)
        elif held_out_texts.codes.has_near(shingles(code)):
            found[number] = Fate(reason=INSIDE)
    return found


def count_reasons(found: Mapping[int, Fate]) -> dict[str, int]:
    """Number of copies by reason, most frequent first."""
    return dict(Counter(fate.reason for fate in found.values()).most_common())


def _near(
    codes: Sequence[EvaluationRow], texts: Sequence[str], threshold: float, progress: ProgressCallback
) -> dict[int, int]:
    """Number of a text -> number of the first evaluation code that it is near."""
    require(0 < threshold <= 1, "jaccard", threshold, "above 0, at most 1")
    if not codes:
        return {}
    table = GramTable([*(row.code for row in codes), *texts])
    pairs = near_pairs(table, threshold, reference=len(codes), progress=progress)
    return {second - len(codes): first for first, second in reversed(pairs.tolist())}


def _renamed_key(code: str) -> int:
    form = renamed_form(code)
    return key_of(form) if len(form.split()) >= _MIN_RENAMED_TOKENS else 0
