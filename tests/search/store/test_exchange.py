"""An index that is made anew or removed while others have it open, killed at any step included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from index_doubles import WordEncoder, content, fresh_content, many_files, vector_matrix, widths_of, write_file
from rounds import ROUNDS

from mose import CodeIndex, SearchOptions
from mose.errors import CodeIndexError, IndexReplacedError
from mose.search.chunking.chunk import embedding_text
from mose.search.deepen import deepen, fill_exit_0
from mose.search.lifecycle import forget, rebuild
from mose.search.refresh import refresh
from mose.search.store.exchange import exchanging, replace_index
from mose.search.store.location import current_index, index_folder
from mose.search.store.store import Store
from mose.search.store.write import merge_words, set_meta, transaction, write_files, write_skipped
from mose.search.store.write_vectors import repair_vectors, write_vectors


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _write_a_vector(store):
    write_vectors(store, 6, "words-1", store.chunk_ids()[:1], np.eye(1, 12, dtype=np.float32))


def _change_in_a_transaction(store):
    with transaction(store):
        store.connection.execute("DELETE FROM chunks")


WRITERS = {
    "refresh": lambda store, tree: refresh(store, tree, WordEncoder()),
    "deepen": lambda store, tree: deepen(store, WordEncoder(), 6),
    "deepen some": lambda store, tree: deepen(store, WordEncoder(), 6, ids=store.chunk_ids()[:2], wait=False),
    "write_vectors": lambda store, tree: _write_a_vector(store),
    "repair_vectors": lambda store, tree: repair_vectors(store),
    "fill_exit_0": lambda store, tree: (
        store.connection.execute("DELETE FROM runs"),
        fill_exit_0(store, WordEncoder()),
    ),
    "merge_words": lambda store, tree: merge_words(store),
    "write_skipped": lambda store, tree: write_skipped(store, {}),
    "write_files": lambda store, tree: write_files(store, removed=[1], files=[]),
    "set_meta": lambda store, tree: set_meta(store, root="elsewhere"),
    "transaction": lambda store, tree: _change_in_a_transaction(store),
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_writer_touches_an_index_that_was_made_anew_meanwhile(store, tree, name):
    rebuild(index_folder(tree))
    with Store.open(index_folder(tree)) as new:
        refresh(new, tree, WordEncoder())
        before = content(new, (0, 6))
    files = _files(store.base)
    write_file(tree / "new.py", "def brand_new():\n    return 1\n")
    with pytest.raises(IndexReplacedError, match="rebuilt by another process"):
        WRITERS[name](store, tree)
    store.close()
    assert _files(store.base) == files
    with Store.open(index_folder(tree)) as new:
        assert content(new, (0, 6)) == before


@pytest.mark.parametrize("name", WRITERS)
def test_no_writer_brings_back_anything_of_an_index_that_was_forgotten(store, tree, name):
    forget(tree)
    write_file(tree / "new.py", "def brand_new():\n    return 1\n")
    with pytest.raises(IndexReplacedError, match="removed"):
        WRITERS[name](store, tree)
    store.close()
    assert not store.base.exists()


def test_closing_an_index_that_was_made_anew_leaves_the_new_one_alone(store, tree, tmp_path):
    """SQLite removes its log by path when the last connection closes."""
    rebuild(index_folder(tree))
    with Store.open(index_folder(tree)) as new:
        refresh(new, tree, WordEncoder())
        assert new.folder != store.folder
        store.close()
        with Store.open_to_read(index_folder(tree)) as reader:
            assert content(reader) == content(new) == fresh_content(tree, tmp_path)


# ---- an index that stays open


def _paths(hits):
    return [hit.path for hit in hits]


@pytest.mark.parametrize("exchange", [forget, lambda tree: rebuild(index_folder(tree))], ids=["forget", "rebuild"])
def test_an_open_index_goes_on_with_the_new_one(sample_tree, exchange):
    with CodeIndex.open(sample_tree) as index:
        before = index.search("read a date", SearchOptions(budget_s=60))
        (sample_tree / "src" / "clock.py").write_text("def wind_the_clock():\n    '''Winds the clock.'''\n")
        exchange(sample_tree)
        assert index.search("wind the clock", SearchOptions(budget_s=60))[0].path == "src/clock.py"
        assert _paths(index.search("read a date", SearchOptions(budget_s=60)))[0] == before[0].path
        assert index.store.is_current()
        exchange(sample_tree)
        assert index.status().complete
        exchange(sample_tree)
        assert index.like("src/dates.py", 5)
        exchange(sample_tree)
        assert index.refresh().num_added == 7 if index.store.is_current() else True


def test_an_open_index_that_must_not_be_made_says_that_it_is_gone(sample_tree):
    CodeIndex.open(sample_tree).close()
    for options in ({"create": False}, {"update": False}):
        with CodeIndex.open(sample_tree, **options) as index:
            index.search("read a date")
            forget(sample_tree)
            with pytest.raises(CodeIndexError, match="there is no index"):
                index.search("read a date")
        assert not index_folder(sample_tree).exists()
        CodeIndex.open(sample_tree).close()


# ---- many at once

SEARCHER = """
import sys
from mose import CodeIndex, SearchOptions
from mose.errors import CodeIndexError
for number in range(int(sys.argv[2])):
    try:
        if number % 2 == 0:
            index = CodeIndex.open(sys.argv[1])
        hits = index.search(f"function number {number}", SearchOptions(budget_s=0.2))
        assert hits, "no hit"
        print("answer", flush=True)
    except CodeIndexError as error:
        print("word", str(error).splitlines()[0], flush=True)
"""


def _check_every_vector(index: CodeIndex) -> None:
    """Every stored vector is the one that its chunk gets when it is encoded anew."""
    store = index.store
    for exit_layer in widths_of(store):
        ids, rows, matrix = vector_matrix(store, exit_layer)
        chunks = store.chunks(ids.tolist())
        assert [chunk.id for chunk in chunks] == ids.tolist()
        encoder = index.encoder.at(exit=exit_layer, width=index.encoder.manifest.widths[exit_layer])
        fresh = encoder.encode(
            [embedding_text(chunk, chunk.path) for chunk in chunks],
            kind="code",
            language=[chunk.language for chunk in chunks],
        )
        np.testing.assert_allclose(matrix[rows], fresh, atol=2e-2)


def test_every_vector_is_right_after_rebuilds_and_removals_beside_open_indexes(tmp_path, home):
    tree = many_files(tmp_path, 40)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    random = np.random.default_rng(11)
    answers, words = 0, set()
    with CodeIndex.open(tree) as long_lived:
        for number in range(3 * ROUNDS):
            searchers = [
                subprocess.Popen(
                    [sys.executable, "-c", SEARCHER, str(tree), "6"],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for _ in range(2)
            ]
            command = [sys.executable, "-m", "mose", "index", str(tree), "--quiet", "--exit", "2"]
            deepening = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            problems: list[BaseException] = []

            def search_on(number=number, problems=problems):
                try:
                    for turn in range(5):
                        assert long_lived.search(f"return {number + turn}", SearchOptions(budget_s=0.2))
                except BaseException as error:
                    problems.append(error)

            thread = threading.Thread(target=search_on)
            thread.start()
            for _ in range(6):
                time.sleep(random.random() * 0.4)
                write_file(tree / f"f{int(random.integers(20))}.py", f"def changed_{number}():\n    return {number}\n")
                if random.random() < 0.5:
                    forget(tree)
                else:
                    rebuild(index_folder(tree))
            thread.join()
            assert not problems, problems
            for process in searchers:
                out, err = process.communicate(timeout=120)
                assert (process.returncode, err) == (0, ""), out
                for line in out.splitlines():
                    answers += line == "answer"
                    words.update({line} - {"answer"})
            err = deepening.communicate(timeout=120)[1].decode()
            assert "Traceback" not in err
            with CodeIndex.open(tree) as index:
                assert index.status().complete
                _check_every_vector(index)
                assert index.search(f"changed {number}", SearchOptions(budget_s=60))
                _check_every_vector(index)
    print(f"{3 * ROUNDS} rounds, {answers} answers, words: {words or 'none'}")
    assert answers > 0
    forget(tree)
    assert not index_folder(tree).exists()


# ---- killed at any step

# A process that has imported everything, and forks one for each line that it reads: it is killed at that step.
KILLED = """
import os, signal, sys
from pathlib import Path
from index_doubles import WordEncoder
from mose.search.lifecycle import forget, rebuild
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store
action, tree, inside = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "inside"
kill_at = steps = 0
def step(event, args):
    global steps
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "sqlite3.connect") or (
        event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    ):
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
def act():
    if action == "forget":
        forget(tree)
    elif action == "rebuild":
        rebuild(index_folder(tree))
    else:
        with Store.open(index_folder(tree, inside=inside)) as store:
            refresh(store, tree, WordEncoder(), num_workers=0)
for line in sys.stdin:
    kill_at = int(line)
    child = os.fork()
    if child == 0:
        sys.addaudithook(step)
        act()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills with SIGKILL and forks")
@pytest.mark.parametrize("where", ["home", "inside"])
@pytest.mark.parametrize("action", ["create", "rebuild", "forget"])
def test_a_kill_at_any_step_equals_one_go(tree, tmp_path, home, action, where):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    expected = fresh_content(tree, tmp_path)
    inside = where == "inside" or None
    command = [sys.executable, "-c", KILLED, action, str(tree), where]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as forker:
        assert forker.stdin is not None and forker.stdout is not None
        for kill_at in range(1, 60):
            forget(tree)
            if action != "create":
                with Store.open(index_folder(tree, inside=inside)) as store:
                    refresh(store, tree, WordEncoder())
            forker.stdin.write(f"{kill_at}\n")
            ended = int(forker.stdout.readline())
            assert ended in (0, -signal.SIGKILL)
            if kill_at % 2 == 0 or action == "forget":
                forget(tree)
                assert not any((home / "trees").iterdir())
                assert not (tree / ".mose").exists()
            else:
                with Store.open(index_folder(tree)) as store:
                    refresh(store, tree, WordEncoder())
                    found = content(store)
                    assert {**found, "skipped": []} == {**expected, "skipped": []}  # .mose counts as hidden
                    assert len([*tree.glob(".mose/*/"), *home.glob("trees/*/*/")]) == 1
                    files = sorted(
                        path.name for path in store.base.iterdir() if path.suffix != ".new" and path.is_file()
                    )
                    assert files == ["current", "write.lock"]
            if ended == 0:
                break
        forker.stdin.close()
    assert ended == 0
    assert kill_at > 5


def test_waiting_for_the_right_to_exchange_an_index_that_is_being_removed(store, tree):
    """Whoever waits for a lock that goes away with its folder makes a folder of its own."""
    found = []

    def wait():
        with exchanging(index_folder(tree)):
            found.append(replace_index(index_folder(tree)))

    with store.writing():
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        assert found == []
    thread.join()
    assert current_index(store.base) == found[0]


@pytest.mark.parametrize("wait", [True, False], ids=["after it", "during it"])
def test_forget_leaves_nothing_of_a_tree_that_is_read_in_the_background(mose, tmp_path, home, wait):
    tree = many_files(tmp_path, 400)
    code, _, err = mose("search", "function", tree, "--deepen", "--limit", 1, "--budget", "10ms")
    assert code == 0
    process = int(err.partition("(process ")[2].partition(",")[0])
    if wait:
        _wait_for(process)
    assert mose("forget", tree)[1].startswith("Deleted")
    _wait_for(process)
    assert not any((home / "trees").iterdir())
    assert mose("forget", tree)[1] == "There was no index.\n"


def _wait_for(process: int) -> None:
    for _ in range(2000):
        with suppress(ChildProcessError):
            os.waitpid(process, os.WNOHANG)  # so that it does not stay as a zombie
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the process in the background does not end")
