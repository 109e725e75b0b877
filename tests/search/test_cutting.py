from __future__ import annotations

import os
import sys

from index_doubles import SOURCES, WordEncoder, content, write_file, write_tree

from mose.files import SourceFile, WalkLimits, walk
from mose.search import cutting
from mose.search.chunks import ChunkerConfig
from mose.search.indexer import refresh
from mose.search.location import index_folder
from mose.search.preparing import CutTask
from mose.search.store import Store
from mose.search.writing import set_meta


def test_workers_cut_as_this_process_does_and_in_order(tmp_path):
    files = {f"d{n % 7}/f{n}.py": f"def function_{n}(value):\n    return value + {n}\n" * 30 for n in range(150)}
    tree = write_tree(tmp_path / "many", files)
    with Store.open(tmp_path / "one") as one, Store.open(tmp_path / "two") as two:
        refresh(one, tree, WordEncoder(), num_workers=0)
        refresh(two, tree, WordEncoder(), num_workers=2)
        assert one.chunk_table().paths == two.chunk_table().paths
        assert content(one) == content(two)


def test_file_that_kills_its_worker_is_left_out_and_counted(tmp_path, monkeypatch):
    patch = tmp_path / "patch"
    write_file(
        patch / "sitecustomize.py",
        "import os, mose.files\n"
        "read = mose.files.read_source\n"
        "def read_source(root, file, limits):\n"
        "    if file.path == 'killer.py':\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return read(root, file, limits)\n"
        "mose.files.read_source = read_source\n",
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(patch), *filter(None, sys.path)]))
    tree = write_tree(tmp_path / "tree", SOURCES | {"killer.py": "x = 1\n", "zebra.py": "y = 1\n"})
    monkeypatch.setattr(cutting, "GROUP_FILES", 2)
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder(), num_workers=1)
        assert store.status().skipped == {cutting.CRASHED: 1}
        assert sorted(store.chunk_table().paths) == sorted([*SOURCES, "zebra.py"])
        assert store.complete


def test_after_a_refresh_that_died_files_are_cut_in_a_worker(store, tree, monkeypatch):
    write_file(tree / "new.py", "x = 1\n")
    set_meta(store, complete="0")
    with monkeypatch.context() as patch:
        patch.setattr(cutting, "cut_file", None)  # of this process
        assert refresh(store, tree, WordEncoder()).num_added == 1
    assert store.complete
    write_file(tree / "newer.py", "x = 1\n")
    monkeypatch.setattr(cutting, "_Worker", None)
    assert refresh(store, tree, WordEncoder()).num_added == 1


def test_workers_are_gone_when_their_work_is_broken_off(tmp_path):
    tree = write_tree(tmp_path / "many", {f"f{n}.py": f"x{n} = 1\n" * 200 for n in range(200)})
    tasks = [CutTask(file=file) for file in walk(tree) if isinstance(file, SourceFile)]
    cut = cutting.cut_files(tree, tasks, WalkLimits(), ChunkerConfig(), num_workers=2)
    assert next(cut).path == "f0.py"
    before = _children()
    assert len(before) >= 2
    cut.close()
    assert len(_children()) == len(before) - 2


def _children():
    return [
        pid
        for pid in os.listdir("/proc")
        if pid.isdigit() and f"PPid:\t{os.getpid()}\n" in _read(f"/proc/{pid}/status")
    ]


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
