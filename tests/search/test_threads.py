"""One open index and many threads: the answers of one thread, and nobody waits for the model of another."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from index_doubles import write_file, write_tree

from mose import CodeIndex, Encoder, SearchOptions
from mose.errors import CodeIndexError
from mose.search import connections
from mose.search.lifecycle import forget, rebuild
from mose.search.store.location import index_folder

NUM_THREADS = 12
GUARD_S = 60
"""How long a thread is waited for that should not have to wait at all."""
WORDS = ("open", "proxy", "date", "cache", "token", "route", "match", "close")
QUERIES = ("open a proxy", "match the route of a date", "close_cache", "token.route", "drop what is in the cache")
PATIENT = SearchOptions(budget_s=600)
EVERY_WAY = (
    PATIENT,
    SearchOptions(budget_s=600, exit=2),
    SearchOptions(budget_s=600, exit=0),
    SearchOptions(budget_s=600, exit=3, width=64, per_file=False),
    SearchOptions(mode="lexical", limit=3),
    SearchOptions(mode="dense", exit=0, path="open_*.py"),
)


@pytest.fixture
def tree(tmp_path):
    pairs = [(one, other) for one in WORDS for other in WORDS if one != other]
    return write_tree(
        tmp_path / "tree",
        {f"{one}_{other}.py": f"def {one}_{other}(value):\n    return {other}.{one}(value)\n" for one, other in pairs},
    )


def answer(index, task):
    kind, what, options = task
    if kind == "search":
        return list(index.search(what, options))
    if kind == "like":
        return list(index.like(what, 1, options))
    if kind == "refresh":
        return index.refresh().num_changed
    return index.status().num_chunks


def tasks():
    for options in EVERY_WAY:
        yield from (("search", query, options) for query in QUERIES)
        yield from (("like", path, options) for path in ("open_date.py", "route_match.py"))
    yield from (("refresh", "", None), ("status", "", None)) * 3


def test_many_threads_get_the_answers_of_one(tree, home, monkeypatch):
    todo = list(tasks())
    with CodeIndex.open(tree) as index:
        expected = [answer(index, task) for task in todo]
    monkeypatch.setenv("MOSE_HOME", str(home / "another"))  # nothing is read yet
    together = threading.Barrier(NUM_THREADS)

    def work(index, seed):
        own = list(enumerate(todo))
        random.Random(seed).shuffle(own)
        together.wait(GUARD_S)
        return {number: answer(index, task) for number, task in own}

    with CodeIndex.open(tree) as index, ThreadPoolExecutor(NUM_THREADS) as pool:
        for found in pool.map(work, [index] * NUM_THREADS, range(NUM_THREADS)):
            assert [found[number] for number in range(len(todo))] == expected
        database = index.store.path
    assert not is_open(database)


def is_open(path):
    links = Path("/proc/self/fd")
    if not links.exists():
        return False
    return any(os.path.realpath(link) == str(path.resolve()) for link in links.iterdir())


def test_no_thread_waits_while_another_reads_code(tree, monkeypatch):
    reading, others_are_done = threading.Event(), threading.Event()
    encode = Encoder.encode

    def slow(self, texts, *, kind="code", **options):
        if kind == "code":
            reading.set()
            assert others_are_done.wait(GUARD_S), "the others had to wait"
        return encode(self, texts, kind=kind, **options)

    with CodeIndex.open(tree) as index, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Encoder, "encode", slow)
        reader = pool.submit(index.search, "open a proxy", PATIENT)
        assert reading.wait(GUARD_S)
        assert index.search("match a route", SearchOptions(budget_s=0))
        assert index.status().num_chunks > 0
        assert not index.refresh().busy
        others_are_done.set()
        assert reader.result(GUARD_S)[0].parts.exit == 6


def test_index_closed_during_a_search_gives_its_answer_and_closes_its_files(tree, monkeypatch):
    reading, is_closed = threading.Event(), threading.Event()
    encode = Encoder.encode

    def slow(self, texts, *, kind="code", **options):
        if kind == "code":
            reading.set()
            assert is_closed.wait(GUARD_S)
        return encode(self, texts, kind=kind, **options)

    index = CodeIndex.open(tree)
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Encoder, "encode", slow)
        reader = pool.submit(index.search, "open a proxy", PATIENT)
        assert reading.wait(GUARD_S)
        index.close()
        is_closed.set()
        assert reader.result(GUARD_S)
    assert not is_open(index.store.path)
    with pytest.raises(CodeIndexError, match="closed here"):
        index.search("open a proxy")


def test_only_a_few_connections_are_kept(tree, monkeypatch):
    monkeypatch.setattr(connections, "MAX_IDLE", 2)
    with CodeIndex.open(tree) as index, ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(index.search, QUERIES * 8))
        assert len(index._connections._idle) <= 3


@pytest.mark.parametrize("exchange", [None, forget, lambda tree: rebuild(index_folder(tree))])
def test_threads_go_on_while_the_tree_changes_and_the_index_is_exchanged(tree, exchange):
    is_over = threading.Event()

    def search_on(index):
        count = 0
        while not is_over.is_set() or not count:
            assert index.search("token_route", PATIENT)[0].path == "token_route.py"
            assert index.like("token_route.py", 1)
            count += 1
        return count

    with CodeIndex.open(tree) as index, ThreadPoolExecutor(NUM_THREADS) as pool:
        searchers = [pool.submit(search_on, index) for _ in range(4)]
        try:
            for number in range(6):
                write_file(tree / "changing.py", f"def changing_{number}():\n    return {number}\n", age_s=50 - number)
                if exchange is not None:
                    exchange(tree)
                index.refresh()
        finally:
            is_over.set()
        assert all(searcher.result(GUARD_S) for searcher in searchers)
        index.refresh()
        after = [list(index.search(query, PATIENT)) for query in (*QUERIES, "changing")]
    with CodeIndex.open(tree) as index:
        assert [list(index.search(query, PATIENT)) for query in (*QUERIES, "changing")] == after
    assert after[-1][0].symbol == "changing_5"
