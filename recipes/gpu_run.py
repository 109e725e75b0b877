"""One command for a GPU that is at hand for a quarter of an hour: its tests, a training, the weights in small parts.

    python recipes/gpu_run.py OUT --minutes 5 -- --config configs/small-shared.toml --set start.folder=START ...
    python recipes/gpu_run.py --join OUT/model model/

What follows ``--`` goes to ``mose finetune retrieval``. The best weights so far are handed over once a minute and the
last ones at the end: half precision, in parts of at most --part-mib, complete or not at all. OUT also gets the log. The
command ends when everything lies in OUT, so a machine that goes back when it is idle may do so. Joining checks the sum.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import torch

from mose.model.checkpoint import load_model, save_model
from mose.storage import new_folder

ROOT = Path(__file__).parents[1]
WEIGHTS = "model.safetensors"
SUM = "SHA256"


def split(model: Path, out: Path, *, part_bytes: int) -> None:
    """Write a model folder with its weights in half precision and in parts."""
    with new_folder(out) as folder, tempfile.TemporaryDirectory(dir=out.parent) as name:
        half = Path(name) / "model"
        save_model(load_model(model, dtype=torch.float16), half, companions=model)
        for path in half.iterdir():
            if path.name != WEIGHTS and not path.name.startswith("."):
                shutil.copyfile(path, folder / path.name)
        weights = (half / WEIGHTS).read_bytes()
        for number, first in enumerate(range(0, len(weights), part_bytes)):
            (folder / f"{WEIGHTS}.{number:03d}").write_bytes(weights[first : first + part_bytes])
        (folder / SUM).write_text(sha256(weights).hexdigest(), encoding="utf8")


def join(parts: Path, out: Path) -> None:
    """The model folder that ``split`` took apart; exits if a part is missing or damaged."""
    weights = b"".join(path.read_bytes() for path in sorted(parts.glob(f"{WEIGHTS}.*")))
    sum_file = parts / SUM
    if not sum_file.is_file() or sha256(weights).hexdigest() != sum_file.read_text(encoding="utf8"):
        raise SystemExit(f"{parts}: a part is missing or damaged; fetch them again")
    with new_folder(out) as folder:
        for path in parts.iterdir():
            if path.name != SUM and not path.name.startswith((".", WEIGHTS)):
                shutil.copyfile(path, folder / path.name)
        (folder / WEIGHTS).write_bytes(weights)


def train(words: list[str], out: Path, *, minutes: float, part_bytes: int) -> int:
    """Train, and hand weights over meanwhile; the exit status of the training."""
    with tempfile.TemporaryDirectory(prefix="mose-gpu-") as name:
        run = Path(name) / "run"
        command = [sys.executable, "-m", "mose", "finetune", "retrieval", *words]
        settings = [f"run.folder={run}", f"run.minutes={minutes}", "run.keep_checkpoints=1"]
        process = subprocess.Popen([*command, *(word for each in settings for word in ("--set", each))])
        written = 0.0
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            best = run / "best" / WEIGHTS
            if best.exists() and best.stat().st_mtime > written:
                written = best.stat().st_mtime
                split(best.parent, out / "best", part_bytes=part_bytes)
        if (run / "log.jsonl").exists():
            shutil.copyfile(run / "log.jsonl", out / "log.jsonl")
        if process.returncode == 0:
            split(run / "model", out / "model", part_bytes=part_bytes)
        return process.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("model", type=Path, nargs="?", help="with --join: the folder to write")
    parser.add_argument("--join", action="store_true", help="put the parts in OUT together again")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--part-mib", type=float, default=15.0)
    parser.add_argument("--skip-tests", action="store_true")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:cut])
    if given.join:
        join(given.out, given.model)
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.skip_tests:
        tests = [sys.executable, "-m", "pytest", "-m", "gpu", "-x", "tests/train/test_gpu.py"]
        if subprocess.run(tests, cwd=ROOT, check=False).returncode:
            return 1
    return train(words[cut + 1 :], given.out, minutes=given.minutes, part_bytes=int(given.part_mib * (1 << 20)))


if __name__ == "__main__":
    sys.exit(main())
