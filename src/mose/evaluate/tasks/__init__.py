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

__all__ = ["RetrievalTask", "Texts", "load_tasks", "task_names"]

_VALID = "valid-"


def task_names(data: Path, split: Literal["test", "valid"] = "test") -> list[str]:
    """Names of the tasks of a split that the folder holds.

    Raises:
        DataError: There is no such folder.
    """
    return [name for name in _loaders(data) if name.startswith(_VALID) == (split == "valid")]


def load_tasks(data: Path, only: Sequence[str] = ()) -> list[RetrievalTask]:
    """Load and check tasks of a data folder.

    Args:
        data: Folder of the data sets, or of one in a published format.
        only: Names of tasks, in order; all test tasks if empty.

    Raises:
        ConfigError: There is no task of a name; the nearest name is given.
        DataError: There is no such folder, nothing in it is known, or a file is missing or faulty.
    """
    known = _loaders(data)
    names = list(only) or [name for name in known if not name.startswith(_VALID)]
    if not names:
        raise DataError(
            f"{data} holds no tasks",
            allowed=f"folders of the open data, or of one of the formats {', '.join(published.FORMATS)}",
            remedy="Set --data or MOSE_DATA to the folder of the data sets.",
        )
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else None
            raise ConfigError(f"task in {data}", got=name, allowed=", ".join(known), remedy=remedy)
    return [known[name]() for name in names]


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
                raise DataError(f"{folder}: another task in {data} has the same name", got=name)
            found[name] = load
    return found
