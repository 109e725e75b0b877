"""Drop near copies within a table of pairs, and rows that copy an evaluation set.

In: pair files. Out: a stage's folder; of each group of near copies of one kind the first row stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.data.curate.compared import ComparedRows
from mose.data.curate.contamination import HeldOut, add_near_copies
from mose.data.curate.near_pairs import SignedTexts, describe_bands, group_pairs, near_pairs, sign_texts
from mose.data.curate.stage import Fate, Row, described, pair_files, require_same_run, write_stage
from mose.data.evaluation_sets import evaluation_files, read_evaluation
from mose.data.tables.equal_rows import first_of_equal
from mose.progress import ProgressCallback, no_progress

SAME = "equal to another row"
NEAR = "near copy of another row"


def drop_near_copies(
    inputs: Sequence[Path],
    out: Path,
    *,
    jaccard: float = 0.7,
    against: Sequence[Path] = (),
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Write the rows without near copies.

    Args:
        inputs: Pair files and folders of them.
        out: Folder to write.
        jaccard: Similarity of two codes' runs of five characters from which they are near copies, above 0 to 1.
        against: Evaluation files and folders, whose copies are dropped as well.
        progress: Called with the progress so far.

    Returns:
        What ``stage.json`` holds.

    Raises:
        DataError: A file is faulty.
        ConfigError: ``jaccard`` is out of range.
        OutputError: ``out`` holds something else, or the rows of another run.
    """
    files = pair_files(inputs)
    settings = {"jaccard": jaccard, "bands": describe_bands(jaccard), "against": [str(path) for path in against]}
    require_same_run(out, described("dedup", files, settings))
    held_out = HeldOut(read_evaluation(evaluation_files(against)), jaccard) if against else None
    rows = ComparedRows(files, held_out)
    signed = sign_texts(rows.grams, jaccard, progress=progress)
    fates = add_near_copies(rows.fates, held_out, signed, progress=progress) if held_out else {}
    same_R, near_R = _first_copies(rows, signed, fates, progress)

    def judge(number: int, _: Row) -> Fate | None:
        for reason, first in ((SAME, int(same_R[number])), (NEAR, int(near_R[number]))):
            if first != number:
                return Fate(reason=reason, copy_of=rows.where(first))
        return fates.get(number)

    return write_stage("dedup", files, out, judge, settings=settings)


def _first_copies(
    rows: ComparedRows, signed: SignedTexts, dropped: Collection[int], progress: ProgressCallback
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row the first one of its kind that it is equal to, and the first one that it is near; or itself.

    Rows dropped before are compared with none; equal ones are not compared again.
    """
    same_R, near_R = np.arange(len(rows)), np.arange(len(rows))
    kept = np.delete(same_R, list(dropped))
    same_R[kept] = kept[first_of_equal(rows.kind_R[kept], rows.code_R[kept], rows.query_R[kept])]
    kept = kept[same_R[kept] == kept]
    offset = len(rows.grams) - len(rows)
    for kind in np.unique(rows.kind_R[kept]):
        numbers = kept[rows.kind_R[kept] == kind]
        groups = group_pairs(near_pairs(signed, among=numbers + offset, progress=progress), len(numbers))
        near_R[numbers] = numbers[groups]
    return same_R, near_R
