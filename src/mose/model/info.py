"""Costs of each exit of a model: layers, parameters, bytes, FLOPs. Reads no weights, needs no torch.

Counted as in the publications: token vectors, blocks and the final norm make the backbone, also where a cut
model does not apply that norm; a multiplication with its addition is 2 FLOPs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mose.errors import ConfigError
from mose.model.folder import WEIGHTS_FILE, check_tensors, read_header
from mose.model.settings import ModelSettings
from mose.model.shapes import Shape, block_shapes, head_shapes, tensor_shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitInfo:
    """Costs of one exit, without the heads and tables of others."""

    exit_layer: int
    """0 for the token table."""
    layers: int
    """Blocks that run."""
    width: int
    """Width of the embedding."""
    backbone_parameters: int
    head_parameters: int
    parameters: int
    """Backbone and this exit's head; the table's for exit 0."""
    size_bytes: int
    flops_per_token: int
    """FLOPs of the forward pass, at the length asked for."""
    head_flops: int
    """FLOPs of the projection head, once for each text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Costs of a whole model."""

    settings: ModelSettings
    length: int
    """Tokens in a sequence, for ``flops_per_token``."""
    parameters: int
    """With every head and the token table."""
    size_bytes: int
    exits: tuple[ExitInfo, ...]


def info(model: str | Path | ModelSettings, *, length: int = 128, bytes_per_value: float = 4.0) -> ModelInfo:
    """Layers, parameters, bytes and FLOPs by exit.

    Args:
        model: A model folder, or the settings of a model.
        length: Tokens in a sequence.
        bytes_per_value: Bytes of one weight, if ``model`` is settings; float32 by default.

    Raises:
        ModelError: No such folder, or its weights do not belong to its config.
        ConfigError: A length below 1 or above the model's positions.

    Example:
        >>> from mose.model.presets import preset
        >>> info(preset("1b"), length=512).exits[0].backbone_parameters
        161566720
    """
    bytes_of: dict[str, float]
    if isinstance(model, ModelSettings):
        settings = model
        shapes = tensor_shapes(settings)
        bytes_of = {name: math.prod(shape) * bytes_per_value for name, shape in shapes.items()}
    else:
        settings = ModelSettings.read(model)
        weights = Path(model) / WEIGHTS_FILE
        tensors = read_header(weights)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        check_tensors(shapes, settings, where=str(weights))
        bytes_of = {name: tensor.num_bytes for name, tensor in tensors.items()}
    if not 1 <= length <= settings.max_positions:
        raise ConfigError("length", got=length, allowed=f"1 to {settings.max_positions}")
    return ModelInfo(
        settings=settings,
        length=length,
        parameters=_count(shapes.values()),
        size_bytes=int(sum(bytes_of.values())),
        exits=tuple(_exit_info(settings, shapes, bytes_of, exit_layer, length) for exit_layer in settings.exits),
    )


def _exit_info(
    settings: ModelSettings,
    shapes: Mapping[str, Shape],
    bytes_of: Mapping[str, float],
    exit_layer: int,
    length: int,
) -> ExitInfo:
    needed = set(_tensors_of(settings, exit_layer))
    heads = {name for name in needed if name.startswith("heads.")}
    in_heads = _count(shapes[name] for name in heads)
    in_all = _count(shapes[name] for name in needed)
    return ExitInfo(
        exit_layer=exit_layer,
        layers=exit_layer,
        width=settings.width_of(exit_layer),
        backbone_parameters=in_all - in_heads,
        head_parameters=in_heads,
        parameters=in_all,
        size_bytes=int(sum(bytes_of[name] for name in needed)),
        flops_per_token=flops_per_token(settings, exit_layer, length=length),
        head_flops=2 * _matrix_values(head_shapes(settings).values()) if exit_layer > 0 else 0,
    )


def flops_per_token(settings: ModelSettings, exit_layer: int, *, length: int) -> int:
    """FLOPs of the forward pass for each token of a sequence, up to an exit, without its head.

    Two for each value of a block's matrices; for each token attended to, two in the score and two in the mixing
    for each channel of the query heads. Exit 0, and its share in another: a product and a sum for each column of
    the table.
    """
    if exit_layer == 0:
        return 2 * settings.width_of(0)
    attention = 4 * length * settings.num_heads * settings.head_size
    words = 2 * settings.width_of(0) if settings.table_share else 0
    return exit_layer * (2 * _matrix_values(block_shapes(settings).values()) + attention) + words


def _tensors_of(settings: ModelSettings, exit_layer: int) -> list[str]:
    """Names of the tensors that one exit reads, the final norm included."""
    if exit_layer == 0:
        return [name for name in tensor_shapes(settings) if name.startswith("table.")]
    names = tensor_shapes(settings.cut_after(exit_layer))
    own_head = f"heads.{exit_layer}."
    others = ("heads.",) if settings.table_share else ("heads.", "table.")
    return [name for name in names if not name.startswith(others) or name.startswith(own_head)]


def _count(shapes: Iterable[Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def _matrix_values(shapes: Iterable[Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes if len(shape) == 2)
