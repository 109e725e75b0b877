"""A checkpoint to a runtime folder: one small ONNX graph for each exit over one shared weights file.

Works from ``config.json`` and ``model.safetensors`` with numpy; torch is not needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError, ModelError
from mose.export.blocks import EncoderWriter
from mose.export.calibrate import input_moments, own_sources
from mose.export.graph import GraphWriter, WeightsFile, require_onnx
from mose.export.matrices import Dtype, Precision
from mose.export.quantize import quantize_rows
from mose.runtime.manifest import (
    ALL_EXITS_NAME,
    TABLE_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    Manifest,
    exit_file,
    hash_file,
)
from mose.runtime.tensors import TensorFile
from mose.storage import new_folder
from mose.tokenizer import CodeTokenizer

if TYPE_CHECKING:
    from mose.model.settings import ModelSettings

_COMPANIONS = ("LICENSE", "NOTICE")


def export(
    checkpoint_folder: str | Path,
    out_folder: str | Path,
    *,
    dtype: Dtype = "float32",
    exits: Collection[int] | None = None,
    name: str | None = None,
    licence: str = "",
    source: str = "",
    float_matrices: Collection[str] = (),
    calibration: Sequence[str] | None = None,
) -> Manifest:
    """Write the runtime folder of a checkpoint; the folder appears complete or not at all.

    Args:
        checkpoint_folder: Folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
        out_folder: Folder to write. A folder that mose wrote is replaced.
        dtype: "float32", or "int8" for about a quarter of the size and more speed.
        exits: Exits to export; all of the checkpoint's if None. Blocks above the deepest are left out.
        name: Name in the manifest; the name of ``out_folder`` if None.
        licence: SPDX expression of the weights, for the manifest.
        source: Where the weights come from, in words, for the manifest.
        float_matrices: Block matrices ("layers.5.mlp.down") that stay float32 under "int8".
        calibration: Texts whose inner states guide the rounding to int8; this package's own source if None,
            plain rounding if empty.

    Returns:
        The manifest that was written.

    Raises:
        ModelError: The checkpoint is missing, damaged, or lacks an exit.
        OutputError: ``out_folder`` is not a folder that mose wrote.
        ConfigError: An unknown ``dtype``.
        MissingExtraError: The package ``onnx`` is not installed.

    Example:
        >>> export("checkpoint", "runtime", dtype="int8")                       # doctest: +SKIP
    """
    from mose.model.folder import check_tensors
    from mose.model.settings import ModelSettings

    if dtype not in ("float32", "int8"):
        raise ConfigError("dtype", got=dtype, allowed="float32, int8")
    require_onnx()
    checkpoint, out = Path(checkpoint_folder), Path(out_folder)
    settings = ModelSettings.read(checkpoint)
    wanted = settings.wanted_exits(None if exits is None else tuple(exits), None)
    with new_folder(out) as staging:
        tensors = TensorFile(checkpoint / "model.safetensors")
        check_tensors({name: tensors[name].shape for name in tensors}, settings, where=str(tensors.path))
        _copy_companions(checkpoint, staging)
        moments: dict[str, NDArray[np.float64]] = {}
        if dtype == "int8":
            tokenizer = CodeTokenizer.build(staging / TOKENIZER_NAME, settings.tokenizer_settings())
            texts = own_sources() if calibration is None else calibration
            moments = input_moments(settings, tensors, tokenizer, texts, num_layers=wanted[-1])
        precision = Precision(dtype=dtype, float_matrices=frozenset(float_matrices), moments=moments)
        _write_graphs(staging, settings, tensors, wanted, precision)
        if settings.reads_words(wanted):
            _write_table(staging / TABLE_NAME, tensors, dtype=dtype)
        manifest = Manifest(
            name=name or out.name,
            exits=wanted,
            widths={exit_layer: settings.width_of(exit_layer) for exit_layer in wanted},
            hidden_size=settings.hidden_size,
            num_layers=wanted[-1],
            num_heads=settings.num_heads,
            table_share=settings.table_share,
            pooling=settings.pooling,
            norm_rule=settings.norm_rule,
            dtype=dtype,
            float_matrices=tuple(sorted(float_matrices)),
            tokenizer=settings.tokenizer_settings(),
            licence=licence,
            source=source,
            files={path.name: hash_file(path) for path in sorted(staging.iterdir())},
            settings=settings.to_json(),
        )
        manifest.write(staging)
        for path in staging.iterdir():
            path.chmod(0o644)
    return manifest


def _write_graphs(
    folder: Path,
    settings: ModelSettings,
    tensors: TensorFile,
    exits: tuple[int, ...],
    precision: Precision,
) -> None:
    """All graphs, the one with every exit first: its order puts deeper weights after shallower ones."""
    deep = tuple(exit_layer for exit_layer in exits if exit_layer > 0)
    if not deep:
        return
    with (folder / WEIGHTS_NAME).open("wb") as file:
        weights = WeightsFile(file)
        graphs = {ALL_EXITS_NAME: deep} | {exit_file(exit_layer): (exit_layer,) for exit_layer in deep}
        for file_name, leaving in graphs.items():
            graph = GraphWriter(weights)
            writer = EncoderWriter(graph, settings, tensors, precision)
            hidden_BTD = writer.embeddings()
            for layer in range(leaving[-1]):
                hidden_BTD = writer.block(hidden_BTD, layer)
                if layer + 1 in leaving:
                    shape: list[str | int] = ["batch", settings.own_width]
                    graph.output(writer.embedding(hidden_BTD, layer + 1), f"exit_{layer + 1}", shape)
            graph.save(folder / file_name)


def _write_table(path: Path, tensors: TensorFile, *, dtype: Dtype) -> None:
    """Exit 0: one row and one factor (its scale times the weight of its token) for each token."""
    from safetensors.numpy import save_file

    vectors, factors = tensors.floats("table.vectors"), tensors.floats("table.token_weights")
    if dtype == "float32":
        save_file({"vectors": vectors, "factors": factors}, path)
        return
    rows, scale = quantize_rows(vectors)
    save_file({"vectors": rows, "factors": np.ascontiguousarray(scale * factors)}, path)


def _copy_companions(checkpoint: Path, folder: Path) -> None:
    if not (checkpoint / TOKENIZER_NAME).is_file():
        raise ModelError(f"{checkpoint / TOKENIZER_NAME} is missing")
    for path in sorted(checkpoint.iterdir()):
        if path.is_file() and (path.name == TOKENIZER_NAME or path.name.startswith(_COMPANIONS)):
            shutil.copyfile(path, folder / path.name)
