"""The command for a borrowed GPU, on the CPU: a training whose weights come back in parts, and are put together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mose.config import write_toml
from mose.model.checkpoint import load_model

from .conftest import Make

RECIPE = Path(__file__).parents[2] / "recipes" / "gpu_run.py"


def call(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def test_weights_come_back_in_parts_and_are_put_together(make: Make, tmp_path: Path) -> None:
    config = make(run__steps=100_000, batch__workers=0)
    (tmp_path / "config.toml").write_text(write_toml(config))
    out = tmp_path / "out"
    done = call(out, "--skip-tests", "--minutes", 0.05, "--part-mib", 0.01, "--", "--config", tmp_path / "config.toml")
    assert done.returncode == 0, done.stderr
    parts = sorted((out / "model").glob("model.safetensors.*"))
    assert len(parts) > 2 and all(part.stat().st_size <= 0.01 * (1 << 20) for part in parts)
    assert (out / "log.jsonl").exists()
    assert call("--join", out / "model", tmp_path / "joined").returncode == 0
    model = load_model(tmp_path / "joined")
    assert model.settings.exits == (0, 1, 2, 4)
    start = load_model(config.start.folder)
    changed, before = (each.state_dict()["layers.0.mlp.up.weight"].float() for each in (model, start))
    assert torch.isfinite(changed).all() and not torch.allclose(changed, before, atol=1e-3)
    parts[1].write_bytes(parts[1].read_bytes()[:-1])
    damaged = call("--join", out / "model", tmp_path / "other")
    assert damaged.returncode == 1 and "missing or damaged" in damaged.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("words", [["nothing.toml"], []])
def test_a_training_that_does_not_begin_is_an_error(tmp_path: Path, words: list[str]) -> None:
    assert call(tmp_path / "out", "--skip-tests", "--minutes", 0.02, "--", *words).returncode == 2
