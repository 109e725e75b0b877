"""The encoder as ONNX operators: embeddings, the kinds of block, pooling and head.

Shapes: B batch, T tokens, D width, H query heads, G key/value heads, C width of one head.

There is no padding and no mask: sequences in one batch have one length. The runtime runs them one by one,
which measured faster than padded batches and lets ONNX Runtime use its flash attention. Addition and
LayerNormalization are separate because the fused SkipLayerNormalization is several times slower on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.export.graph import MICROSOFT, GraphWriter
from mose.export.matrices import MatrixWriter, Precision
from mose.export.quantize import quantize_rows
from mose.runtime.tensors import TensorFile

if TYPE_CHECKING:
    from mose.model.settings import ModelSettings

_SMALLEST_NORM = 1e-12


class EncoderWriter:
    """Add the parts of one model to a graph.

    Args:
        graph: The graph to write to. Its input ``token_ids`` [B, T] is added here.
        settings: Shape of the model.
        tensors: The checkpoint's weights.
        precision: Number formats of the weights in the graph.
    """

    def __init__(self, graph: GraphWriter, settings: ModelSettings, tensors: TensorFile, precision: Precision) -> None:
        self._graph = graph
        self._settings = settings
        self._tensors = tensors
        self._dtype = precision.dtype
        self._matrices = MatrixWriter(graph, tensors, precision)
        self._token_ids_BT = graph.input("token_ids", np.int64, ["batch", "tokens"])
        self._num_tokens = graph.add(
            "Slice", graph.add("Shape", self._token_ids_BT), graph.integers(1), graph.integers(2)
        )

    def embeddings(self) -> str:
        """Token (and learned position) embeddings of the input: hidden_BTD."""
        if self._settings.pre_norm:
            return self._token_rows()
        name = "embeddings.positions.weight"
        positions_TD = self._first_positions(name, lambda: self._tensors.floats(name))
        return self._norm(self._graph.add("Add", self._token_rows(), positions_TD), "embeddings.norm")

    @property
    def matrix_inputs(self) -> dict[tuple[str, ...], str]:
        """Concatenated matrices -> the value that they are multiplied with, for all blocks so far."""
        return self._matrices.inputs

    def block(self, hidden_BTD: str, layer: int) -> str:
        """Hidden states after block ``layer``, counted from 0."""
        if self._settings.pre_norm:
            return self._pre_norm_block(hidden_BTD, f"layers.{layer}")
        return self._bert_block(hidden_BTD, f"layers.{layer}")

    def embedding(self, hidden_BTD: str, exit_layer: int) -> str:
        """The vectors [B, width] that leave at one exit."""
        graph, settings = self._graph, self._settings
        if settings.norm_at(exit_layer):
            hidden_BTD = self._norm(hidden_BTD, "final_norm")
        vector_BD = self._pool(hidden_BTD)
        if settings.head != "none":
            vector_BD = self._matrices.times(vector_BD, f"heads.{exit_layer}.0")
        if settings.head == "mlp":
            vector_BD = self._head_activation(vector_BD)
            vector_BD = self._matrices.times(vector_BD, f"heads.{exit_layer}.2")
        norm_B1 = graph.add("ReduceL2", vector_BD, axes=[1], keepdims=1)
        floor = 1.0 if settings.norm_rule == "unit_ball" else _SMALLEST_NORM
        return graph.add("Div", vector_BD, graph.add("Max", norm_B1, graph.number(floor)))

    def _bert_block(self, hidden_BTD: str, prefix: str) -> str:
        query, key, value = self._heads(hidden_BTD, prefix)
        context = self._matrices.times(self._attention(query, key, value), f"{prefix}.attention.output")
        hidden_BTD = self._norm(self._graph.add("Add", context, hidden_BTD), f"{prefix}.attention_norm")
        inner = self._mlp(hidden_BTD, prefix)
        return self._norm(self._graph.add("Add", inner, hidden_BTD), f"{prefix}.mlp_norm")

    def _pre_norm_block(self, hidden_BTD: str, prefix: str) -> str:
        settings = self._settings
        query, key, value = self._heads(self._norm(hidden_BTD, f"{prefix}.attention_norm"), prefix)
        query = self._rotate(query, settings.num_heads)
        key = self._repeat_heads(self._rotate(key, settings.num_kv_heads))
        context = self._attention(query, key, self._repeat_heads(value))
        context = self._matrices.times(context, f"{prefix}.attention.output")
        hidden_BTD = self._graph.add("Add", hidden_BTD, context)
        inner = self._mlp(self._norm(hidden_BTD, f"{prefix}.mlp_norm"), prefix)
        return self._graph.add("Add", hidden_BTD, inner)

    def _heads(self, hidden_BTD: str, prefix: str) -> list[str]:
        """Query [B, T, H * C], key and value [B, T, G * C], from one product."""
        settings = self._settings
        names = [f"{prefix}.attention.{part}" for part in ("query", "key", "value")]
        joint = self._matrices.times(hidden_BTD, *names)
        kv_width = settings.head_size * settings.num_kv_heads
        widths = self._graph.integers(settings.hidden_size, kv_width, kv_width)
        return self._graph.add_many("Split", joint, widths, outputs=3, axis=2)

    def _attention(self, query: str, key: str, value: str) -> str:
        heads = self._settings.num_heads
        causal = int(self._settings.causal)
        return self._graph.add(
            "MultiHeadAttention", query, key, value, domain=MICROSOFT, num_heads=heads, unidirectional=causal
        )

    def _mlp(self, hidden_BTD: str, prefix: str) -> str:
        settings, matrices = self._settings, self._matrices
        if settings.block != "llama" and settings.activation != "silu":
            inner = matrices.times_gelu(hidden_BTD, f"{prefix}.mlp.up", tanh=settings.activation == "gelu_tanh")
            return matrices.times(inner, f"{prefix}.mlp.down", after_gelu=True)
        if settings.block == "llama":
            joint = matrices.times(hidden_BTD, f"{prefix}.mlp.gate", f"{prefix}.mlp.up", by_token=True)
            halves = self._graph.integers(settings.intermediate_size, settings.intermediate_size)
            gate, up = self._graph.add_many("Split", joint, halves, outputs=2, axis=2)
            inner = self._graph.add("Mul", self._activation(gate), up)
        else:
            inner = self._activation(matrices.times(hidden_BTD, f"{prefix}.mlp.up", by_token=True))
        return matrices.times(inner, f"{prefix}.mlp.down", by_token=True)

    def _activation(self, value: str) -> str:
        if self._settings.activation == "silu":
            return self._graph.add("Mul", value, self._graph.add("Sigmoid", value))
        operator = "FastGelu" if self._settings.activation == "gelu_tanh" else "Gelu"
        return self._graph.add(operator, value, domain=MICROSOFT)

    def _rotate(self, heads: str, count: int) -> str:
        """Rotary positions, half-rotation layout, on [B, T, count * C]."""
        graph, width = self._graph, self._settings.head_size
        cosine = self._first_positions("rotary.cosine", lambda: np.cos(self._angles()).astype(np.float32))
        sine = self._first_positions("rotary.sine", lambda: np.sin(self._angles()).astype(np.float32))
        split = graph.add("Reshape", heads, graph.integers(0, 0, count, width))
        halves = graph.integers(width // 2, width // 2)
        first, second = graph.add_many("Split", split, halves, outputs=2, axis=3)
        low = graph.add("Sub", graph.add("Mul", first, cosine), graph.add("Mul", second, sine))
        high = graph.add("Add", graph.add("Mul", second, cosine), graph.add("Mul", first, sine))
        rotated = graph.add("Concat", low, high, axis=3)
        return graph.add("Reshape", rotated, graph.integers(0, 0, count * width))

    def _angles(self) -> NDArray[np.float64]:
        """Angle of every position and frequency: [max_positions, 1, C / 2]."""
        width = self._settings.head_size
        frequencies = self._settings.rope_theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)
        return np.arange(self._settings.max_positions)[:, None, None] * frequencies

    def _repeat_heads(self, heads: str) -> str:
        """[B, T, G * C] -> [B, T, H * C]: each key/value head serves H / G query heads."""
        graph, settings = self._graph, self._settings
        repeats = settings.num_heads // settings.num_kv_heads
        if repeats == 1:
            return heads
        split = graph.add("Reshape", heads, graph.integers(0, 0, settings.num_kv_heads, settings.head_size))
        wide = graph.add("Concat", *[split] * repeats, axis=3)
        return graph.add("Reshape", wide, graph.integers(0, 0, settings.hidden_size))

    def _norm(self, hidden_BTD: str, name: str) -> str:
        epsilon = self._settings.norm_eps
        if self._settings.block == "llama":  # an RMS norm, by the name under which ONNX Runtime has it
            scale = self._weight(f"{name}.weight")
            return self._graph.add("SimplifiedLayerNormalization", hidden_BTD, scale, axis=-1, epsilon=epsilon)
        parts = (self._weight(f"{name}.{part}") for part in ("weight", "bias"))
        return self._graph.add("LayerNormalization", hidden_BTD, *parts, axis=-1, epsilon=epsilon)

    def _token_rows(self) -> str:
        graph, name = self._graph, "embeddings.tokens.weight"
        if self._dtype == "float32":
            return graph.add("Gather", self._weight(name), self._token_ids_BT)
        rows = graph.weight(f"{name}.int8", lambda: quantize_rows(self._tensors.floats(name))[0])
        scale = graph.weight(f"{name}.scale", lambda: quantize_rows(self._tensors.floats(name))[1][:, None])
        picked, scale_BT1 = (graph.add("Gather", table, self._token_ids_BT) for table in (rows, scale))
        return graph.add("Mul", graph.to_float(picked), scale_BT1)

    def _first_positions(self, name: str, make: Callable[[], NDArray[np.generic]]) -> str:
        """The first T rows of a table of positions."""
        graph = self._graph
        zero = graph.integers(0)
        return graph.add("Slice", graph.weight(name, make), zero, self._num_tokens, zero)

    def _head_activation(self, vector_BD: str) -> str:
        if self._settings.head_activation == "leaky_relu":
            return self._graph.add("LeakyRelu", vector_BD, alpha=0.01)
        return self._graph.add("Gelu", vector_BD, domain=MICROSOFT)

    def _pool(self, hidden_BTD: str) -> str:
        if self._settings.pooling == "mean":
            return self._graph.add("ReduceMean", hidden_BTD, axes=[1], keepdims=0)
        # Without padding, the precursor's "mask_sum" rule picks the last token, too.
        return self._graph.add("Gather", hidden_BTD, self._graph.constant(np.array(-1)), axis=1)

    def _weight(self, name: str) -> str:
        return self._graph.weight(name, lambda: self._tensors.floats(name))
