"""Answers for a budget."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from mose import CodeIndex, SearchOptions
from mose.search.ranking.fit_tokens import REPEATED, cover
from mose.search.ranking.several import fuse_for_budget


def test_by_hand_first_breadth_then_depth():
    scores, files, sizes = [1.0, 0.99, 0.95, 0.85, 0.2], [0, 0, 0, 1, 2], [40, 40, 40, 40, 40]
    assert cover(scores, files, sizes, 200) == [0, 1, 3, 2, 4]  # 1.0, .99 x .9, .85, .95 x .9 x .9, .2
    assert cover(scores, files, sizes, 199) == [0, 1, 3, 2]
    assert cover(scores, files, sizes, 39) == []


def test_what_does_not_fit_makes_room_for_what_does():
    assert cover([0.9, 0.8, 0.7], [0, 1, 2], [10, 100, 10], 20) == [0, 2]


def test_what_nothing_speaks_for_is_left_out():
    assert cover([0.5, 0.0], [0, 1], [1, 1], 10) == [0]


@pytest.mark.parametrize("seed", range(30))
def test_the_choice_is_greedy_and_never_too_large(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    scores = np.sort(rng.random(count))[::-1].tolist()
    files, sizes = rng.integers(0, 8, count).tolist(), rng.integers(1, 500, count).tolist()
    max_size = int(rng.integers(1, 5_000))
    chosen = cover(scores, files, sizes, max_size)
    assert len(set(chosen)) == len(chosen)
    left, seen = max_size, Counter()
    for position in chosen:
        worth = {
            other: scores[other] * REPEATED ** seen[files[other]]
            for other in range(count)
            if other not in chosen[: chosen.index(position)] and sizes[other] <= left
        }
        assert worth[position] == max(worth.values())
        left -= sizes[position]
        seen[files[position]] += 1
    assert left >= 0
    assert all(sizes[other] > left for other in range(count) if other not in chosen)


@pytest.mark.parametrize("max_tokens", [1, 20, 60, 150, 400, 10_000])
def test_hits_fit_into_the_budget_and_are_whole(sample_tree, max_tokens):
    with CodeIndex.open(sample_tree) as index:
        chunks = index.search("parse a date", SearchOptions(limit=1000, per_file=False))
        hits = index.search("parse a date", SearchOptions(limit_tokens=max_tokens))
    assert sum(len(hit.text) for hit in hits) <= 4 * max_tokens
    assert {(hit.path, hit.start_line, hit.text) for hit in hits} <= {
        (hit.path, hit.start_line, hit.text) for hit in chunks
    }
    if max_tokens == 10_000:
        assert len(hits) == len(chunks)


def test_several_trees_share_one_budget(sample_tree, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(sample_tree, other)
    options = SearchOptions(limit_tokens=150)
    with CodeIndex.open(sample_tree) as one, CodeIndex.open(other) as two:
        found = [one.search("parse a date", options), two.search("parse a date", options)]
    ranked = fuse_for_budget(found, 150)
    assert {number for number, _ in ranked} == {0, 1}
    assert sum(len(hit.text) for _, hit in ranked) <= 600
    assert fuse_for_budget(found[:1], 150) == [(0, hit) for hit in found[0]]


def test_the_command_shows_more_than_ten_whole_hits_if_they_fit(tmp_path, mose):
    for number in range(15):
        (tmp_path / f"part_{number}.py").write_text(f"def parse_date_{number}(text):\n    return text\n")
    code, out, _ = mose("search", "parse date", tmp_path, "--max-tokens", 1000, "--json", "--quiet")
    hits = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(hits) == 15
    code, out, _ = mose("search", "parse date", tmp_path, "--max-tokens", 30, "--quiet")
    assert code == 0 and out.count("return text") == out.count("def ") == 3  # 39 characters each
    code, _, err = mose("search", "parse date", tmp_path, "--max-tokens", 30, "--limit", 3)
    assert code == 2 and "not allowed with" in err
