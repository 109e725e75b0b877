"""Tasks: queries, candidates, relevant rows, and the protocol.

A data folder holds the open sets (``open_data``), published formats (``published``) in folders of their own, or both;
a folder in a published format can be given itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from mose.errors import ConfigError, DataError
from mose.evaluate.tasks import open_data, published
from mose.evaluate.tasks.values import Loaders, RetrievalTask, Texts

__all__ = ["RetrievalTask", "Split", "Texts", "load_tasks", "task_names"]

Split = Literal["test", "valid"]
_VALID = "valid-"


def task_names(data: Path, split: Split = "test") -> list[str]:
    """Names of the tasks of a split that the folder holds.

    Raises:
        DataError: There is no such folder, or it has no task of the split.
    """
    return _names(_loaders(data), data, split)


def load_tasks(data: Path, only: Sequence[str] = (), split: Split = "test") -> list[RetrievalTask]:
    """Load and check tasks of a data folder.

    Args:
        data: Folder of the data sets, or of one in a published format.
        only: Names of tasks, in order, all of the split if empty. In the validation split the name of a test task is
            that of its counterpart.
        split: Split to load.

    Raises:
        ConfigError: There is no task of a name, or it has no validation split; the nearest name is given.
        DataError: There is no such folder, nothing in it is known, it has no task of the split, or a file is missing or
            faulty.
    """
    known = _loaders(data)
    asked = [_validation_name(name, known) for name in only] if split == "valid" else list(only)
    names = asked or _names(known, data, split)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else None
            raise ConfigError(f"task in {data}", got=name, allowed=", ".join(known), remedy=remedy)
    return [known[name]() for name in names]


def _names(known: Loaders, data: Path, split: Split) -> list[str]:
    """The tasks of a split; raise `DataError` if there is none."""
    names = [name for name in known if name.startswith(_VALID) == (split == "valid")]
    if not names and known and split == "valid":
        raise DataError(f"{data} holds no validation split", remedy="Only the open data sets have one.")
    if not names:
        raise DataError(
            f"{data} holds no tasks",
            allowed=f"folders of the open data, or of one of the formats {', '.join(published.FORMATS)}",
            remedy="Set --data or MOSE_DATA to the folder of the data sets.",
        )
    return names


def _validation_name(name: str, known: Loaders) -> str:
    """The validation task of a name, with or without its prefix.

    Raises:
        ConfigError: The task has no validation split.
    """
    full = name if name.startswith(_VALID) else _VALID + name
    if full not in known and name in known:
        raise ConfigError(
            "task with a validation split",
            got=name,
            allowed=", ".join(own.removeprefix(_VALID) for own in known if own.startswith(_VALID)),
            remedy="Choose among these, or tune on the other tasks and test once on this one.",
        )
    return full


def _loaders(data: Path) -> Loaders:
    if not data.is_dir():
        raise DataError(f"no data folder {data}", remedy="Set --data or MOSE_DATA to the folder of the data sets.")
    own = published.loaders(data)
    if own:
        return own
    found = {**open_data.loaders(data, "test"), **open_data.loaders(data, "valid")}
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        for name, load in published.loaders(folder).items():
            if name in found:
                raise DataError(
                    f"{folder}: another task in {data} has the same name", got=name, remedy="Move one away."
                )
            found[name] = load
    return found
