"""Metrics of rankings, one value per query; means are left to the caller. numpy only.

Rows rank by descending score, compared as float32; **equal scores rank in descending order of id**, compared as text.
That is the rule of ``trec_eval``, so both agree on every run, and a permuted corpus scores the same.

Everything follows from the *ranks of the relevant rows* (``relevant_ranks``): per query a float64 array, from 1,
ascending; infinite where a row was not retrieved. Shapes: Q queries, C rows of the corpus, R relevant rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ranks = Sequence[Floats]


def relevant_ranks(
    scores_QC: NDArray[Any],
    ids: Sequence[str],
    relevant: Sequence[AbstractSet[int]],
    excluded: Sequence[AbstractSet[int]] = (),
) -> list[Floats]:
    """Ranks of the relevant rows of each query, from 1, ascending.

    Args:
        scores_QC: Score of each row of the corpus for each query, finite; compared as float32.
        ids: C different ids.
        relevant: Q sets of row numbers, none empty.
        excluded: Q sets of rows that take no part, or ``()``.

    Raises:
        ValueError: Shapes do not match, a score is not finite, ids repeat, a query has no relevant row, or a
            relevant row is excluded.

    Example:
        >>> relevant_ranks(np.array([[0.5, 0.9, 0.5]]), ["a", "b", "c"], [{0, 1}])
        [array([1., 3.])]
    """
    scores_QC = _checked(scores_QC, ids)
    if len(relevant) != len(scores_QC):
        raise ValueError(f"{len(scores_QC)} rows of scores, {len(relevant)} sets of relevant rows")
    if excluded and len(excluded) != len(scores_QC):
        raise ValueError(f"{len(scores_QC)} queries, {len(excluded)} sets of excluded rows")
    distinct = {id(rows): rows for rows in excluded}  # all queries of a pool share one large set
    excluded_rows = {key: np.fromiter(rows, dtype=np.int64) for key, rows in distinct.items()}
    positions_C = _tie_positions(ids)
    found = []
    for query, (row_C, answers) in enumerate(zip(scores_QC, relevant, strict=True)):
        if not answers:
            raise ValueError(f"query {query} has no relevant row")
        if excluded:
            if not answers.isdisjoint(excluded[query]):
                raise ValueError(f"query {query}: a relevant row is excluded")
            row_C = row_C.copy()
            row_C[excluded_rows[id(excluded[query])]] = -np.inf
        found.append(_ranks_in_row(row_C, positions_C, np.fromiter(answers, dtype=np.int64)))
    return found


def _checked(scores_QC: NDArray[Any], ids: Sequence[str]) -> NDArray[np.float32]:
    if scores_QC.ndim != 2 or scores_QC.shape[1] != len(ids):
        raise ValueError(f"scores of shape {scores_QC.shape} for {len(ids)} ids")
    scores_QC = np.asarray(scores_QC, dtype=np.float32)
    if not np.isfinite(scores_QC).all():
        raise ValueError("a score is not finite")
    return scores_QC


def _tie_positions(ids: Sequence[str]) -> NDArray[np.int64]:
    """Position of each row among equal scores: 0 for the last id."""
    if len(set(ids)) != len(ids):
        raise ValueError("ids repeat")
    positions_C = np.empty(len(ids), dtype=np.int64)
    positions_C[sorted(range(len(ids)), key=ids.__getitem__, reverse=True)] = np.arange(len(ids))
    return positions_C


def _ranks_in_row(row_C: NDArray[np.float32], positions_C: NDArray[np.int64], rows: NDArray[np.int64]) -> Floats:
    ascending_C = np.sort(row_C)
    scores_R = row_C[rows]
    not_above_R = np.searchsorted(ascending_C, scores_R, side="right")
    ranks_R = len(row_C) - not_above_R + 1
    for number in np.flatnonzero(not_above_R - np.searchsorted(ascending_C, scores_R, side="left") > 1):
        ranks_R[number] += np.count_nonzero(positions_C[row_C == scores_R[number]] < positions_C[rows[number]])
    return np.sort(ranks_R).astype(np.float64)


def reciprocal_rank(ranks: Ranks) -> Floats:
    """1 / rank of the best relevant row, 0 to 1; its mean is MRR.

    Example:
        >>> reciprocal_rank([np.array([2.0, 5.0]), np.array([np.inf])])
        array([0.5, 0. ])
    """
    return np.array([1.0 / ranks_R[0] for ranks_R in ranks])


def recall(ranks: Ranks, k: int) -> Floats:
    """Share of the relevant rows among the ``k`` best.

    Example:
        >>> recall([np.array([1.0, 12.0])], 10)
        array([0.5])
    """
    return np.array([np.count_nonzero(ranks_R <= k) / len(ranks_R) for ranks_R in ranks])


def ndcg(ranks: Ranks, k: int) -> Floats:
    """NDCG at ``k`` with binary relevance: gain 1, discount 1/log2(rank + 1), over the ideal of ``k`` ranks.

    Source: Järvelin and Kekäläinen (2002), in the form of trec_eval's ``ndcg_cut``.

    Example:
        >>> ndcg([np.array([2.0])], 10).round(4)
        array([0.6309])
    """
    return np.array([_dcg(ranks_R, k) / _dcg(np.arange(1.0, len(ranks_R) + 1), k) for ranks_R in ranks])


def _dcg(ranks_R: Floats, k: int) -> float:
    return float(np.sum(1.0 / np.log2(1.0 + ranks_R[ranks_R <= k])))


def average_precision(ranks: Ranks) -> Floats:
    """Mean, over the relevant rows, of the precision at each one's rank; its mean over queries is MAP.

    Example:
        >>> average_precision([np.array([1.0, 4.0])])
        array([0.75])
    """
    return np.array([_precision_sum(ranks_R, np.inf) / len(ranks_R) for ranks_R in ranks])


def average_precision_at_r(ranks: Ranks) -> Floats:
    """MAP@R: average precision over the R best rows only, R the number of relevant rows of the query.

    The query itself is not an answer: it has to be among the excluded rows.
    Source: Musgrave, Belongie and Lim (2020), section 3.3; the metric of POJ-104 in CodeXGLUE.

    Example:
        >>> average_precision_at_r([np.array([1.0, 4.0])])
        array([0.5])
    """
    return np.array([_precision_sum(ranks_R, len(ranks_R)) / len(ranks_R) for ranks_R in ranks])


def _precision_sum(ranks_R: Floats, last: float) -> float:
    return float(np.sum((np.arange(1.0, len(ranks_R) + 1) / ranks_R)[ranks_R <= last]))


def metric(name: str) -> Callable[[Ranks], Floats]:
    """The metric of a name: ``mrr``, ``map``, ``map@r``, ``recall@K`` or ``ndcg@K``.

    Raises:
        ValueError: There is no such metric.

    Example:
        >>> metric("recall@1")([np.array([1.0, 2.0])])
        array([0.5])
    """
    plain = {"mrr": reciprocal_rank, "map": average_precision, "map@r": average_precision_at_r}
    if name in plain:
        return plain[name]
    family, _, cut = name.partition("@")
    if family in ("recall", "ndcg") and cut.isdecimal() and int(cut) > 0:
        at = recall if family == "recall" else ndcg
        return lambda ranks: at(ranks, int(cut))
    raise ValueError(f"no metric {name!r}: mrr, map, map@r, recall@K or ndcg@K")
