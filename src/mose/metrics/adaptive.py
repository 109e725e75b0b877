"""Adaptive exits: calibrated confidence at every exit, and the F1 and the depth that a threshold on it gives.

Shapes: N pairs, E exits from shallow to deep. A margin is the logit of "yes" minus that of "no".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mose.metrics.decisions import f1

Floats = NDArray[np.float64]
CONFIDENCES = tuple(np.round(np.concatenate([np.arange(0.5, 0.99, 0.01), np.arange(0.99, 1.0, 0.001), [1.01]]), 4))
"""Thresholds to try, from "always leave at the first exit" to one that no confidence reaches."""
_COLDEST, _WARMEST = 0.05, 50.0
_ROUNDS = 60
_GOLDEN = 0.6180339887498949


def probability(margins_N: NDArray[np.floating], temperature: float) -> Floats:
    """Probability of "yes": the sigmoid of the margin over the temperature.

    Example:
        >>> probability(np.array([0.0, 2.0]), 2.0).round(3).tolist()
        [0.5, 0.731]
    """
    halved = np.asarray(margins_N, dtype=np.float64) / (2.0 * temperature)
    return (1.0 + np.tanh(halved)) / 2.0  # the sigmoid, without overflow


def negative_log_likelihood(margins_N: NDArray[np.floating], labels_N: NDArray[np.bool_], temperature: float) -> float:
    """Mean of -log p(label), natural logarithm.

    Example:
        >>> round(negative_log_likelihood(np.array([0.0, 0.0]), np.array([True, False]), 1.0), 4)
        0.6931
    """
    signed = np.where(labels_N, margins_N, -np.asarray(margins_N, dtype=np.float64)) / temperature
    return float(np.logaddexp(0.0, -signed).mean())


def fit_temperature(margins_N: NDArray[np.floating], labels_N: NDArray[np.bool_]) -> float:
    """The temperature with the greatest likelihood (Guo et al., 2017, section 4.2), found by golden section.

    Dividing margins by it changes confidences, but no decision at a margin of 0.

    Raises:
        ValueError: No pairs, lengths differ, or a margin is not finite.
    """
    margins, labels = np.asarray(margins_N, dtype=np.float64), np.asarray(labels_N, dtype=bool)
    if not len(margins) or margins.shape != labels.shape or not np.isfinite(margins).all():
        raise ValueError(f"{margins.shape} margins for {labels.shape} labels, all of them finite, at least one")
    # In 1 / temperature the mean loss is convex, so every interval of its logarithm has one lowest point.
    low, high = np.log(1.0 / _WARMEST), np.log(1.0 / _COLDEST)
    for _ in range(_ROUNDS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = (negative_log_likelihood(margins, labels, float(np.exp(-point))) for point in (left, right))
        low, high = (low, right) if at_left <= at_right else (left, high)
    return float(np.exp(-(low + high) / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """F1 and depth at one confidence threshold."""

    confidence: float
    """Pairs leave once max(p, 1 - p) reaches this."""
    f1: float
    layers: float
    """Blocks run, mean over pairs."""
    share: float
    """``layers`` over the blocks of the deepest exit."""
    left: tuple[float, ...]
    """Share of the pairs that left at each exit."""


def leaving_exits(probability_EN: Floats, confidence: float) -> NDArray[np.int64]:
    """Position of the exit at which each pair leaves; pairs that reach the confidence nowhere leave at the deepest.

    Example:
        >>> leaving_exits(np.array([[0.9, 0.6], [0.5, 0.6]]), 0.8).tolist()
        [0, 1]
    """
    sure_EN = np.maximum(probability_EN, 1.0 - probability_EN) >= confidence
    sure_EN[-1] = True
    first_N: NDArray[np.int64] = sure_EN.argmax(axis=0)
    return first_N


def adaptive_point(
    probability_EN: Floats,
    labels_N: NDArray[np.bool_],
    *,
    exits: Sequence[int],
    thresholds: Sequence[float],
    confidence: float,
) -> Point:
    """F1 and layers at one confidence.

    Args:
        probability_EN: Calibrated probabilities at every exit.
        labels_N: True for clones.
        exits: Depths of the E exits, in blocks.
        thresholds: Smallest probability called a clone, at each exit.
        confidence: Pairs leave once max(p, 1 - p) reaches this.
    """
    leaving_N = leaving_exits(probability_EN, confidence)
    chosen_N = np.take_along_axis(probability_EN, leaving_N[None], axis=0)[0]
    layers = float(np.asarray(exits, dtype=np.float64)[leaving_N].mean())
    counts_E = np.bincount(leaving_N, minlength=len(exits))
    return Point(
        confidence=float(confidence),
        f1=f1(chosen_N >= np.asarray(thresholds)[leaving_N], labels_N),
        layers=layers,
        share=layers / exits[-1],
        left=tuple((counts_E / len(leaving_N)).tolist()),
    )


def sweep(
    probability_EN: Floats,
    labels_N: NDArray[np.bool_],
    *,
    exits: Sequence[int],
    thresholds: Sequence[float],
) -> tuple[Point, ...]:
    """The curve: one point for each of ``CONFIDENCES``."""
    return tuple(
        adaptive_point(probability_EN, labels_N, exits=exits, thresholds=thresholds, confidence=confidence)
        for confidence in CONFIDENCES
    )


def lowest_confidence(points: Sequence[Point], *, full_f1: float, keep: float) -> float:
    """The smallest confidence from which on every point keeps a share of the full F1.

    "From which on" leaves out lucky single points.

    Args:
        points: By rising confidence.
        full_f1: F1 of the deepest exit alone, on the same pairs.
        keep: Share of it, such as 0.99.

    Raises:
        ValueError: Not even the last point keeps it.
    """
    found = None
    for point in reversed(points):
        if point.f1 < keep * full_f1:
            break
        found = point.confidence
    if found is None:
        raise ValueError(f"no confidence keeps {keep} of F1 {full_f1}")
    return found
