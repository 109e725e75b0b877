from __future__ import annotations

import os
import subprocess
import sys

import pytest
import worker_functions
from index_doubles import SOURCES, WordEncoder, content, write_file, write_tree

from mose import workers
from mose.files import SourceFile, WalkLimits, walk
from mose.files.disk import FolderReader
from mose.search import refresh as indexer
from mose.search.chunking import cut_files as cutting
from mose.search.chunking import prepare
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.chunking.prepare import CutTask
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store
from mose.syntax import grammars, versions


def test_workers_cut_as_this_process_does_and_in_order(tmp_path):
    files = {f"d{n % 7}/f{n}.py": f"def function_{n}(value):\n    return value + {n}\n" * 30 for n in range(150)}
    tree = write_tree(tmp_path / "many", files)
    with Store.open(tmp_path / "one") as one, Store.open(tmp_path / "two") as two:
        refresh(one, tree, WordEncoder(), num_workers=0)
        refresh(two, tree, WordEncoder(), num_workers=2)
        assert one.chunk_table().paths == two.chunk_table().paths
        assert content(one) == content(two)


CONTENTS = {
    "plain": b"def f():\n    return 1\n",
    "another": b"def g():\n    return 1\n",
    "\\r\\n": b"def f():\r\n    return 1\r\n",
    "\\r": b"def f():\r    return 1\r",
    "mixed": b"def f():\r\n    return 1\r",
    "BOM": b"\xef\xbb\xbfdef f():\n    return 1\n",
    "two BOMs": b"\xef\xbb\xbf\xef\xbb\xbfdef f():\n    return 1\n",
    "UTF-16": "\ufeffdef f():\n    return 1\n".encode("utf-16-le"),
    "accents": "def f():\n    return 'é'\n".encode(),
    "accents in Latin-1": "def f():\n    return 'é'\n".encode("latin-1"),
    "binary": b"def f():\n    return 1\n\0",
    "empty": b" \n",
    "long": b"x = 1\n" * 200_000,
    "notebook": b'{"cells": [{"cell_type": "code", "source": ["x = 1"]}]}\n',
    "notebook with \\r\\n": b'{"cells": [{"cell_type": "code", "source": ["x = 1"]}]}\r\n',
}


@pytest.mark.parametrize("name", ["f.py", "f.ipynb", "f.h"])
def test_a_file_is_as_known_only_where_reading_it_in_full_says_so(tmp_path, name):
    where = (tmp_path, WalkLimits())
    file = SourceFile(name, 1, 0, "python")
    sure = set()
    for known, before in CONTENTS.items():
        (tmp_path / name).write_bytes(before)
        cut = prepare.cut_file(CutTask(file=file), *where, ChunkerConfig())
        task = CutTask(file=file, known_hash=cut.hash, known_language=cut.language, known_skip=cut.skipped)
        for now, after in CONTENTS.items():
            (tmp_path / name).write_bytes(after)
            with FolderReader(str(tmp_path)) as reader:
                as_known = prepare.file_as_known(task, reader, WalkLimits())
            if as_known is not None:
                assert as_known._replace(chunks=[]) == prepare.cut_file(task, *where, ChunkerConfig())
                sure.add((known, now))
    assert {("plain", "plain"), ("accents", "accents"), ("notebook", "notebook")} <= sure
    assert (("plain", "\\r\\n") in sure) == (name != "f.ipynb")


# Each brings down a process that parses it without limits: by memory, by a stack that overflows, by time.
BOMBS = {
    "memory.c": "=>casewhere\n" * 30_000,
    "stack.java": "{- \n" * 100_000,
    "time.ex": ("." * 1_900 + "\n") * 470,
}


def test_bombs_are_cut_by_lines_and_harm_no_other_file(tmp_path):
    tree = write_tree(tmp_path / "tree", SOURCES | BOMBS | {"zebra.py": "def zebra(): pass\n"})
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        assert store.complete
        status = store.status()
        assert status.skipped == {}
        assert sum(status.troubles.values()) == len(BOMBS)
        assert sorted(name for names in status.trouble_examples.values() for name in names) == sorted(BOMBS)
        table = store.chunk_table()
        assert sorted(table.paths) == sorted([*SOURCES, *BOMBS, "zebra.py"])
        assert "zebra" in table.symbol
        for name, text in BOMBS.items():
            chunks = [chunk for chunk in store.chunks(table.ids.tolist()) if chunk.path == name]
            assert {chunk.kind for chunk in chunks} == {"text"}
            assert max(chunk.last_line for chunk in chunks) == text.count("\n")
        _changes_nothing(store, tree)


PEAK_OF_WORKERS = """
import resource, sys
from mose.cli import main
main(["index", sys.argv[1], "--quiet"])
from mose import workers
workers.stop_idle()
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_bombs_take_little_memory(tmp_path):
    # In a process of its own: the peak that a child is charged with begins at that of the process that starts it.
    tree = write_tree(tmp_path / "tree", SOURCES | BOMBS)
    run = [sys.executable, "-c", PEAK_OF_WORKERS, str(tree)]
    kilobytes = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()[-1])
    assert 20_000 < kilobytes < 1_500_000


def _changes_nothing(store, tree):
    """Whether a further refresh has nothing to do, so that no worker is started."""
    generation = store.generation
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexer, "cut_files", None)
        refresh(store, tree, WordEncoder())
    assert store.generation == generation


@pytest.fixture
def killers(monkeypatch):
    """Makes workers die of files by their content: killed by somebody else, once or always, or by themselves."""
    monkeypatch.setattr(cutting, "cut_file", worker_functions.cut_or_die)
    workers.stop_idle()
    yield
    workers.stop_idle()


def test_file_whose_worker_dies_is_cut_by_lines(tmp_path, killers):
    tree = write_tree(tmp_path / "tree", SOURCES | {"bad.py": "# ABORT\nx = 1\n", "zebra.py": "y = 1\n"})
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder(), num_workers=2)
        assert store.status().troubles == {workers.TOO_LARGE: 1}
        assert sorted(store.chunk_table().paths) == sorted([*SOURCES, "bad.py", "zebra.py"])
        _changes_nothing(store, tree)


def test_file_that_cannot_be_cut_by_lines_either_is_left_out_with_the_reason(tmp_path, killers):
    tree = write_tree(tmp_path / "tree", SOURCES | {"bad.py": "# ABORT ALWAYS\n", "worse.py": "# RAISE ALWAYS\n"})
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        assert store.status().skipped == {workers.TOO_LARGE: 1, "failed (ValueError)": 1}
        assert sorted(store.chunk_table().paths) == sorted(SOURCES)
        _changes_nothing(store, tree)


def test_file_whose_worker_was_killed_is_cut_along_its_definitions_in_the_next_run(tmp_path, monkeypatch, killers):
    tree = write_tree(tmp_path / "tree", SOURCES | {"bad.py": "# KILL\ndef f(): pass\n"})
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        assert store.status().troubles == {workers.KILLED: 1}
        monkeypatch.setattr(cutting, "cut_file", prepare.cut_file)
        refresh(store, tree, WordEncoder())
        assert store.status().troubles == {}
        assert "f" in store.chunk_table().symbol
        _changes_nothing(store, tree)


def test_file_whose_worker_is_killed_in_two_runs_is_not_tried_for_ever(tmp_path, killers):
    tree = write_tree(tmp_path / "tree", SOURCES | {"bad.py": "# KILL\n", "worse.py": "# KILL ALWAYS\n"})
    with Store.open(index_folder(tree)) as store:
        for _ in range(2):
            refresh(store, tree, WordEncoder())
            assert store.status().troubles == {workers.KILLED: 1}
            assert store.status().skipped == {workers.KILLED: 1}
        _changes_nothing(store, tree)


def test_where_no_process_can_be_started_files_are_cut_by_lines_until_one_can(tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", SOURCES)
    workers.stop_idle()
    with Store.open(index_folder(tree)) as store:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/no/such/python")
            refresh(store, tree, WordEncoder())
        assert store.status().troubles == {workers.NO_PROCESS: 3}
        refresh(store, tree, WordEncoder())
        assert store.status().troubles == {}


DRIFTED = "from tree_sitter_go import language\n"


def test_files_are_cut_by_lines_while_a_grammar_does_not_fit_and_heal_when_it_does(tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", SOURCES)
    other = write_tree(tmp_path / "other", SOURCES)
    drift = tmp_path / "drift"
    write_file(drift / "tree_sitter_python" / "__init__.py", DRIFTED)
    with Store.open(index_folder(tree)) as store, Store.open(index_folder(other)) as fresh:
        refresh(store, other, WordEncoder())
        with monkeypatch.context() as patch:
            patch.syspath_prepend(drift)
            _forget_versions()
            refresh(store, tree, WordEncoder())
            report = refresh(fresh, other, WordEncoder())
            for found in (store, fresh):
                assert found.status().troubles == {grammars.MISFIT: 1}
                assert "src/dates.py" in found.chunk_table().paths
            assert len(report.warnings) == 1
            assert "tree_sitter_python" in report.warnings[0]
            before = _ids(store, "src/proxy.js")
            _changes_nothing(store, tree)
        _forget_versions()
        assert refresh(store, tree, WordEncoder()).warnings == ()
        assert store.status().troubles == {}
        assert "parse_iso_date" in store.chunk_table().symbol
        assert _ids(store, "src/proxy.js") == before  # other languages are left alone
    _forget_versions()


def _forget_versions():
    workers.stop_idle()
    for function in (versions.parser_of, versions._version, versions._installed):
        function.cache_clear()


def _ids(store, path):
    return [chunk.id for chunk in store.chunks(store.chunk_ids().tolist()) if chunk.path == path]


def test_workers_are_gone_when_their_work_is_broken_off(tmp_path):
    tree = write_tree(tmp_path / "many", {f"f{n}.py": f"x{n} = 1\n" * 200 for n in range(200)})
    tasks = [CutTask(file=file) for file in walk(tree) if isinstance(file, SourceFile)]
    workers.stop_idle()
    before = len(_children())
    cut = cutting.cut_files(tree, tasks, WalkLimits(), ChunkerConfig(), num_workers=2)
    assert next(cut).path == "f0.py"
    assert len(_children()) == before + 2
    cut.close()
    assert len(_children()) == before


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
