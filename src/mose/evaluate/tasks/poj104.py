"""POJ-104 of CodeXGLUE: find the other programs that solve the same problem.

``test.jsonl``: {label, index, code}; the label is the problem.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

from mose.errors import DataError
from mose.evaluate.tasks.reading import MEND, TextsBuilder, build_task, find, first_object, need, objects, text_in
from mose.evaluate.tasks.values import Loaders, RetrievalTask

_PROTOCOL = (
    "Query: each program. Candidates: all other programs of the test split; nothing is stripped. Relevant: the other "
    "programs of the same problem."
)


def matches(folder: Path) -> bool:
    """The rows of ``test.jsonl`` have an index, a label and code."""
    return {"label", "index", "code"} <= first_object(find(folder, "test.jsonl")).keys()


def tasks(folder: Path) -> Loaders:
    """Name -> loader of the one task."""
    return {"poj104": partial(_load, folder)}


def _load(folder: Path) -> RetrievalTask:
    path = need(folder, "test.jsonl")
    corpus = TextsBuilder("code")
    labels: list[str] = []
    problems: defaultdict[str, set[int]] = defaultdict(set)
    for where, value in objects(path):
        labels.append(text_in(value, "label", where))
        row = corpus.add(text_in(value, "index", where), text_in(value, "code", where), "cpp", where)
        problems[labels[-1]].add(row)
    lonely = next((label for label, rows in problems.items() if len(rows) < 2), None)
    if lonely is not None or not problems:
        raise DataError(f"{path}: each label needs two programs or more", got=lonely, remedy=MEND)
    return build_task(
        "poj104",
        folder,
        _PROTOCOL,
        corpus,
        corpus,
        [problems[label] - {row} for row, label in enumerate(labels)],
        excluded=tuple(frozenset([row]) for row in range(len(labels))),
        family="code-code",
        metric="map@r",
    )
