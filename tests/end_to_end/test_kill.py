"""Kill an indexing process at random moments, over and over: nothing is lost and nothing wrong is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "search"))
from index_doubles import content, vector_matrix, widths_of, write_file
from rounds import ROUNDS

from mose.runtime.encoder import Encoder
from mose.search.deepen import deepen
from mose.search.refresh import refresh
from mose.search.store.location import current_index, index_folder
from mose.search.store.store import Store
from mose.workers import stop_idle

KILLS = 50 * ROUNDS
FILES = 36
SHALLOW = 2
LONGEST_SECONDS = 100.0 * ROUNDS

# A process that has imported everything, and forks one indexer for each line it reads: kills then fall into the
# work and not into imports.
PROGRAM = """
import os, sys
from pathlib import Path
from mose.runtime.encoder import Encoder
from mose.search import deepen as deepening
from mose.search import refresh as indexer
from mose.search.store.location import index_folder
from mose.search.store.store import Store

tree = Path(sys.argv[1])
encoder = Encoder.load("small", threads=1)
encoder.at(exit=0).encode(["warm"])
indexer.BATCH_CHUNKS = 12
deepening.FIRST_WINDOW = deepening.LARGEST_WINDOW = 12
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        with Store.open(index_folder(tree)) as store:
            indexer.refresh(store, tree, encoder, num_workers=int(line))
            deepening.deepen(store, encoder, 2)
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def _source(number: int, version: int) -> str:
    return "\n\n".join(
        f"def task_{number}_{part}(value):\n"
        f'    """Version {version}: does part {part} of task {number}, which takes a value and counts it."""\n'
        f"    total = value + {number * part + version}\n"
        + "".join(f"    total += value * {step}  # step {step} of {version}\n" for step in range(6))
        + "    return total\n"
        for part in range(3)
    )


def _edit(tree: Path, random: np.random.Generator, version: int) -> None:
    """Changes a third of the files, moves one, removes one and brings back others."""
    numbers = random.permutation(FILES)
    for number in numbers[: FILES // 3]:
        write_file(tree / f"part{number % 3}" / f"task{number}.py", _source(int(number), version))
    moved, removed = (tree / f"part{number % 3}" / f"task{number}.py" for number in numbers[-2:])
    if moved.exists():
        moved.rename(tree / f"moved{version}.py")
    removed.unlink(missing_ok=True)


def _check_what_is_there(folder: Path) -> None:
    """Whatever was committed is whole: every chunk has text and words, every vector its chunk and unit length."""
    with Store.open(folder) as store, store.snapshot():
        table = store.chunk_table()
        assert len(store.chunks(table.ids.tolist())) == len(table)
        counted = store.rows("SELECT count(*) FROM chunks WHERE file_id NOT IN (SELECT id FROM files)")
        assert counted == [(0,)]
        found, _ = store.lexical("task OR value")
        assert sorted(found.tolist()) == table.ids.tolist()
        for exit_layer in widths_of(store):
            ids, rows, matrix = vector_matrix(store, exit_layer)
            assert len(set(ids.tolist())) == len(ids)
            assert (table.rows_of(ids) >= 0).all()
            np.testing.assert_allclose(np.linalg.norm(matrix[rows], axis=1), 1.0, atol=2e-3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills with SIGKILL and forks")
def test_index_killed_fifty_times_equals_one_made_in_one_go(tmp_path, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / "home"))
    tree = tmp_path / "tree"
    for number in range(FILES):
        write_file(tree / f"part{number % 3}" / f"task{number}.py", _source(number, 0))
    random = np.random.default_rng(7)
    folder = index_folder(tree)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONWARNINGS": "ignore",
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tree)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        bufsize=1,
    ) as forker:
        assert forker.stdin is not None
        assert forker.stdout is not None
        num_kills = num_finished = version = 0
        work_seconds, started = 0.8, time.monotonic()
        while num_kills < KILLS and time.monotonic() - started < LONGEST_SECONDS:
            begun = time.monotonic()
            print(int(random.random() < 0.1), file=forker.stdin, flush=True)
            child = int(forker.stdout.readline())
            time.sleep(random.random() * (0.03 if num_kills < 8 else work_seconds))
            with suppress(ProcessLookupError):  # it has finished
                os.kill(child, signal.SIGKILL)
            code = int(forker.stdout.readline())
            assert code in (0, -signal.SIGKILL)
            if code == 0:
                num_finished += 1
                work_seconds = max(0.05, 0.5 * (work_seconds + time.monotonic() - begun))
            else:
                num_kills += 1
                work_seconds *= 1.05  # reaches further as long as nothing gets finished
            if current_index(folder) is not None:
                _check_what_is_there(folder)
            if code == 0 or random.random() < 0.2:
                version += 1
                _edit(tree, random, version)
        forker.stdin.close()
    print(f"{num_kills} kills, {num_finished} finished, {time.monotonic() - started:.0f} s")
    assert num_kills >= KILLS, f"only {num_kills} kills and {num_finished} finished runs in {LONGEST_SECONDS} s"
    encoder = Encoder.load("small", threads=1)
    contents = []
    for home in ("home", "other home"):
        monkeypatch.setenv("MOSE_HOME", str(tmp_path / home))
        with Store.open(index_folder(tree)) as store:
            refresh(store, tree, encoder)
            deepen(store, encoder, SHALLOW)
            assert store.status().complete
            contents.append(content(store, (0, SHALLOW)))
    killed, in_one_go = contents
    for part in ("files", "chunks", "words", "skipped"):
        assert killed[part] == in_one_go[part]
    for exit_layer in (0, SHALLOW):
        ours, theirs = (found["vectors"][exit_layer] for found in contents)
        assert ours.keys() == theirs.keys()
        for name, vector in ours.items():
            expected = np.frombuffer(theirs[name], np.float32)
            np.testing.assert_allclose(np.frombuffer(vector, np.float32), expected, atol=2e-3)
    stop_idle()  # the one of this process, kept for the next refresh
    _no_worker_is_left(tmp_path / "home")


def _no_worker_is_left(home: Path) -> None:
    """Workers of killed indexers end by themselves, which may take as long as a group of files."""
    mark = f"MOSE_HOME={home}".encode()
    for _ in range(50):
        alive = []
        for entry in Path("/proc").glob("[0-9]*/environ"):
            try:
                if int(entry.parent.name) != os.getpid() and mark in entry.read_bytes():
                    alive.append(entry.parent.name)
            except OSError:
                continue
        if not alive:
            return
        time.sleep(0.1)
    raise AssertionError(f"worker processes are left: {alive}")
