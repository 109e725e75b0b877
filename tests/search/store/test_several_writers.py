from __future__ import annotations

import os
import subprocess
import sys

import pytest
from index_doubles import (
    WordEncoder,
    content,
    fresh_content,
    many_files,
    vector_matrix,
    widths_of,
    write_file,
    write_tree,
)

from mose.errors import CodeIndexError
from mose.search.deepen import deepen
from mose.search.refresh import refresh
from mose.search.store import exit_vectors
from mose.search.store.location import index_folder
from mose.search.store.lock import writer_lock
from mose.search.store.store import Store

# ---- several processes


def test_second_writer_can_go_on_without_writing(store, tree):
    write_file(tree / "new.py", "x = 1\n")
    with writer_lock(store.base, wait=True):
        report = refresh(store, tree, WordEncoder(), wait=False)
        deepened = deepen(store, WordEncoder(), 6, ids=store.chunk_ids(), wait=False)
    assert report.busy
    assert "new.py" not in store.chunk_table().paths
    assert not deepened.stored
    assert len(deepened.vectors) == len(store.chunk_ids())
    assert widths_of(store) == {0: 8}
    assert deepen(store, WordEncoder(), 6).num_reused == len(store.chunk_ids())


def test_two_processes_index_one_tree_at_once(tmp_path):
    tree = many_files(tmp_path, 120)
    program = (
        "import sys; from pathlib import Path; from index_doubles import WordEncoder\n"
        "from mose.search.refresh import refresh; from mose.search.store.location import index_folder\n"
        "from mose.search.store.store import Store; from mose.search import deepen as deepening\n"
        "deepening.FIRST_WINDOW = deepening.LARGEST_WINDOW = 8\n"
        "with Store.open(index_folder(Path(sys.argv[1]))) as store:\n"
        "    for _ in range(3):\n"
        "        refresh(store, Path(sys.argv[1]), WordEncoder())\n"
        "        deepening.deepen(store, WordEncoder(), 6)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, str(tree)]
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 3
    with Store.open(index_folder(tree)) as store:
        assert len(vector_matrix(store, 6)[2]) == 120, "a vector was stored twice"
        assert content(store, (0, 6)) == fresh_content(tree, tmp_path, (0, 6))


# ---- full disk


def test_full_database_is_a_clear_error_and_the_index_stays_usable(store, tree, tmp_path):
    before = content(store)
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    write_tree(tree, {f"more{n}.py": f"def more_{n}():\n    return {n}\n" * 40 for n in range(50)})
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(CodeIndexError, match="disk is full") as caught:
        refresh(store, tree, WordEncoder())
    assert str(store.path) in str(caught.value)
    assert "MOSE_HOME" in str(caught.value)
    assert content(store)["words"] == before["words"]
    assert not store.status().complete
    store.connection.execute("PRAGMA max_page_count = 1000000")
    refresh(store, tree, WordEncoder())
    assert content(store) == fresh_content(tree, tmp_path)


def test_full_disk_under_the_vectors_leaves_words_to_search_and_is_made_up_for(store, tree, tmp_path, monkeypatch):
    write_file(tree / "new.py", "def brand_new_thing():\n    return 1\n")
    with monkeypatch.context() as patch:
        patch.setattr(exit_vectors.os, "write", _no_space)
        with pytest.raises(CodeIndexError, match="No space left"):
            refresh(store, tree, WordEncoder())
    assert len(store.lexical("brand")[0]) == 1
    assert not store.complete
    refresh(store, tree, WordEncoder())
    assert content(store) == fresh_content(tree, tmp_path)


def _no_space(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("limit_bytes", [60_000, 150_000])
def test_disk_that_takes_no_more_is_a_clear_error_in_a_whole_process(tmp_path, limit_bytes):
    tree = many_files(tmp_path, 300)
    program = (
        "import resource, sys; from pathlib import Path; from index_doubles import WordEncoder\n"
        "from mose.errors import CodeIndexError; from mose.search.refresh import refresh\n"
        "from mose.search.store.location import index_folder; from mose.search.store.store import Store\n"
        "limit = int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "try:\n"
        "    with Store.open(index_folder(Path(sys.argv[1]))) as store:\n"
        "        refresh(store, Path(sys.argv[1]), WordEncoder())\n"
        "except CodeIndexError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, str(tree), str(limit_bytes)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert str(index_folder(tree)) in ended.stdout
    assert "MOSE_HOME" in ended.stdout
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        assert content(store) == fresh_content(tree, tmp_path)
