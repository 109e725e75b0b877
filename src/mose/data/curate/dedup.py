"""Drop near copies within a table of pairs, and rows that copy an evaluation set.

In: pair files. Out: a stage's folder; of each group of near copies of one kind the first row stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mose.data.curate.contamination import find_copies
from mose.data.curate.near_pairs import GramTable, describe_bands, group_pairs, near_pairs
from mose.data.curate.stage import Fate, Row, described, pair_files, read_compared, require_same_run, write_stage
from mose.data.evaluation_sets import evaluation_files, read_evaluation
from mose.data.pairs import key_of
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
    where, rows = read_compared(files)
    fates: dict[int, Fate] = {}
    if against:
        fates |= find_copies(
            rows, list(read_evaluation(evaluation_files(against))), threshold=jaccard, progress=progress
        )
    fates |= _copies_within(rows, where, fates, jaccard, progress)
    return write_stage("dedup", files, out, lambda number, _: fates.get(number), settings=settings)


def _copies_within(
    rows: Sequence[Row], where: Sequence[str], dropped: dict[int, Fate], threshold: float, progress: ProgressCallback
) -> dict[int, Fate]:
    """Fates of rows that copy an earlier row of their kind; rows dropped before are no reason."""
    fates: dict[int, Fate] = {}
    by_kind: dict[str, list[int]] = defaultdict(list)
    first_of: dict[tuple[str, int, int], int] = {}
    for number, row in enumerate(rows):
        if number in dropped:
            continue
        kind = str(row["kind"] or "")
        key = (kind, key_of(row["code"]), key_of(str(row["query"] or "")))
        if key in first_of:
            fates[number] = Fate(reason=SAME, copy_of=where[first_of[key]])
        else:
            first_of[key] = number
            by_kind[kind].append(number)
    for numbers in by_kind.values():
        table = GramTable(rows[number]["code"] for number in numbers)
        groups = group_pairs(near_pairs(table, threshold, progress=progress), len(table))
        for number, first in zip(numbers, groups.tolist(), strict=True):
            if numbers[first] != number:
                fates[number] = Fate(reason=NEAR, copy_of=where[numbers[first]])
    return fates
