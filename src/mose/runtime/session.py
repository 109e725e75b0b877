"""ONNX Runtime sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.errors import ModelError
from mose.runtime.manifest import AGAIN, WEIGHTS_NAME

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_ERRORS_ONLY = 3
_LARGEST_GRAPH_BYTES = 64_000_000


class Session:
    """One graph, ready to run on one CPU core; several threads may run it at the same time.

    Args:
        path: A graph that ``mose.export.export`` wrote.

    Raises:
        ModelError: ONNX Runtime cannot read the graph or its weights.
    """

    def __init__(self, path: Path) -> None:
        self._session = _open(path)
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, token_ids: list[int]) -> dict[str, NDArray[np.float32]]:
        """Output name -> vector [width] of one text."""
        outputs = self._session.run(self._names, {"token_ids": np.array([token_ids], dtype=np.int64)})
        return {name: output[0] for name, output in zip(self._names, outputs, strict=True)}


def _open(path: Path) -> InferenceSession:
    import onnxruntime

    _check_graph(path)
    options = onnxruntime.SessionOptions()
    # One thread for each text: no barriers between operators, no threads that spin between texts.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # The exporter writes fused operators; searching for more only delays the start.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _load_errors() as error:
        raise ModelError(f"ONNX Runtime cannot open {path} ({error})", remedy=AGAIN) from error


def _check_graph(path: Path) -> None:
    """Raise `ModelError` unless all weights of a graph are in the folder's own weights file."""
    if path.stat().st_size > _LARGEST_GRAPH_BYTES:
        raise ModelError(f"size of {path}", got=path.stat().st_size, allowed=f"up to {_LARGEST_GRAPH_BYTES:,} bytes")
    graph, weights = path.read_bytes(), WEIGHTS_NAME.encode()
    # The entry "location" of a tensor's external data in protobuf; the word does not occur otherwise.
    entry = b"\x0a\x08location\x12" + bytes([len(weights)]) + weights
    if graph.count(b"location") != graph.count(entry):
        what = f"{path} takes weights from another file than {WEIGHTS_NAME}"
        raise ModelError(what, remedy=AGAIN)


def _load_errors() -> tuple[type[Exception], ...]:
    """Exceptions of ONNX Runtime for a graph or weights file that it cannot use."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented",
             "RuntimeException")  # fmt: skip
    return tuple(getattr(state, name) for name in names)
