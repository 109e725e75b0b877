"""Stages of ``mose pairs`` killed at random moments write what they write in one go; the benchmark kills each 20 times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "pair_kills.py"
STAGES = ("history", "ask", "dedup", "convert from a table")
"""One that is written whole, one that goes on, one that compares all rows, and one that writes a file."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills with SIGKILL and forks")
@pytest.mark.timeout(600)
def test_killed_stages_write_the_same():
    for package in ("bm25s", "httpx", "rensa", "pyarrow", "anyio"):
        pytest.importorskip(package)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "3", "--stages", *STAGES], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["faults"] == []
    assert {name: stage["kills"] for name, stage in found["stages"].items()} == dict.fromkeys(STAGES, 3)
