"""The report on one tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.repository.history import TreeState
from mose.evaluate.repository.measure import System
from mose.evaluate.repository.values import GoldenSet


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeReport:
    """How good search is on one tree, by one model."""

    root: Path
    state: TreeState
    model: str
    """Identity of the model."""
    golden: GoldenSet
    num_files: int
    num_chunks: int
    seed: int
    num_queries: int
    """Asked for, of each kind."""
    budget_tokens: int
    systems: tuple[System, ...]
    values: NDArray[np.float64]
    """[systems, queries, metrics]"""
