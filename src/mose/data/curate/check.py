"""The contamination report: which rows of a training set copy a row of an evaluation set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mose.data.curate.contamination import count_reasons, find_copies
from mose.data.curate.stage import pair_files, read_compared
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
    evaluation = list(read_evaluation(sets))
    where, rows = read_compared(pair_files(inputs))
    found = find_copies(rows, evaluation, threshold=jaccard, progress=progress)
    return {
        "rows": len(rows),
        "evaluation_rows": len(evaluation),
        "against": [{"file": str(file), "sha256": hash_of(file)} for file in sets],
        "jaccard": jaccard,
        "reasons": count_reasons(found),
        "copies": [
            {"row": where[number], "reason": fate.reason, "copy_of": fate.copy_of}
            for number, fate in sorted(found.items())
        ],
    }
