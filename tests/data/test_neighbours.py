from __future__ import annotations

import numpy as np
import pytest

from mose.data.neighbours import neighbour_order


def spread(vectors: np.ndarray, order: np.ndarray, size: int) -> float:
    """Mean distance of the rows of a group to the group's centre."""
    groups = [vectors[order[start : start + size]] for start in range(0, len(order), size)]
    return float(np.mean([np.linalg.norm(group - group.mean(axis=0), axis=1).mean() for group in groups]))


@pytest.mark.parametrize(("count", "size"), [(0, 4), (1, 4), (7, 1), (64, 8), (101, 16), (30, 64)])
def test_every_row_occurs_once(count: int, size: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(count, 5))
    order = neighbour_order(vectors, size=size, rng=np.random.default_rng(1))
    assert sorted(order.tolist()) == list(range(count))


def test_groups_are_closer_together_than_chance_and_differ_by_seed() -> None:
    vectors = np.random.default_rng(0).normal(size=(256, 6))
    first = neighbour_order(vectors, size=16, rng=np.random.default_rng(1))
    second = neighbour_order(vectors, size=16, rng=np.random.default_rng(2))
    by_chance = np.random.default_rng(3).permutation(256)
    assert spread(vectors, first, 16) < 0.85 * spread(vectors, by_chance, 16)
    assert first.tolist() != second.tolist()
    again = neighbour_order(vectors, size=16, rng=np.random.default_rng(1))
    assert first.tolist() == again.tolist()


def test_equal_rows_end() -> None:
    order = neighbour_order(np.ones((50, 3)), size=4, rng=np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(50))
