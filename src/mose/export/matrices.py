"""Products with a model's matrices, in float32 or int8.

The int8 product has two forms. Around the attention, all tokens of a text share one scale
(``DynamicQuantizeMatMul``, the fastest). In the MLP and the heads, each token has its own: the first token of
a text carries values many times larger than all others, and one scale for all would spend the 8 bits on it.
In all-MiniLM-L6-v2 that causes half of the error against float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mose.export.graph import MICROSOFT, GraphWriter
from mose.export.quantize import quantize_columns
from mose.runtime.tensors import TensorFile

Dtype = Literal["float32", "int8"]

_SIGNED_ZERO, _SIGNED_STEPS = 128, 127
_GELU_ZERO, _GELU_STEPS = 32, 223
_GELU_MINIMUM = 0.1701
"""GELU never falls below minus this."""
_GELU_SMALLEST_PEAK = _GELU_MINIMUM * _GELU_STEPS / _GELU_ZERO
_SMALLEST_PEAK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How the numbers of a model are stored."""

    dtype: Dtype = "float32"
    """int8: the token table and the matrices of blocks and heads; the rest stays float32."""
    float_matrices: frozenset[str] = frozenset()
    """Names of matrices that stay float32 under "int8"."""
    moments: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Matrix -> second moments of its inputs (``mose.export.calibrate``), as far as they are known."""


class MatrixWriter:
    """Add products with the checkpoint's matrices (stored [out, in]) to a graph.

    Args:
        graph: The graph to write to.
        tensors: The checkpoint's weights.
        precision: Number formats of the weights.
    """

    def __init__(self, graph: GraphWriter, tensors: TensorFile, precision: Precision) -> None:
        self._graph = graph
        self._tensors = tensors
        self._precision = precision
        self._quantised = lru_cache(maxsize=1)(self._quantise)
        self.inputs: dict[tuple[str, ...], str] = {}
        """Concatenated matrices -> the value that they are multiplied with."""

    def times(self, value: str, *names: str, after_gelu: bool = False, by_token: bool = False) -> str:
        """``value`` [..., in] times the concatenated matrices, plus their biases.

        Args:
            value: Input.
            names: Matrices, without ".weight".
            after_gelu: ``value`` is the output of a GELU, so that nearly all of its range is positive.
            by_token: In int8, each token has its own scale.
        """
        bias = self._bias(names)
        self.inputs[names] = value
        if self._is_float(names):
            return self._graph.add("Add", self._float_product(value, names), bias)
        if after_gelu or by_token or names[0].startswith("heads."):
            return self._graph.add("Add", self._token_product(value, names, after_gelu=after_gelu), bias)
        return self._graph.add("DynamicQuantizeMatMul", value, *self._int8(names), "", bias, domain=MICROSOFT)

    def times_gelu(self, value: str, name: str, *, tanh: bool) -> str:
        """GELU (its tanh form if ``tanh``) of ``value`` times a matrix, plus its bias."""
        names = (name,)
        self.inputs[names] = value
        multiply = self._float_product if self._is_float(names) else self._token_product
        operator = "FastGelu" if tanh else "BiasGelu"
        return self._graph.add(operator, multiply(value, names), self._bias(names), domain=MICROSOFT)

    def _float_product(self, value: str, names: tuple[str, ...]) -> str:
        weight = self._graph.weight(f"{'+'.join(names)}.weight", lambda: self._concatenated(names))
        return self._graph.add("MatMul", value, weight)

    def _token_product(self, value: str, names: tuple[str, ...], *, after_gelu: bool = False) -> str:
        """The product, each token scaled to its own largest value, rounded with constants, scaled back."""
        graph = self._graph
        zero, steps = (_GELU_ZERO, _GELU_STEPS) if after_gelu else (_SIGNED_ZERO, _SIGNED_STEPS)
        peak = graph.add("ReduceMax", value if after_gelu else graph.add("Abs", value), axes=[-1], keepdims=1)
        peak = graph.add("Max", peak, graph.number(_GELU_SMALLEST_PEAK if after_gelu else _SMALLEST_PEAK))
        step, zero_point = graph.constant(np.float32(1 / steps)), graph.constant(np.uint8(zero))
        rounded = graph.add("QuantizeLinear", graph.add("Div", value, peak), step, zero_point)
        matrix, scale = self._int8(names)
        inputs = (rounded, matrix, step, scale, zero_point)
        return graph.add("Mul", graph.add("MatMulIntegerToFloat", *inputs, domain=MICROSOFT), peak)

    def _int8(self, names: tuple[str, ...]) -> tuple[str, str]:
        joint = "+".join(names)
        return (
            self._graph.weight(f"{joint}.int8", lambda: self._quantised(names)[0]),
            self._graph.weight(f"{joint}.scale", lambda: self._quantised(names)[1]),
        )

    def _is_float(self, names: tuple[str, ...]) -> bool:
        precision = self._precision
        return precision.dtype == "float32" or not precision.float_matrices.isdisjoint(names)

    def _quantise(self, names: tuple[str, ...]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        return quantize_columns(self._concatenated(names), self._precision.moments.get(names[0]))

    def _concatenated(self, names: tuple[str, ...]) -> NDArray[np.float32]:
        return np.concatenate([self._tensors.floats(f"{name}.weight") for name in names]).T

    def _bias(self, names: tuple[str, ...]) -> str:
        return self._graph.weight(
            f"{'+'.join(names)}.bias", lambda: np.concatenate([self._bias_of(name) for name in names])
        )

    def _bias_of(self, name: str) -> NDArray[np.float32]:
        """The bias of a matrix; zeros if it has none."""
        if f"{name}.bias" in self._tensors:
            return self._tensors.floats(f"{name}.bias")
        return np.zeros(self._tensors[f"{name}.weight"].shape[0], dtype=np.float32)
