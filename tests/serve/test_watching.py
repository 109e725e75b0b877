"""Trees that are watched: an open server, `mose watch`, and what both do when the system cannot tell them of changes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from serving import serving

from mose.search import refresh
from mose.search.options import SearchOptions
from mose.serve import asking
from mose.serve.trees import Trees

PATIENCE_S = 60.0


@contextmanager
def opened(*roots, keeps_up=True, **settings):
    trees = Trees(deepens=False, **settings)
    trees.load()
    served = [trees.get(root) for root in roots]
    for tree in served:
        tree.ready(threading.Event())
    if keeps_up:
        threading.Thread(target=trees.keep_up, daemon=True).start()
    try:
        yield trees, *served
    finally:
        trees.close()


def paths(trees, tree, query):
    options = SearchOptions(limit=5, exit=0)
    return [hit.path for _, hit in asking.search(trees, [tree], query, options, threading.Event()).hits]


def wait_until(is_done, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_fresh(tree):
    return tree._index.is_fresh(time.monotonic() - 0.2)


@pytest.fixture
def num_walks(monkeypatch):
    """Counts the walks of this process."""
    walks = []
    walk_tree = refresh.walk_tree

    def counted(*given):
        walks.append(given[0])
        return walk_tree(*given)

    monkeypatch.setattr(refresh, "walk_tree", counted)
    return walks


@pytest.mark.parametrize("max_age_s", [0.0, 2.0])
def test_a_question_needs_no_walk_while_nothing_has_changed(max_age_s, sample_tree, num_walks):
    with opened(sample_tree, max_age_s=max_age_s) as (trees, tree):
        wait_until(lambda: is_fresh(tree))
        tree._check_s = 1.0  # as of a tree that takes long to walk: waiting for the watcher is worth it
        num_walks.clear()
        for _ in range(5):
            assert paths(trees, tree, "parse_iso_date")
            time.sleep(0.15)
        assert num_walks == []


@pytest.mark.parametrize("keeps_up", [True, False])
def test_a_question_0_2_seconds_after_a_save_sees_it(keeps_up, sample_tree):
    with opened(sample_tree, max_age_s=2.0, keeps_up=keeps_up) as (trees, tree):
        for number in range(8):
            name = f"launch_rocket_{'abcdefgh'[number]}"
            if number % 2:
                (sample_tree / "src" / f"{name}.py").write_text(f"def {name}():\n    return {number}\n")
            else:
                (sample_tree / "src" / "dates.py").write_text(f"def {name}():\n    return {number}\n")
            time.sleep(0.2)
            assert paths(trees, tree, name)[:1] == [f"src/{name}.py" if number % 2 else "src/dates.py"], number


def test_a_call_right_after_a_save_sees_it_where_no_age_is_allowed(sample_tree):
    with opened(sample_tree, max_age_s=0.0) as (trees, tree):
        wait_until(lambda: is_fresh(tree))
        for number in range(5):
            tree._check_s = 1.0
            name = f"launch_rocket_{'abcdefgh'[number]}"
            (sample_tree / "src" / "dates.py").write_text(f"def {name}():\n    return {number}\n")
            assert paths(trees, tree, name)[:1] == ["src/dates.py"]


def test_the_check_at_the_question_decides_where_nothing_is_heard(sample_tree):
    with opened(sample_tree, listens=False) as (trees, tree):
        assert tree.watch.trouble
        (sample_tree / "src" / "rocket.py").write_text("def launch_rocket():\n    return 1\n")
        assert paths(trees, tree, "launch_rocket")[:1] == ["src/rocket.py"]


def test_a_watcher_that_has_ended_does_not_vouch_for_anything(sample_tree):
    with opened(sample_tree, max_age_s=2.0, keeps_up=False) as (trees, tree):
        wait_until(lambda: tree.ready(threading.Event()) and is_fresh(tree))
        tree.watch._listener.stop.set()
        wait_until(lambda: not tree.watch._listener.is_alive)
        (sample_tree / "src" / "rocket.py").write_text("def launch_rocket():\n    return 1\n")
        time.sleep(0.2)
        assert paths(trees, tree, "launch_rocket")[:1] == ["src/rocket.py"]


def test_an_index_that_another_process_has_emptied_is_not_taken_for_fresh(sample_tree, mose):
    with opened(sample_tree, max_age_s=2.0) as (trees, tree):
        wait_until(lambda: is_fresh(tree))
        assert mose("forget", sample_tree)[0] == 0
        time.sleep(0.2)
        assert paths(trees, tree, "parse_iso_date")[:1] == ["src/dates.py"]


def test_a_tree_that_vanishes_and_comes_back_is_found_again(sample_tree):
    with opened(sample_tree, max_age_s=2.0) as (trees, tree):
        wait_until(lambda: is_fresh(tree))
        sample_tree.rename(sample_tree.parent / "away")
        time.sleep(0.5)
        (sample_tree / "src").mkdir(parents=True)
        (sample_tree / "src" / "rocket.py").write_text("def launch_rocket():\n    return 1\n")
        time.sleep(0.2)
        assert paths(trees, tree, "launch_rocket")[:1] == ["src/rocket.py"]
        wait_until(lambda: is_fresh(tree))
        (sample_tree / "src" / "other.py").write_text("def land_rocket():\n    return 1\n")
        time.sleep(0.2)
        assert paths(trees, tree, "land_rocket")[:1] == ["src/other.py"]


def test_another_branch_of_a_thousand_files_is_read_before_anybody_asks(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()

    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=b", *words], cwd=tree, check=True, capture_output=True
        )

    git("init", "-q", "-b", "main")
    for branch in ("main", "other"):
        if branch == "other":
            git("checkout", "-q", "-b", "other")
            shutil.rmtree(tree / "part0")
        for number in range(1_000):
            path = tree / f"part{number % 20}" / branch / f"{number}.py" if number % 3 else tree / f"{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"def {branch}_{number}():\n    return '{branch}'\n")
        git("add", "-A")
        git("commit", "-q", "-m", branch)
    git("checkout", "-q", "main")
    with opened(tree, max_age_s=2.0) as (trees, served):
        wait_until(lambda: is_fresh(served))
        git("checkout", "-q", "other")
        wait_until(lambda: served.watch.has_changed(), 5)
        wait_until(lambda: is_fresh(served))
        files = {row[0] for row in served._index.store.rows("SELECT path FROM files")}
        assert files == {str(path.relative_to(tree)) for path in tree.rglob("*.py")}
        assert paths(trees, served, "other_7")


def test_http_sees_a_save_after_200_ms(sample_tree):
    with serving(sample_tree) as server:
        server.post("/search", query="parse_iso_date")
        time.sleep(1.0)
        for number in range(5):
            name = f"launch_rocket_{'abcdefgh'[number]}"
            (sample_tree / "src" / "dates.py").write_text(f"def {name}():\n    return {number}\n")
            time.sleep(0.2)
            status, found = server.post("/search", query=name, exit=0)
            assert (status, [hit["path"] for hit in found["hits"]][:1]) == (200, ["src/dates.py"])


# ---- mose watch


class Watching:
    """A running `mose watch --json`."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mose", "watch", "--json", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
        )  # fmt: skip

    def line(self):
        return json.loads(self.process.stdout.readline())

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        assert "Traceback" not in err and "should not have happened" not in err, err
        return self.process.returncode, err


@contextmanager
def watching(*words):
    watching = Watching(*words)
    try:
        yield watching
    finally:
        if watching.process.poll() is None:
            watching.end()


def test_mose_watch_reports_each_batch_and_ends_at_ctrl_c(sample_tree, tmp_path, mose):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.py").write_text("def a(): return 1\n")
    with watching(sample_tree, tmp_path / "other") as watch:
        first, second = watch.line(), watch.line()
        assert (first["root"], first["added"], second["root"], second["added"]) == (
            str(sample_tree), 6, str(tmp_path / "other"), 1,
        )  # fmt: skip
        time.sleep(0.5)
        for number in range(20):
            (sample_tree / "src" / f"new{number}.py").write_text(f"def new_{number}(): return {number}\n")
        (sample_tree / "src" / "store.go").unlink()
        added = removed = 0
        while (added, removed) != (20, 1):
            line = watch.line()
            assert line["root"] == str(sample_tree)
            added, removed = added + line["added"], removed + line["removed"]
        status, out, _ = mose("search", "new_7", sample_tree, "--no-update", "--exit", "0")
        assert status == 0 and "src/new7.py" in out
        assert watch.end()[0] == 130


def test_mose_watch_waits_for_a_tree_that_is_gone(sample_tree):
    with watching(sample_tree) as watch:
        watch.line()
        time.sleep(0.5)
        sample_tree.rename(sample_tree.parent / "away")
        time.sleep(1.0)
        (sample_tree.parent / "away" / "late.py").write_text("def late(): return 1\n")
        (sample_tree.parent / "away").rename(sample_tree)
        assert watch.line()["added"] == 1
        (sample_tree / "later.py").write_text("def later(): return 1\n")
        assert watch.line()["added"] == 1
        status, err = watch.end(signal.SIGTERM)
        assert status == 128 + signal.SIGTERM
        assert err.count("is gone") == 1
        assert "\\n" not in err  # two lines, not one with a sign for the break


def test_mose_watch_looks_at_intervals_if_told_to(sample_tree):
    with watching(sample_tree, "--poll", "200ms") as watch:
        watch.line()
        (sample_tree / "late.py").write_text("def late(): return 1\n")
        assert watch.line()["added"] == 1
        status, err = watch.end()
        assert status == 130 and err.count("at intervals") == 1


def test_mose_watch_refuses_what_is_not_a_folder(tmp_path, mose):
    status, out, err = mose("watch", tmp_path / "nowhere")
    assert (status, out) == (2, "") and "nowhere" in err
