"""Second moments of the inputs of a model's matrices, which guide their rounding to int8.

The float32 graph is run over a few texts with every matrix's input as an output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.export.blocks import EncoderWriter
from mose.export.graph import GraphWriter, WeightsFile
from mose.export.matrices import Precision
from mose.runtime.manifest import WEIGHTS_NAME
from mose.runtime.session import Session
from mose.runtime.tensors import TensorFile
from mose.tokenizer import CodeTokenizer

if TYPE_CHECKING:
    from mose.model.settings import ModelSettings

_MAX_INPUTS = 4096
"""Wider matrices are left out: time grows with the cube of the width, memory with its square."""
_OWN_TEXTS = 64
_TEXT_CHARS = 1000


def input_moments(
    settings: ModelSettings,
    tensors: TensorFile,
    tokenizer: CodeTokenizer,
    texts: Sequence[str],
    *,
    num_layers: int,
) -> dict[str, NDArray[np.float64]]:
    """Matrix name -> sum of input x input [in, in] over all tokens of the texts, for the matrices of blocks.

    Concatenated matrices ("query", "key", "value") have the name of the first.
    """
    if num_layers == 0 or not texts:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        names = _write_probe(Path(folder), settings, tensors, num_layers)
        session = Session(Path(folder) / "probe.onnx")
        moments = {name: np.zeros((width, width)) for name, width in names.items()}
        for token_ids in tokenizer.encode(texts, kind="code"):
            for name, inputs_TD in session.run(token_ids).items():
                moments[name] += inputs_TD.T @ inputs_TD
    return moments


def own_sources() -> list[str]:
    """Pieces of this package's source, evenly spread."""
    files = sorted(Path(__file__).resolve().parents[1].rglob("*.py"))
    pieces = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        pieces += [text[start : start + _TEXT_CHARS] for start in range(0, len(text), _TEXT_CHARS)]
    return pieces[:: max(len(pieces) // _OWN_TEXTS, 1)]


def _write_probe(folder: Path, settings: ModelSettings, tensors: TensorFile, num_layers: int) -> dict[str, int]:
    """Write the graph, and return the width of each output by name."""
    with (folder / WEIGHTS_NAME).open("wb") as file:
        graph = GraphWriter(WeightsFile(file))
        writer = EncoderWriter(graph, settings, tensors, Precision())
        hidden_BTD = writer.embeddings()
        for layer in range(num_layers):
            hidden_BTD = writer.block(hidden_BTD, layer)
        widths = {}
        for names, value in writer.matrix_inputs.items():
            width = tensors[f"{names[0]}.weight"].shape[1]
            if width <= _MAX_INPUTS:
                widths[names[0]] = width
                graph.output(value, names[0], ["batch", "tokens", width])
        graph.save(folder / "probe.onnx")
    return widths
