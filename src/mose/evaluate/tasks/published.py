"""Published formats, each detected by the files of its folder."""

from __future__ import annotations

from pathlib import Path

from mose.evaluate.tasks import adv_test, beir, code_search_net, code_trans_ocean, cosqa, poj104
from mose.evaluate.tasks.values import Loaders

FORMATS = {
    "beir": beir,
    "cosqa": cosqa,
    "poj104": poj104,
    "advtest": adv_test,
    "codesearchnet": code_search_net,
    "codetransocean": code_trans_ocean,
}
"""By name, in the order in which they are tried. A folder may match although files are missing."""


def format_of(folder: Path) -> str:
    """Name of the folder's format; empty if it has none of them."""
    return next((name for name, module in FORMATS.items() if module.matches(folder)), "")


def loaders(folder: Path) -> Loaders:
    """Name -> loader of the tasks of one folder; empty if no format matches."""
    name = format_of(folder)
    return FORMATS[name].tasks(folder) if name else {}
