"""What calibration measures."""

from __future__ import annotations

import numpy as np

from mose.export.calibrate import input_moments, own_sources
from mose.export.export import ExportRecipe, export
from mose.model.settings import ModelSettings
from mose.runtime.tensors import TensorFile
from mose.tokenizer import CodeTokenizer

from .conftest import TEXTS


def test_first_matrix_reads_the_embeddings(checkpoint):
    folder = checkpoint()
    tensors, tokenizer = TensorFile(folder / "model.safetensors"), CodeTokenizer.load(folder)
    moments = input_moments(ModelSettings.read(folder), tensors, tokenizer, TEXTS, num_layers=2)
    expected = np.zeros((32, 32))
    for ids in tokenizer.encode(TEXTS, kind="code"):
        rows = (
            tensors.floats("embeddings.tokens.weight")[ids] + tensors.floats("embeddings.positions.weight")[: len(ids)]
        )
        rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
        rows = rows * tensors.floats("embeddings.norm.weight") + tensors.floats("embeddings.norm.bias")
        expected += rows.T @ rows
    np.testing.assert_allclose(moments["layers.0.attention.query"], expected, rtol=1e-3, atol=1e-3)
    matrices = ("attention.query", "attention.output", "mlp.up", "mlp.down")
    assert set(moments) == {f"layers.{layer}.{name}" for layer in (0, 1) for name in matrices}


def test_own_sources_are_a_fair_handful():
    pieces = own_sources()
    assert 32 <= len(pieces) <= 150
    assert all(0 < len(piece) <= 1000 for piece in pieces)


def test_calibration_changes_the_rounding_and_repeats_exactly(checkpoint, tmp_path):
    plain = export(checkpoint(), tmp_path / "plain", ExportRecipe(dtype="int8", calibration=[]))
    first = export(checkpoint(), tmp_path / "first", ExportRecipe(dtype="int8", calibration=TEXTS))
    again = export(checkpoint(), tmp_path / "again", ExportRecipe(dtype="int8", calibration=TEXTS))
    assert first.identity == again.identity != plain.identity
