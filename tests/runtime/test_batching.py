"""Spreading texts over threads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mose.runtime import batching
from mose.runtime.batching import batches, run_all, windows


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 500))
def test_every_row_comes_once_within_the_budget(lengths, budget):
    made = list(batches(lengths, token_budget=budget))
    assert sorted(row for rows in made for row in rows) == list(range(len(lengths)))
    assert all(len(rows) == 1 or sum(lengths[row] for row in rows) <= budget for rows in made)
    flat = [lengths[row] for rows in made for row in rows]
    assert flat == sorted(flat, reverse=True)


@given(st.integers(0, 5000))
def test_windows_cover_all_texts_once(num_texts):
    assert [i for window in windows(num_texts) for i in range(window.start, window.stop)] == list(range(num_texts))


@pytest.fixture(autouse=True)
def one_row_at_a_time(monkeypatch):
    monkeypatch.setattr(batching, "TOKEN_BUDGET", 1)


class CountingSession:
    def __init__(self, delay_s=0.0):
        self.delay_s = delay_s
        self.ran = []
        self.threads = set()

    def run(self, token_ids):
        time.sleep(self.delay_s)
        self.ran.append(token_ids)
        self.threads.add(threading.get_ident())
        return {"out": np.array(token_ids, dtype=np.float32)}


def test_threads_share_the_work():
    session = CountingSession(delay_s=0.01)
    done = dict(
        (row, value.tolist())
        for rows, outputs in run_all(session, [[i] for i in range(8)], threads=3)
        for row, value in zip(rows, outputs["out"], strict=True)
    )
    assert done == {row: [row] for row in range(8)}
    assert len(session.threads) > 1


def test_leaving_early_leaves_the_rest_undone():
    session = CountingSession(delay_s=0.02)
    for _ in run_all(session, [[i] for i in range(50)], threads=2):
        break
    assert len(session.ran) < 10


def test_error_in_a_thread_reaches_the_caller():
    class Broken:
        def run(self, token_ids):
            raise ValueError("no such token")

    with pytest.raises(ValueError, match="no such token"):
        list(run_all(Broken(), [[1], [2]], threads=2))
