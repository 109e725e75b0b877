"""Metrics: by hand, against pytrec_eval on runs with ties, and properties of every ranking."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mose.metrics import ranking
from mose.metrics.decisions import average_precision_of_pairs, best_f1_threshold, f1

NAMES = ("mrr", "map", "map@r", "recall@1", "recall@10", "ndcg@5", "ndcg@10")


def run_with_ties(seed, num_queries=30, num_rows=60, levels=6):
    """Scores of few levels, so that most of them are tied."""
    rng = np.random.default_rng(seed)
    scores_QC = rng.integers(levels, size=(num_queries, num_rows)) / 7
    ids = [f"d{number}" for number in rng.permutation(num_rows)]
    relevant = [
        frozenset(rng.choice(num_rows, size=rng.integers(1, 25), replace=False).tolist()) for _ in range(num_queries)
    ]
    return scores_QC, ids, relevant


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_agrees_with_trec_eval_on_runs_with_ties(seed, dtype):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    scores_QC, ids, relevant = run_with_ties(seed, levels=1 + seed * 4)
    scores_QC = scores_QC.astype(dtype)
    qrels = {f"q{query}": {ids[row]: 1 for row in rows} for query, rows in enumerate(relevant)}
    run = {
        f"q{query}": dict(zip(ids, map(float, row_C), strict=True)) for query, row_C in enumerate(scores_QC)
    }  # fmt: skip
    ours = {
        "map": "map", "recip_rank": "mrr", "ndcg_cut_5": "ndcg@5", "ndcg_cut_10": "ndcg@10", "recall_10": "recall@10",
        "recall_5": "recall@5", "ndcg_cut_1000": "ndcg@1000",
    }  # fmt: skip
    theirs = pytrec_eval.RelevanceEvaluator(
        qrels, {"map", "recip_rank", "ndcg_cut.5,10,1000", "recall.5,10"}
    ).evaluate(run)  # fmt: skip
    ranks = ranking.relevant_ranks(scores_QC, ids, relevant)
    for their_name, our_name in ours.items():
        expected = [theirs[f"q{query}"][their_name] for query in range(len(relevant))]
        np.testing.assert_allclose(ranking.metric(our_name)(ranks), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_ranks_are_the_positions_in_the_full_ranking(seed):
    scores_QC, ids, relevant = run_with_ties(seed)
    excluded = [frozenset(range(60)) - rows for rows in relevant]
    excluded = [frozenset(sorted(rows)[: seed * 5]) for rows in excluded]
    for query, ranks in enumerate(ranking.relevant_ranks(scores_QC, ids, relevant, excluded)):
        rows = [row for row in range(60) if row not in excluded[query]]
        order = sorted(rows, key=lambda row: (scores_QC[query, row], ids[row]), reverse=True)
        assert sorted(order.index(row) + 1 for row in relevant[query]) == ranks.tolist()


def ranks_of_each(scores, ids, excluded=()):
    """Rank of each row as the only answer, infinite for those left out."""
    scores = np.array([scores])
    left_out = [set(excluded)] if excluded else []
    return [
        np.inf if row in excluded else ranking.relevant_ranks(scores, ids, [{row}], left_out)[0][0]
        for row in range(len(ids))
    ]


def test_equal_scores_rank_in_descending_order_of_id():
    assert ranks_of_each([0, 0, 0], ["a", "c", "b"]) == [3, 1, 2]
    # As text, not as numbers: "9" is after "10".
    assert ranks_of_each([0, 0, 0], ["10", "9", "100"]) == [3, 1, 2]


def test_excluded_rows_take_no_rank():
    scores = np.array([[0.9, 0.8, 0.7, 0.6]])
    (ranks,) = ranking.relevant_ranks(scores, list("abcd"), [{1, 3}], [{0}])
    assert ranks.tolist() == [1.0, 3.0]
    assert ranks_of_each([0.9, 0.8, 0.7, 0.6], list("abcd"), {0}) == [np.inf, 1, 2, 3]


def test_excluded_rows_rank_below_the_lowest_scores():
    lowest = -float(np.finfo(np.float32).max)
    assert ranks_of_each([1.0, lowest], ["a", "b"], {0}) == [np.inf, 1]


HAND = [np.array([1.0, 3.0, 11.0])]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mrr", 1.0),
        ("recall@1", 1 / 3),
        ("recall@10", 2 / 3),
        ("ndcg@10", (1 + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2)),
        ("ndcg@1", 1.0),
        ("map", (1 + 2 / 3 + 3 / 11) / 3),
        ("map@r", (1 + 2 / 3) / 3),
    ],
)
def test_worked_by_hand(name, value):
    assert ranking.metric(name)(HAND)[0] == pytest.approx(value, abs=1e-15)


def test_map_at_r_on_the_example_of_codexglue():
    """Six programs of two problems; the two best candidates of each, as in the README of POJ-104's evaluator."""
    best = {0: [3, 2], 1: [0, 4], 2: [0, 1], 3: [4, 2], 4: [1, 5], 5: [4, 3]}
    scores = np.zeros((6, 6))
    for query, (first, second) in best.items():
        scores[query, first], scores[query, second] = 2, 1
    relevant = [frozenset(range(query // 3 * 3, query // 3 * 3 + 3)) - {query} for query in range(6)]
    ranks = ranking.relevant_ranks(scores, list("012345"), relevant, [{query} for query in range(6)])
    assert ranking.average_precision_at_r(ranks).tolist() == [0.25, 0.5, 1.0, 0.5, 0.25, 1.0]


def test_answers_that_were_not_retrieved_count():
    ranks = [np.array([2.0, np.inf]), np.array([np.inf])]
    assert ranking.metric("mrr")(ranks).tolist() == [0.5, 0.0]
    assert ranking.metric("map")(ranks).tolist() == [0.25, 0.0]
    assert ranking.metric("recall@10")(ranks).tolist() == [0.5, 0.0]
    assert ranking.metric("ndcg@10")(ranks)[1] == 0.0


@pytest.mark.parametrize("name", ["mrr@", "recall", "ndcg@0", "recall@-1", "p@3", ""])
def test_unknown_metric(name):
    with pytest.raises(ValueError, match="no metric"):
        ranking.metric(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a", "b"]}, "for 2 ids"),
        ({"ids": ["a", "b", "a"]}, "ids repeat"),
        ({"relevant": [{0}, {1}]}, "2 sets of relevant rows"),
        ({"relevant": [set()]}, "query 0 has no relevant row"),
        ({"excluded": [{0}]}, "a relevant row is excluded"),
        ({"excluded": [{1}, {1}]}, "2 sets of excluded rows"),
        ({"scores_QC": np.array([[1.0, np.nan, 0.0]])}, "not finite"),
    ],
)
def test_contradictions_are_refused(change, message):
    given_ = {"scores_QC": np.zeros((1, 3)), "ids": list("abc"), "relevant": [{0}], **change}
    with pytest.raises(ValueError, match=message):
        ranking.relevant_ranks(**given_)


@st.composite
def runs(draw):
    num_rows = draw(st.integers(2, 12))
    row = st.lists(st.integers(-3, 3), min_size=num_rows, max_size=num_rows)
    scores = np.array(draw(st.lists(row, min_size=1, max_size=3)), dtype=np.float32)
    rows = st.sets(st.integers(0, num_rows - 1), min_size=1)
    relevant = [draw(rows) for _ in scores]
    order = draw(st.permutations(range(num_rows)))
    return scores, relevant, order


@given(runs())
def test_order_of_the_corpus_changes_nothing(run):
    scores, relevant, order = run
    ids = [f"row {row}" for row in range(scores.shape[1])]
    before = ranking.relevant_ranks(scores, ids, relevant)
    place = {row: number for number, row in enumerate(order)}
    after = ranking.relevant_ranks(
        scores[:, order], [ids[row] for row in order], [{place[row] for row in rows} for rows in relevant]
    )
    for name in NAMES:
        assert ranking.metric(name)(before).tolist() == ranking.metric(name)(after).tolist()


@given(runs(), st.integers(-5, 5))
def test_a_constant_changes_nothing(run, constant):
    scores, relevant, _ = run
    ids = [f"row {row}" for row in range(scores.shape[1])]
    before = ranking.relevant_ranks(scores, ids, relevant)
    after = ranking.relevant_ranks(scores + constant, ids, relevant)
    assert [ranks.tolist() for ranks in before] == [ranks.tolist() for ranks in after]


@given(runs())
def test_values_lie_between_0_and_1_and_a_perfect_run_has_1(run):
    scores, relevant, _ = run
    ids = [f"row {row}" for row in range(scores.shape[1])]
    perfect = np.array([[float(row in rows) for row in range(scores.shape[1])] for rows in relevant])
    for name in NAMES:
        values = ranking.metric(name)(ranking.relevant_ranks(scores, ids, relevant))
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
        if not name.startswith("recall"):
            best = ranking.metric(name)(ranking.relevant_ranks(perfect, ids, relevant))
            np.testing.assert_allclose(best, 1.0, atol=1e-12)


labelled = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=20).filter(
    lambda pairs: any(label for _, label in pairs)
)


def brute_f1(scores, labels, threshold):
    called = [score >= threshold for score in scores]
    both = sum(a and b for a, b in zip(called, labels, strict=True))
    precision, found = both / max(1, sum(called)), both / sum(labels)
    return 2 * precision * found / (precision + found) if both else 0.0


@given(labelled)
def test_threshold_has_the_best_f1_of_all(pairs):
    scores, labels = zip(*pairs, strict=True)
    threshold = best_f1_threshold(scores, labels)
    best = max(brute_f1(scores, labels, one) for one in {*scores, max(scores) + 1})
    assert brute_f1(scores, labels, threshold) == pytest.approx(best, abs=1e-12)
    called = [score >= threshold for score in scores]
    assert f1(called, labels) == pytest.approx(best, abs=1e-12)


def test_threshold_is_half_way_or_the_lowest_score():
    assert best_f1_threshold([0.9, 0.5, 0.1], [True, False, False]) == pytest.approx(0.7)
    assert best_f1_threshold([0.9, 0.5], [True, True]) == 0.5
    close = np.nextafter(1.0, 2.0)
    assert best_f1_threshold([close, 1.0], [True, False]) == close


def test_average_precision_of_pairs_by_hand():
    assert average_precision_of_pairs([3, 2, 1, 0], [True, False, True, False]) == pytest.approx((1 + 2 / 3) / 2)
    # Two pairs of one score are one step: precision 1/2 for both.
    assert average_precision_of_pairs([1, 1], [True, False]) == average_precision_of_pairs([1, 1], [False, True]) == 0.5


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [([1.0], [False], "no label is positive"), ([1.0, 2.0], [True], "scores for"), ([np.inf], [True], "not finite")],
)
def test_decisions_without_sense_are_refused(scores, labels, message):
    for function in (best_f1_threshold, average_precision_of_pairs):
        with pytest.raises(ValueError, match=message):
            function(scores, labels)
