"""Kill a pre-training at random moments, start it again each time, and compare it with one that nobody killed.

    python benchmarks/pretrain_kills.py runs/start --data REPOSITORIES --kills 20

The model is START as it is (a fresh model, or the shipped ladder); each run is killed with SIGKILL at a random moment of its
training, checkpoints after every step included. In the end the finished model, ``best/`` and the newest checkpoint must
hold the same bits. The last line of standard output is the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from safetensors.torch import load_file

from mose.config import PretrainConfig, from_values, write_toml

SHARED = ("model", "best", "checkpoints")


def settings(given: argparse.Namespace, folder: Path) -> PretrainConfig:
    return from_values(
        {
            "start": {"folder": str(given.start), "freeze_embeddings": False},
            "data": {"folder": str(given.data), "sources": ["."], "max_files": 3, "snippet_chars": 200},
            "objective": {"max_tokens": 64},
            "batch": {"pairs": 4, "mini_batch_tokens": 256},
            "validation": {"every": 5, "pairs": 4},
            "run": {
                "folder": str(folder), "steps": given.steps, "threads": 1, "device": "cpu", "checkpoint_minutes": 0.0,
                "keep_checkpoints": 1,
            },
        },
        PretrainConfig,
    )  # fmt: skip


def start(config: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "mose", "pretrain", str(config)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def newest_step(folder: Path) -> int:
    steps = [int(path.name.removeprefix("step_")) for path in folder.glob("checkpoints/step_*")]
    return max(steps, default=0)


def content(folder: Path) -> dict[str, bytes]:
    """Every tensor of the finished model, of ``best/`` and of the newest checkpoint, moments included."""
    found = {}
    for part in SHARED:
        for path in sorted((folder / part).rglob("*.safetensors")):
            for name, tensor in load_file(path).items():
                found[f"{path.relative_to(folder)} {name}"] = tensor.numpy().tobytes()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="mose-pretrain-kills-") as name:
        base = Path(name)
        for run in ("whole", "killed"):
            (base / f"{run}.toml").write_text(write_toml(settings(given, base / run)))
        whole = start(base / "whole.toml")
        said = whole.communicate()[1]
        assert whole.returncode == 0, said.decode()
        kills, killed_at = 0, []
        while kills < given.kills:
            before = newest_step(base / "killed")
            if before >= given.steps:
                break
            process = start(base / "killed.toml")
            # A run makes at least one step, so that twenty kills are not twenty kills of the first.
            while process.poll() is None and newest_step(base / "killed") == before:
                time.sleep(0.005)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=rng.expovariate(1 / 0.2))
            if process.poll() is not None:
                assert process.returncode == 0, process.stderr and process.stderr.read().decode()
                break
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            killed_at.append(newest_step(base / "killed"))
            print(f"kill {kills} after step {killed_at[-1]}", file=sys.stderr)
        last = start(base / "killed.toml")
        said = last.communicate()[1]
        assert last.returncode == 0, said.decode()
        expected, found = content(base / "whole"), content(base / "killed")
        differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        result = {"kills": kills, "steps": given.steps, "after": killed_at, "tensors": len(expected), "differ": differ}
        print(json.dumps(result))
    return 1 if differ or kills < given.kills else 0


if __name__ == "__main__":
    sys.exit(main())
