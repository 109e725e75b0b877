"""Metrics of yes-or-no decisions over scored pairs: numpy only.

A pair is called positive if its score is at least the threshold. N pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[Any] | Sequence[float]
Labels = NDArray[np.bool_] | Sequence[bool]


def f1(positive_N: Labels, labels_N: Labels) -> float:
    """F1 of the decisions, 0 to 1; 0 where nothing positive was found.

    Example:
        >>> f1([True, True, False], [True, False, True])
        0.5
    """
    called_N, right_N = np.asarray(positive_N, dtype=bool), np.asarray(labels_N, dtype=bool)
    if called_N.shape != right_N.shape:
        raise ValueError(f"{called_N.shape} decisions for {right_N.shape} labels")
    total = int(np.count_nonzero(called_N) + np.count_nonzero(right_N))
    return 2 * int(np.count_nonzero(called_N & right_N)) / total if total else 0.0


def best_f1_threshold(scores_N: Scores, labels_N: Labels) -> float:
    """The threshold with the best F1: find it on validation, apply it on test.

    It lies half-way between two scores; of equally good ones the highest is taken.

    Raises:
        ValueError: Lengths differ, a score is not finite, or no label is positive.

    Example:
        >>> best_f1_threshold([0.9, 0.6, 0.2], [True, True, False])
        0.4
    """
    values_U, true_U, called_U, positives = _by_score(scores_N, labels_N)
    best = int(np.argmax(2.0 * true_U / (called_U + positives)))
    if best + 1 == len(values_U):
        return float(values_U[best])
    middle = (values_U[best] + values_U[best + 1]) / 2
    return float(middle if middle > values_U[best + 1] else values_U[best])


def average_precision_of_pairs(scores_N: Scores, labels_N: Labels) -> float:
    """Area under precision over recall as a step function; equal scores are one step, so their order does not matter.

    Raises:
        ValueError: As ``best_f1_threshold``.

    Example:
        >>> average_precision_of_pairs([0.9, 0.6, 0.2], [True, False, True]).__round__(4)
        0.8333
    """
    _, true_U, called_U, positives = _by_score(scores_N, labels_N)
    return float(np.sum(np.diff(true_U, prepend=0) * true_U / called_U) / positives)


def _by_score(
    scores_N: Scores, labels_N: Labels
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], int]:
    """The different scores, descending; pairs rightly called and pairs called at each; the number of positives."""
    scores, labels = np.asarray(scores_N, dtype=np.float64), np.asarray(labels_N, dtype=bool)
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError(f"{scores.shape} scores for {labels.shape} labels")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    positives = int(np.count_nonzero(labels))
    if not positives:
        raise ValueError("no label is positive")
    order = np.argsort(-scores, kind="stable")
    last_of_equal = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    return scores[order][last_of_equal], np.cumsum(labels[order])[last_of_equal], last_of_equal + 1, positives
