"""Tasks: what is asked, what may answer, what is right, and under which rules.

A data folder holds the open sets (``open_data``), published formats (``published``) in folders of their own, or both;
a folder in a published format can be given itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from mose.errors import DataError
from mose.evaluate.tasks import clone_pairs, open_data, published
from mose.evaluate.tasks.values import PairTask, RetrievalTask, Texts

__all__ = ["PairTask", "RetrievalTask", "Texts", "load_pair_tasks", "load_tasks", "task_names"]

_VALID = "valid-"


def task_names(data: Path, split: Literal["test", "valid"] = "test") -> list[str]:
    """Names of the tasks of a split that the folder holds.

    Raises:
        DataError: There is no such folder.
    """
    return [name for name in _loaders(data) if name.startswith(_VALID) == (split == "valid")]


def load_tasks(data: Path, only: Sequence[str] = (), *, format_name: str = "") -> list[RetrievalTask]:
    """Tasks of a data folder, checked.

    Args:
        data: Folder of the data sets, or of one in a published format.
        only: Names, in the order wanted; all test tasks if empty.
        format_name: Format of ``data`` itself (``published.FORMATS``), where it is not to be guessed.

    Raises:
        DataError: There is no such folder or task, nothing in it is known, or a file is missing or faulty.
    """
    known = _loaders(data, format_name)
    names = list(only) or [name for name in known if not name.startswith(_VALID)]
    if not names:
        raise DataError(
            f"{data} holds no tasks",
            allowed=f"folders of the open data, or of one of the formats {', '.join(published.FORMATS)}",
            remedy="Set --data or MOSE_DATA to the folder of the data sets.",
        )
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=3)
            raise DataError(
                f"no task of this name in {data}",
                got=name,
                remedy=f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known)}.",
            )
    return [known[name]() for name in names]


def load_pair_tasks(
    data: Path, splits: Sequence[clone_pairs.Split] = ("train", "valid", "test")
) -> dict[clone_pairs.Split, PairTask]:
    """Clone detection by split: the open ``clone-pairs``, or the first folder in the form of BigCloneBench.

    Raises:
        DataError: There is neither, or a file is missing or faulty.
    """
    folders = _folders(data)
    if (data / "clone-pairs").is_dir():
        return {split: clone_pairs.open_pairs(data, split) for split in splits}
    for folder in folders:
        if published.format_of(folder) == "bigclonebench":
            return {split: clone_pairs.big_clone_bench(folder, split) for split in splits}
    raise DataError(f"{data} holds no clone pairs", allowed="a folder clone-pairs, or one of BigCloneBench")


def _folders(data: Path) -> list[Path]:
    """The folder itself and those in it."""
    if not data.is_dir():
        raise DataError(
            f"no data folder {data}", remedy="Set --data or MOSE_DATA to the folder of the data sets."
        )  # fmt: skip
    return [data, *sorted(path for path in data.iterdir() if path.is_dir())]


def _loaders(data: Path, format_name: str = "") -> open_data.Loaders:
    folders = _folders(data)
    if format_name or published.format_of(data):
        return published.loaders(data, format_name)
    found = {**open_data.loaders(data, "test"), **open_data.loaders(data, "valid")}
    for folder in folders[1:]:
        if published.format_of(folder):
            for name, load in published.loaders(folder).items():
                if name in found:
                    raise DataError(f"{folder}: there is another task of this name in {data}", got=name)
                found[name] = load
    return found
