"""What a pre-training run needs, before anyone pays for it: memory of each GPU, FLOPs, days. Needs no torch.

Memory is counted in bytes of each GPU, for weights, gradients and moments in float32 and bfloat16 arithmetic.
Shapes: T tokens of a mini-batch, D width, I inner width of the MLP, K width of all key/value heads, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from mose.config import PretrainConfig
from mose.errors import ConfigError, require
from mose.model.info import flops_per_token
from mose.model.presets import preset
from mose.model.settings import ModelSettings
from mose.model.shapes import Shape, block_shapes, pretraining_head_shapes, tensor_shapes

MEAN_SHARE = 1300 / 2048
"""Mean length of a pair, relative to the longest: the paper's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Bytes that one GPU needs under one way to share the run."""

    parallel: str
    """ddp: every GPU holds the whole state. fsdp: each holds its part, and one block whole at a time."""
    checkpoint_activations: bool
    weights: int
    """In float32, and what of them exists in bfloat16."""
    gradients: int
    moments: int
    """Of the optimizer."""
    activations: int
    """Kept for the backward pass of one mini-batch."""
    logits: int
    """Of one chunk of tokens to predict, with their gradients."""
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Costs of one run."""

    gpus: int
    encoder_parameters: int
    head_parameters: int
    """Of the heads that all exits share."""
    tokens_per_step: int
    flops_per_step: int
    """Forward and backward, on all GPUs; what checkpointing computes again is not counted."""
    tokens_per_second: int
    """On all GPUs, at the MFU assumed."""
    days: float
    mfu: float
    peak_flops: float
    memory: tuple[GpuMemory, ...]
    forward_bytes: int
    """Memory of a forward pass through every exit in bfloat16, for one sequence of ``objective.max_tokens``."""


def plan(
    config: PretrainConfig,
    settings: ModelSettings,
    *,
    gpus: int = 1,
    mfu: float = 0.4,
    peak_flops: float = 312e12,
    mean_tokens: float | None = None,
) -> Plan:
    """The plan of a run.

    Args:
        config: The run.
        settings: Its model.
        gpus: GPUs, each with one process.
        mfu: Share of the peak that the model's FLOPs make.
        peak_flops: FLOPs of one GPU a second; the default is an A100 in bfloat16.
        mean_tokens: Mean length of a pair; `MEAN_SHARE` of ``objective.max_tokens`` if None.

    Raises:
        ConfigError: A number is out of range.
    """
    require(1 <= gpus <= 1_000_000, "--gpus", gpus, "1 to 1,000,000")
    require(0.001 <= mfu <= 1, "--mfu", mfu, "0.001 to 1")
    require(1e9 <= peak_flops <= 1e18, "--tflops", peak_flops / 1e12, "0.001 to 1,000,000")
    length = mean_tokens if mean_tokens is not None else MEAN_SHARE * config.objective.max_tokens
    allowed = f"1 to objective.max_tokens {config.objective.max_tokens}"
    require(1 <= length <= config.objective.max_tokens, "--mean-tokens", length, allowed)
    tokens = round(config.batch.pairs * length)
    exits = [exit_layer for exit_layer in settings.exits if exit_layer > 0]
    flops = tokens * 3 * flops_of_forward(config, settings, exits=exits, length=round(length))
    per_second = gpus * peak_flops * mfu / (flops / tokens)
    return Plan(
        gpus=gpus,
        encoder_parameters=_count(_trained_shapes(settings).values()),
        head_parameters=_count(pretraining_head_shapes(settings).values()),
        tokens_per_step=tokens,
        flops_per_step=flops,
        tokens_per_second=round(per_second),
        days=config.run.steps * tokens / per_second / 86_400,
        mfu=mfu,
        peak_flops=peak_flops,
        memory=tuple(
            gpu_memory(config, settings, gpus=gpus, parallel=parallel, checkpoint_activations=again)
            for parallel in ("ddp", "fsdp")
            for again in (False, True)
        ),
        forward_bytes=forward_bytes(settings, config.objective.max_tokens),
    )


def planned_settings(config: PretrainConfig) -> ModelSettings:
    """Settings of the run's model: those of ``start.folder``, or of ``start.preset`` as long as that does not exist.

    Raises:
        ConfigError: Neither is there.
        ModelError: The folder is not a model folder.
    """
    if Path(config.start.folder).exists():
        return ModelSettings.read(config.start.folder)
    if not config.start.preset:
        remedy = "Make it with mose new, or name the preset that it will be made from: --set start.preset=1b"
        raise ConfigError(f"start.folder {config.start.folder} does not exist", remedy=remedy)
    return preset(config.start.preset, head="none")


def flops_of_forward(config: PretrainConfig, settings: ModelSettings, *, exits: Collection[int], length: int) -> int:
    """FLOPs of the forward pass for each token: blocks up to the deepest exit, and the heads of all exits."""
    heads = pretraining_head_shapes(settings)
    decoded = 2 * _count((heads["transform.weight"], heads["decoder.weight"]))
    return flops_per_token(settings, max(exits), length=length) + round(
        config.objective.mask_rate * len(exits) * decoded
    )


def gpu_memory(
    config: PretrainConfig, settings: ModelSettings, *, gpus: int, parallel: str, checkpoint_activations: bool
) -> GpuMemory:
    """What one GPU holds when a mini-batch is at its largest."""
    parameters = _count([*_trained_shapes(settings).values(), *pretraining_head_shapes(settings).values()])
    block = _count(block_shapes(settings).values())
    shards, copies, whole = 1, parameters, 0
    if parallel == "fsdp" and gpus > 1:
        # Whole are the block that runs and the next, which is on its way, in bfloat16; and all that is not a block.
        around = parameters - settings.num_layers * block
        shards, copies, whole = gpus, around + 2 * block, around
    matrices = _count(shape for shape in block_shapes(settings).values() if len(shape) == 2) * settings.num_layers
    moments = 8 * parameters - (4 * matrices if config.optimizer.kind == "muon" else 0)
    tokens = config.batch.mini_batch_tokens
    kept = activation_bytes(settings, tokens, checkpoint_activations=checkpoint_activations)
    logits = config.batch.decode_tokens * settings.vocab_size * (2 + 4 + 4 + 4)
    own = 4 * parameters // shards
    parts = (own + 4 * whole + 2 * copies, own + 4 * whole, moments // shards, kept, logits)
    weights, gradients, moments, activations, logits = parts
    return GpuMemory(
        parallel=parallel, checkpoint_activations=checkpoint_activations, weights=weights, gradients=gradients,
        moments=moments, activations=activations, logits=logits, total=sum(parts),
    )  # fmt: skip


def activation_bytes(settings: ModelSettings, tokens: int, *, checkpoint_activations: bool) -> int:
    """Bytes that a packed mini-batch keeps for its backward pass, with dropout and flash attention in bfloat16."""
    width, inner, keys = settings.hidden_size, settings.intermediate_size, settings.num_kv_heads * settings.head_size
    stream = 4 * width  # float32: the states between two sub-layers, which the norm reads
    dropout = width
    attention = 3 * 2 * width + 2 * (width + 2 * keys) + 2 * width + 4 * settings.num_heads + 2 * width
    mlp = 2 * width + 2 * inner + 2 * inner
    if settings.block == "llama":  # the gate's
        mlp += 2 * width + 2 * inner + 2 * inner
    block = 2 * stream + 2 * dropout + attention + mlp
    around = 2 * stream  # dropout of the embeddings, input of the final norm
    if checkpoint_activations:
        return tokens * (stream * settings.num_layers + block + around)
    return tokens * (block * settings.num_layers + around)


def forward_bytes(settings: ModelSettings, tokens: int) -> int:
    """Bytes of a forward pass in bfloat16 without gradients: weights, states of all exits, inner states of one MLP."""
    exits = sum(exit_layer > 0 for exit_layer in settings.exits)
    states = tokens * (settings.hidden_size * (exits + 4) + 2 * settings.intermediate_size)
    return 2 * (_count(tensor_shapes(settings).values()) + states)


def _trained_shapes(settings: ModelSettings) -> dict[str, Shape]:
    """Tensors that pre-training trains: all but exit 0 and projection heads."""
    return {name: s for name, s in tensor_shapes(settings).items() if not name.startswith(("table.", "heads."))}


def _count(shapes: Iterable[Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes)
