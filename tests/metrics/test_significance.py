"""Intervals and p-values: known cases, and coverage on data without a difference."""

import numpy as np
import pytest
from scipy import stats

from mose.metrics.significance import (
    bootstrap_interval,
    holm,
    pairwise_p_values,
    permutation_test,
    two_stage_interval,
)


def test_interval_of_one_task_is_close_to_theory():
    difference = np.random.default_rng(1).normal(0.2, 1.0, size=400)
    interval = bootstrap_interval([difference])
    error = difference.std() / 20
    assert interval.mean == pytest.approx(difference.mean())
    assert interval.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.1 * error)


def test_tasks_have_equal_weight_whatever_their_size():
    big, small = np.full(1000, 0.5), np.full(10, -0.1)
    interval = bootstrap_interval([big, small])
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.2, 0.2, 0.2))
    assert interval.excludes_zero


def test_the_same_seed_gives_the_same_interval_however_it_is_cut():
    difference = np.random.default_rng(2).normal(size=50)
    first = bootstrap_interval([difference], rounds=500)
    assert first == bootstrap_interval([difference], rounds=500)
    assert first != bootstrap_interval([difference], rounds=500, seed=1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    inside = 0
    for seed in range(300):
        interval = bootstrap_interval([rng.normal(0.3, 1, size=60)], level=0.9, rounds=400, seed=seed)
        inside += interval.low <= 0.3 <= interval.high
    assert 0.84 <= inside / 300 <= 0.95


def test_clusters_that_differ_make_a_two_stage_interval_as_wide_as_they_differ():
    offsets = np.random.default_rng(4).normal(0, 1, size=25)
    tasks = [np.random.default_rng(task).normal(offset, 0.1, size=20) for task, offset in enumerate(offsets)]
    plain, clustered = bootstrap_interval(tasks), two_stage_interval(tasks)
    assert clustered.mean == plain.mean
    error = np.std([task.mean() for task in tasks]) / 5
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert plain.high - plain.low < (clustered.high - clustered.low) / 5


def test_a_pooled_interval_counts_every_query_the_same():
    clusters = [np.zeros(30), np.ones(10)]
    pooled = two_stage_interval(clusters, pooled=True)
    assert pooled.mean == 0.25
    assert (pooled.low, pooled.high) == (0.0, 1.0)  # both clusters drawn from one
    assert two_stage_interval(clusters).mean == 0.5


def test_a_pooled_interval_of_equal_clusters_is_the_interval_of_their_means():
    clusters = [np.random.default_rng(seed).normal(size=20) for seed in range(5)]
    pooled, plain = two_stage_interval(clusters, pooled=True), two_stage_interval(clusters)
    assert (pooled.mean, pooled.low, pooled.high) == pytest.approx((plain.mean, plain.low, plain.high))


def test_a_cluster_alone_is_resampled_by_its_queries():
    difference = np.random.default_rng(5).normal(size=100)
    plain, clustered = bootstrap_interval([difference]), two_stage_interval([difference])
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high), abs=0.02)


def test_queries_that_share_a_cluster_are_drawn_together_in_all_tasks():
    difference, numbers = np.random.default_rng(6).normal(size=80), np.arange(80)
    alone = bootstrap_interval([difference], [numbers])
    same = bootstrap_interval([difference, difference], [numbers, numbers])
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high), abs=1e-12)
    apart = bootstrap_interval([difference, difference], [numbers, 80 + numbers])
    assert apart.high - apart.low == pytest.approx((same.high - same.low) / np.sqrt(2), rel=0.05)


def test_clusters_of_one_query_change_no_interval():
    difference = np.random.default_rng(7).normal(size=100)
    plain, clustered = bootstrap_interval([difference]), bootstrap_interval([difference], [np.arange(100)])
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high), abs=0.02)


def test_interval_of_clusters_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(8)
    numbers = np.repeat(np.arange(40), 5)
    inside = 0
    for seed in range(300):
        difference = np.repeat(rng.normal(0.3, 1, size=40), 5) + rng.normal(0, 0.3, size=200)
        interval = bootstrap_interval([difference], [numbers], level=0.9, rounds=400, seed=seed)
        inside += interval.low <= 0.3 <= interval.high
    assert 0.82 <= inside / 300 <= 0.95


def test_interval_around_zero_is_not_a_difference():
    assert not bootstrap_interval([np.array([1.0, -1.0, 1.0, -1.0])]).excludes_zero


@pytest.mark.parametrize("differences", [[], [np.array([])], [np.ones(3), np.array([])]])
def test_nothing_to_resample(differences):
    with pytest.raises(ValueError, match="no paired differences"):
        bootstrap_interval(differences)
    with pytest.raises(ValueError, match="no paired differences"):
        two_stage_interval(differences)


def test_few_queries_are_tested_exactly():
    # 2 of the 2**5 sign patterns are as extreme as five equal differences.
    assert permutation_test(np.full(5, 0.3)) == 2 / 32
    assert permutation_test(np.array([3.0, -1.0])) == 1.0
    assert permutation_test(np.zeros(4)) == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scipy_where_all_patterns_are_tried(seed):
    difference = np.random.default_rng(seed).normal(0.4, 1, size=11)
    theirs = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert permutation_test(difference) == pytest.approx(theirs.pvalue)


def test_drawn_patterns_come_close_to_all_patterns():
    difference = np.random.default_rng(5).normal(0.5, 1, size=12)
    exact = permutation_test(difference, rounds=4096)
    drawn = permutation_test(difference, rounds=4095)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.03)


def test_p_is_never_zero_and_small_for_a_clear_difference():
    assert permutation_test(np.random.default_rng(0).normal(1, 1, size=500), rounds=999) == 1 / 1000


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(6)
    alarms = sum(permutation_test(rng.normal(size=40), rounds=199, seed=seed) <= 0.05 for seed in range(400))
    assert alarms / 400 <= 0.085


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_exits_that_score_alike_do_not_differ():
    rng = np.random.default_rng(7)
    shallow = rng.normal(0, 1, size=200)
    p_values = pairwise_p_values(
        np.stack([shallow, shallow, shallow + 0.5 + rng.normal(0, 0.1, size=200)]), rounds=2000
    )
    assert p_values[0, 1] == 1.0
    assert p_values[0, 2] == p_values[2, 0] < 0.01
    assert np.diag(p_values).tolist() == [1.0] * 3
