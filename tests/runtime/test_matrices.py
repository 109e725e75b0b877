"""The int8 product against the float one."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import save_file

from mose.export.graph import WEIGHTS_NAME, GraphWriter, WeightsFile
from mose.export.matrices import MatrixWriter, Precision
from mose.runtime.tensors import TensorFile


def int8_product(tmp_path, weight, inputs, **how):
    save_file({"layers.0.m.weight": weight}, tmp_path / "m.safetensors")
    with (tmp_path / WEIGHTS_NAME).open("wb") as file:
        graph = GraphWriter(WeightsFile(file))
        value = graph.input("inputs", np.float32, ["batch", "tokens", weight.shape[1]])
        matrices = MatrixWriter(graph, TensorFile(tmp_path / "m.safetensors"), Precision(dtype="int8"))
        graph.output(matrices.times(value, "layers.0.m", **how), "out", ["batch", "tokens", len(weight)])
        graph.save(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {"inputs": inputs})[0]


@pytest.mark.parametrize("scale", [0.2, 1, 5, 100])
def test_product_after_gelu_is_near_at_every_size_of_input(scale, tmp_path):
    random = np.random.default_rng(0)
    before = random.normal(size=(1, 7, 48)).astype(np.float32) * scale
    inputs = (before * 0.5 * (1 + np.tanh(0.79788 * (before + 0.044715 * before**3)))).astype(np.float32)
    weight = random.normal(size=(24, 48)).astype(np.float32)
    found, exact = int8_product(tmp_path, weight, inputs, after_gelu=True), inputs @ weight.T
    assert np.linalg.norm(found - exact) < 0.04 * np.linalg.norm(exact)


def test_one_loud_token_does_not_drown_the_others_after_gelu(tmp_path):
    random = np.random.default_rng(0)
    inputs = np.abs(random.normal(size=(1, 7, 48))).astype(np.float32)
    inputs[0, 0] *= 1000
    weight = random.normal(size=(24, 48)).astype(np.float32)
    found, exact = int8_product(tmp_path, weight, inputs, after_gelu=True), inputs @ weight.T
    errors = np.linalg.norm(found - exact, axis=2) / np.linalg.norm(exact, axis=2)
    assert errors.max() < 0.03


def test_largest_products_do_not_overflow_sixteen_bits(tmp_path):
    inputs, weight = np.ones((1, 3, 64), np.float32), np.ones((8, 64), np.float32)
    np.testing.assert_allclose(int8_product(tmp_path, weight, inputs), 64, rtol=0.02)
    np.testing.assert_allclose(int8_product(tmp_path, weight, inputs, after_gelu=True), 64, rtol=0.02)
