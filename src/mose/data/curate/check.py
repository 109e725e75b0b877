"""The contamination report: which rows of a training set copy a row of an evaluation set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mose.data.curate.compared import ComparedRows
from mose.data.curate.contamination import HeldOut, add_near_copies, count_reasons
from mose.data.curate.near_pairs import sign_texts
from mose.data.curate.stage import pair_files
from mose.data.evaluation_sets import evaluation_files, read_evaluation
from mose.data.mine.archives import hash_of
from mose.progress import ProgressCallback, no_progress


def check_contamination(
    inputs: Sequence[Path],
    against: Sequence[Path],
    *,
    jaccard: float = 0.7,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Rows that copy an evaluation row.

    Args:
        inputs: Pair files and folders of them.
        against: Evaluation files and folders.
        jaccard: Similarity from which two codes are near copies, above 0 to 1.
        progress: Called with the progress so far.

    Returns:
        Numbers of rows, files with their hashes, counts by reason, and each copy.

    Raises:
        DataError: A file is faulty or missing.
        ConfigError: ``jaccard`` is out of range.
    """
    sets = evaluation_files(against)
    held_out = HeldOut(read_evaluation(sets), jaccard)
    rows = ComparedRows(pair_files(inputs), held_out)
    signed = sign_texts(rows.grams, jaccard, progress=progress)
    found = add_near_copies(rows.fates, held_out, signed, progress=progress)
    return {
        "rows": len(rows),
        "evaluation_rows": held_out.size,
        "against": [{"file": str(file), "sha256": hash_of(file)} for file in sets],
        "jaccard": jaccard,
        "reasons": count_reasons(found),
        "copies": [
            {"row": rows.where(number), "reason": fate.reason, "copy_of": fate.copy_of}
            for number, fate in sorted(found.items())
        ],
    }
