"""Export a checkpoint to a runtime folder: a small ONNX graph for each exit over one shared weights file.

Works from ``config.json`` and ``model.safetensors`` with numpy; torch is not needed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.errors import ModelError, require
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
from mose.storage import new_folder, require_apart
from mose.tokenizer import CodeTokenizer

if TYPE_CHECKING:
    from mose.model.settings import ModelSettings

_COMPANIONS = ("LICENSE", "NOTICE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecipe:
    """What to export, with which precision, and fields of the manifest."""

    dtype: Dtype = "float32"
    """float32, or int8 for about a quarter of the size and more speed."""
    exits: Collection[int] | None = None
    """Exits to export; all of the checkpoint's if None. Blocks above the deepest are left out."""
    float_matrices: Collection[str] = ()
    """Block matrices ("layers.5.mlp.down") that stay float32 under "int8"."""
    calibration: Sequence[str] | None = None
    """Texts whose hidden states guide the rounding to int8; this package's own source if None, plain rounding if
    empty."""
    name: str | None = None
    """Name in the manifest; that of the folder if None."""
    licence: str = ""
    """SPDX expression of the weights."""
    source: str = ""
    """Where the weights come from, in words."""

    def __post_init__(self) -> None:
        require(self.dtype in ("float32", "int8"), "dtype", self.dtype, "float32, int8")


def export(checkpoint_folder: str | Path, out_folder: str | Path, recipe: ExportRecipe | None = None) -> Manifest:
    """Write the runtime folder of a checkpoint, atomically.

    Args:
        checkpoint_folder: Folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
        out_folder: Folder to write. A folder that mose wrote is replaced.
        recipe: Everything in float32 if None.

    Returns:
        The manifest that was written.

    Raises:
        ModelError: The checkpoint is missing, damaged, or lacks an exit.
        OutputError: ``out_folder`` is not a folder that mose wrote, or is the checkpoint.
        MissingExtraError: The package ``onnx`` is not installed.

    Example:
        >>> export("checkpoint", "runtime", ExportRecipe(dtype="int8"))                       # doctest: +SKIP
    """
    from mose.model.folder import check_tensors
    from mose.model.settings import ModelSettings

    require_onnx()
    recipe = recipe or ExportRecipe()
    checkpoint, out = Path(checkpoint_folder), Path(out_folder)
    settings = ModelSettings.read(checkpoint)
    exits = settings.wanted_exits(None if recipe.exits is None else tuple(recipe.exits), None)
    require_apart(out, checkpoint)
    with new_folder(out) as staging:
        tensors = TensorFile(checkpoint / "model.safetensors")
        check_tensors({name: tensors[name].shape for name in tensors}, settings, where=str(tensors.path))
        _copy_companions(checkpoint, staging)
        precision = _precision(staging, settings, tensors, recipe, num_layers=exits[-1])
        _write_graphs(staging, settings, tensors, exits, precision)
        if settings.reads_words(exits):
            _write_table(staging / TABLE_NAME, tensors, dtype=recipe.dtype)
        manifest = _manifest(staging, settings, exits, recipe, name=recipe.name or out.name)
        manifest.write(staging)
        for path in staging.iterdir():
            path.chmod(0o644)
    return manifest


def _precision(
    folder: Path, settings: ModelSettings, tensors: TensorFile, recipe: ExportRecipe, *, num_layers: int
) -> Precision:
    moments: dict[str, NDArray[np.float64]] = {}
    if recipe.dtype == "int8":
        tokenizer = CodeTokenizer.build(folder / TOKENIZER_NAME, settings.tokenizer_settings())
        texts = own_sources() if recipe.calibration is None else recipe.calibration
        moments = input_moments(settings, tensors, tokenizer, texts, num_layers=num_layers)
    return Precision(dtype=recipe.dtype, float_matrices=frozenset(recipe.float_matrices), moments=moments)


def _manifest(
    folder: Path, settings: ModelSettings, exits: tuple[int, ...], recipe: ExportRecipe, *, name: str
) -> Manifest:
    return Manifest(
        name=name,
        exits=exits,
        widths={exit_layer: settings.width_of(exit_layer) for exit_layer in exits},
        hidden_size=settings.hidden_size,
        num_layers=exits[-1],
        num_heads=settings.num_heads,
        table_share=settings.table_share,
        pooling=settings.pooling,
        norm_rule=settings.norm_rule,
        dtype=recipe.dtype,
        float_matrices=tuple(sorted(recipe.float_matrices)),
        tokenizer=settings.tokenizer_settings(),
        licence=recipe.licence,
        source=recipe.source,
        files={path.name: hash_file(path) for path in sorted(folder.iterdir())},
        settings=settings.to_json(),
    )


def _write_graphs(
    folder: Path,
    settings: ModelSettings,
    tensors: TensorFile,
    exits: tuple[int, ...],
    precision: Precision,
) -> None:
    """Write all graphs, the one with every exit first, so that deeper weights come after shallower ones."""
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
    from mose.model.folder import copy_file

    if not (checkpoint / TOKENIZER_NAME).is_file():
        raise ModelError(f"{checkpoint / TOKENIZER_NAME} is missing", remedy="Copy it there from the model's source.")
    for path in sorted(checkpoint.iterdir()):
        if path.is_file() and (path.name == TOKENIZER_NAME or path.name.startswith(_COMPANIONS)):
            copy_file(path, folder / path.name)
