"""Clone detection tasks: the open ``clone-pairs`` and BigCloneBench as CodeXGLUE publishes it.

In: pairs of ids with a label, and the codes that the ids name. Out: a ``PairTask`` for each split.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from mose.errors import DataError
from mose.evaluate.tasks.reading import Side, columns, need, objects, text_in
from mose.evaluate.tasks.values import PairTask, Texts

Split = Literal["train", "valid", "test"]

_OPEN_PROTOCOL = (
    "Pairs of programs in eight languages, nothing stripped; a clone is another solution of the same task. Half are "
    "clones; half of the others are picked for shared words."
)
_BIG_PROTOCOL = "Pairs of Java methods, as published; labels of BigCloneBench in the selection of CodeXGLUE."


def open_pairs(data: Path, split: Split) -> PairTask:
    """A split of ``clone-pairs``, whose ids stand in ``rosetta`` and ``mbxp`` of the same split.

    Raises:
        DataError: A file is missing or faulty, an id unknown, or a label neither 0 nor 1.
    """
    codes = Side("code")
    for dataset in ("rosetta", "mbxp"):
        path = need(data / dataset, f"{split}.jsonl")
        for where, value in objects(path):
            identity, code, language = (text_in(value, key, where) for key in ("id", "code", "language"))
            codes.add(identity, code, language, where)
    path = need(data / "clone-pairs", f"{split}.jsonl")
    pairs = (
        (where, text_in(value, "a", where), text_in(value, "b", where), text_in(value, "label", where))
        for where, value in objects(path)
    )
    return _task(f"clone-pairs-{split}", "clone-pairs", _OPEN_PROTOCOL, codes, pairs, path)


def is_big_clone_bench(folder: Path) -> bool:
    """There are functions (``data.jsonl``) and pairs of them (``test.txt``), or one of the two."""
    return (folder / "data.jsonl").is_file() or all((folder / f"{split}.txt").is_file() for split in ("valid", "test"))


def big_clone_bench(folder: Path, split: Split) -> PairTask:
    """A split of BigCloneBench: ``data.jsonl`` with {idx, func}, and lines of idx, idx, label parted by tabs.

    Raises:
        DataError: As ``open_pairs``.
    """
    codes = Side("code")
    path = need(folder, "data.jsonl")
    for where, value in objects(path):
        codes.add(text_in(value, "idx", where), text_in(value, "func", where), "java", where)
    path = need(folder, f"{split}.txt")
    pairs = (
        (where, first, second, label) for where, (first, second, label) in columns(path, ("idx1", "idx2", "label"))
    )
    return _task(f"bigclonebench-{split}", folder.name, _BIG_PROTOCOL, codes, pairs, path)


def _task(
    name: str, dataset: str, protocol: str, codes: Side, pairs: Iterable[tuple[str, str, str, str]], path: Path
) -> PairTask:
    rows: tuple[list[int], list[int]] = ([], [])
    labels: list[bool] = []
    for where, first, second, label in pairs:
        if label not in ("0", "1"):
            raise DataError(f"{where}, label", got=label, allowed="0 or 1")
        rows[0].append(codes.row(first, where))
        rows[1].append(codes.row(second, where))
        labels.append(label == "1")
    if len(set(labels)) < 2:
        raise DataError(f"{path} has no pairs of both labels", remedy="A task needs clones (1) and others (0).")
    known = codes.done()
    first_side, second_side = (_chosen(known, side) for side in rows)
    return PairTask(
        name=name, dataset=dataset, protocol=protocol, first=first_side, second=second_side, labels=tuple(labels)
    )


def _chosen(codes: Texts, rows: list[int]) -> Texts:
    return Texts(
        ids=tuple(codes.ids[row] for row in rows),
        texts=tuple(codes.texts[row] for row in rows),
        languages=tuple(codes.languages[row] for row in rows),
        kind="code",
    )
