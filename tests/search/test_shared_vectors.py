from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from mose.errors import CodeIndexError
from mose.search.shared_vectors import SharedVectors, as_kept


def _rows(count, width=4, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_shared_vectors_come_back_rounded_once(tmp_path):
    shared = SharedVectors(tmp_path / "vectors.db", model="m")
    rows = as_kept(_rows(3))
    shared.add(6, [b"a", b"b", b"c"], rows)
    found = shared.find(6, [b"c", b"a", b"nothing", b"a"])
    assert set(found) == {b"a", b"c"}
    np.testing.assert_array_equal(found[b"a"], rows[0])
    np.testing.assert_array_equal(as_kept(rows), rows)
    np.testing.assert_allclose(rows, _rows(3), atol=1e-3)


def test_shared_vectors_keep_models_and_exits_apart(tmp_path):
    SharedVectors(tmp_path / "vectors.db", model="m").add(6, [b"a"], _rows(1))
    assert SharedVectors(tmp_path / "vectors.db", model="m").find(3, [b"a"]) == {}
    assert SharedVectors(tmp_path / "vectors.db", model="other").find(6, [b"a"]) == {}


def test_first_vector_of_a_key_stays(tmp_path):
    shared = SharedVectors(tmp_path / "vectors.db", model="m")
    shared.add(6, [b"a"], _rows(1))
    shared.add(6, [b"a", b"b"], _rows(2, seed=5))
    np.testing.assert_array_equal(shared.find(6, [b"a"])[b"a"], as_kept(_rows(1))[0])


@pytest.mark.parametrize("kind", ["text", "database"])
def test_foreign_shared_file_is_refused(tmp_path, kind):
    path = tmp_path / "vectors.db"
    if kind == "text":
        path.write_bytes(b"no database at all " * 500)
    else:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE theirs(x)")
        other.commit()
    with pytest.raises(CodeIndexError, match=r"vectors\.db"):
        SharedVectors(path, model="m")


def test_several_processes_fill_the_shared_vectors_at_once(tmp_path):
    program = (
        "import sys, numpy as np; from pathlib import Path; from mose.search.shared_vectors import SharedVectors\n"
        "shared = SharedVectors(Path(sys.argv[1]), model='m')\n"
        "for n in range(40):\n"
        "    shared.add(6, [b'%d' % n, b'%s %d' % (sys.argv[2].encode(), n)], np.full((2, 4), n, np.float32))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "vectors.db")]
    running = [subprocess.Popen([*command, name], env=_environment()) for name in ("a", "b", "c")]
    assert [process.wait() for process in running] == [0, 0, 0]
    shared = SharedVectors(tmp_path / "vectors.db", model="m")
    found = shared.find(6, [b"%d" % n for n in range(40)] + [b"b %d" % n for n in range(40)])
    assert len(found) == 80
    assert all(found[b"%d" % n][0] == n for n in range(40))


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
