"""Published formats: a folder's format told by its files, or named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mose.errors import DataError
from mose.evaluate.tasks import (
    adv_test,
    beir,
    clone_pairs,
    code_search_net,
    code_trans_ocean,
    cosqa,
    poj104,
)
from mose.evaluate.tasks.values import RetrievalTask

Loaders = dict[str, Callable[[], RetrievalTask]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A published format of retrieval or clone data."""

    matches: Callable[[Path], bool]
    """The folder looks like this format; files may still be missing."""
    tasks: Callable[[Path], Loaders]
    """Name -> loader of its retrieval tasks."""


FORMATS = {
    "beir": Format(matches=beir.is_beir, tasks=beir.tasks),
    "cosqa": Format(matches=cosqa.is_cosqa, tasks=cosqa.tasks),
    "poj104": Format(matches=poj104.is_poj104, tasks=poj104.tasks),
    "advtest": Format(matches=adv_test.is_adv_test, tasks=adv_test.tasks),
    "codesearchnet": Format(matches=code_search_net.is_code_search_net, tasks=code_search_net.tasks),
    "codetransocean": Format(matches=code_trans_ocean.is_code_trans_ocean, tasks=code_trans_ocean.tasks),
    "bigclonebench": Format(matches=clone_pairs.is_big_clone_bench, tasks=lambda folder: {}),
}
"""By name, in the order in which they are tried. BigCloneBench has pairs only (``load_pair_tasks``)."""


def format_of(folder: Path) -> str:
    """Name of the folder's format; empty if it is none of them."""
    return next((name for name, format_ in FORMATS.items() if format_.matches(folder)), "")


def loaders(folder: Path, format_name: str = "") -> Loaders:
    """Name -> loader of the tasks of one folder; the format is detected if not named.

    Raises:
        DataError: The name is unknown, or no format fits.
    """
    name = format_name or format_of(folder)
    if name not in FORMATS:
        raise DataError(
            f"the format of {folder}",
            got=name or "files of none of them",
            allowed=", ".join(FORMATS),
        )
    return FORMATS[name].tasks(folder)
