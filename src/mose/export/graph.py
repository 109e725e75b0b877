"""Write ONNX graphs whose weights are in one shared file.

``WeightsFile`` holds each array once; every ``GraphWriter`` of one model points into it by offset and length
(ONNX's external data). A graph has a few kilobytes, and a shallow exit touches only its part of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mose.errors import MissingExtraError
from mose.runtime.manifest import WEIGHTS_NAME

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own fused operators."""
_OPSET = 17
_IR_VERSION = 8
_PAGE_BYTES = 4096
_SMALL_BYTES = 64 * 1024


def require_onnx() -> Any:
    """The ``onnx`` package, which only export needs.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        remedy = "pip install 'mose[train]'"
        raise MissingExtraError("Export needs the package onnx", remedy=remedy) from error
    return onnx


class WeightsFile:
    """Arrays written one after the other, each once, large ones aligned to pages."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._tensors: dict[str, TensorProto] = {}

    def add(self, name: str, make: Callable[[], NDArray[np.generic]]) -> TensorProto:
        """The reference to an array in the file; the first call for ``name`` makes and writes it."""
        if name not in self._tensors:
            self._tensors[name] = self._write(name, np.ascontiguousarray(make()))
        return self._tensors[name]

    def _write(self, name: str, array: NDArray[np.generic]) -> TensorProto:
        onnx = require_onnx()
        alignment = _PAGE_BYTES if array.nbytes >= _SMALL_BYTES else 64
        self._file.write(b"\0" * (-self._file.tell() % alignment))
        offset = self._file.tell()
        self._file.write(array.tobytes())
        tensor: TensorProto = onnx.TensorProto()
        tensor.name = name
        tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        location = {"location": WEIGHTS_NAME, "offset": str(offset), "length": str(array.nbytes)}
        for key, value in location.items():
            tensor.external_data.add(key=key, value=value)
        return tensor


class GraphWriter:
    """One ONNX graph under construction; methods return the name of the value they add."""

    def __init__(self, weights: WeightsFile) -> None:
        self._onnx = require_onnx()
        self._weights = weights
        self._nodes: list[NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: type[np.generic], shape: list[str | int]) -> str:
        """An input of the graph; named dimensions are free."""
        self._inputs.append(self._value(name, dtype, shape))
        return name

    def output(self, value: str, name: str, shape: list[str | int]) -> None:
        """Make ``value`` (float32) an output called ``name``."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._value(name, np.float32, shape))

    def weight(self, name: str, make: Callable[[], NDArray[np.generic]]) -> str:
        """An array in the shared file, made by ``make`` unless another graph has written it."""
        self._initializers[name] = self._weights.add(name, make)
        return name

    def constant(self, array: NDArray[np.generic] | np.generic) -> str:
        """A small array inside the graph itself."""
        array = np.asarray(array)
        name = f"constant_{array.dtype}_{'x'.join(map(str, array.shape))}_{'_'.join(map(str, array.ravel()))}"
        if name not in self._initializers:
            self._initializers[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def integers(self, *values: int) -> str:
        """A constant int64 vector: a shape, axes, bounds of a slice."""
        return self.constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """A constant float32 number, as a vector of one."""
        return self.constant(np.array([value], dtype=np.float32))

    def to_float(self, value: str) -> str:
        """``value`` as float32."""
        return self.add("Cast", value, to=self._onnx.TensorProto.FLOAT)

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """One operator with one output. An empty input name leaves an optional input out."""
        return self.add_many(operator, *inputs, outputs=1, domain=domain, **attributes)[0]

    def add_many(self, operator: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """One operator with several outputs."""
        names = [f"{operator}_{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), names, domain=domain, **attributes))
        return names

    def save(self, path: Path) -> None:
        """Write the graph, without weights."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "mose", self._inputs, self._outputs, list(self._initializers.values()))
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="mose")
        path.write_bytes(model.SerializeToString())

    def _value(self, name: str, dtype: type[np.generic], shape: list[str | int]) -> Any:
        element = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._onnx.helper.make_tensor_value_info(name, element, shape)
