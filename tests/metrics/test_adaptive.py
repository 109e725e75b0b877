"""Calibration by hand and against brute force; early exits on four pairs that fit on a page."""

from __future__ import annotations

import numpy as np
import pytest

from mose.metrics.adaptive import (
    CONFIDENCES,
    Point,
    adaptive_point,
    fit_temperature,
    leaving_exits,
    lowest_confidence,
    negative_log_likelihood,
    probability,
    sweep,
)
from mose.metrics.decisions import f1

PROBABILITIES = np.array([[0.95, 0.60, 0.30, 0.02], [0.10, 0.90, 0.45, 0.99], [0.20, 0.20, 0.80, 0.99]])
LABELS = np.array([True, True, True, False])
EXITS = (2, 3, 6)


def test_temperature_has_the_greatest_likelihood_of_all() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.5
    margins = np.where(labels, 1.0, -1.0) * 3 + rng.normal(size=400) * 6
    found = fit_temperature(margins, labels)
    grid = np.exp(np.linspace(np.log(0.06), np.log(40), 4000))
    losses = [negative_log_likelihood(margins, labels, temperature) for temperature in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)
    assert negative_log_likelihood(margins, labels, found) <= min(losses) + 1e-9


def test_margins_made_by_a_temperature_give_it_back() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=200_000) * 2
    labels = rng.random(len(logits)) < probability(logits, 1.0)
    assert fit_temperature(logits * 3.0, labels) == pytest.approx(3.0, rel=0.02)


def test_extreme_margins_neither_overflow_nor_leave_zero_to_one() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert probability(np.array([-1e6, 0.0, 1e6]), 0.05).tolist() == [0.0, 0.5, 1.0]
    assert negative_log_likelihood(np.array([1e6, -1e6]), np.array([True, False]), 1.0) == 0.0


def test_unusable_margins_are_refused() -> None:
    for margins, labels in (([], []), ([1.0], [True, False]), ([np.nan], [True])):
        with pytest.raises(ValueError, match="margins"):
            fit_temperature(np.array(margins), np.array(labels, dtype=bool))


def test_a_pair_leaves_at_the_first_exit_that_is_sure() -> None:
    assert leaving_exits(PROBABILITIES, 0.9).tolist() == [0, 1, 2, 0]
    assert leaving_exits(PROBABILITIES, 0.5).tolist() == [0, 0, 0, 0]
    assert leaving_exits(PROBABILITIES, 1.01).tolist() == [2, 2, 2, 2]


def test_point_counts_layers_and_decides_by_the_threshold_of_the_exit_left_at() -> None:
    point = adaptive_point(PROBABILITIES, LABELS, exits=EXITS, thresholds=(0.5, 0.95, 0.5), confidence=0.9)
    # Left at exits 2, 3, 6, 2; called by 0.95 >= 0.5, 0.90 < 0.95, 0.80 >= 0.5, 0.02 < 0.5.
    assert point.layers == (2 + 3 + 6 + 2) / 4 and point.share == point.layers / 6
    assert point.f1 == f1([True, False, True, False], LABELS) == 0.8
    assert point.left == (0.5, 0.25, 0.25)


def test_ends_of_the_curve_are_the_shallowest_and_the_deepest_exit() -> None:
    thresholds = (0.4, 0.5, 0.5)
    points = sweep(PROBABILITIES, LABELS, exits=EXITS, thresholds=thresholds)
    assert [point.confidence for point in points] == list(CONFIDENCES) == sorted(CONFIDENCES)
    assert points[0].layers == 2 and points[0].f1 == f1(PROBABILITIES[0] >= 0.4, LABELS)
    assert points[-1].layers == 6 and points[-1].f1 == f1(PROBABILITIES[-1] >= 0.5, LABELS)
    layers = [point.layers for point in points]
    assert layers == sorted(layers)


def test_chosen_confidence_ignores_lucky_points() -> None:
    def points(values: list[float]) -> list[Point]:
        return [
            Point(confidence=0.5 + number / 10, f1=value, layers=1, share=1, left=(1.0,))
            for number, value in enumerate(values)
        ]

    assert lowest_confidence(points([0.80, 0.99, 0.80, 0.99, 1.0]), full_f1=1.0, keep=0.99) == 0.8
    assert lowest_confidence(points([1.0, 1.0]), full_f1=1.0, keep=0.99) == 0.5
    with pytest.raises(ValueError, match=r"keeps 0\.99"):
        lowest_confidence(points([1.0, 0.9]), full_f1=1.0, keep=0.99)
