"""Add heads to a model without them, and make heads narrower."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from mose.errors import ConfigError
from mose.model.encoder import MoseModel
from mose.model.heads import build_heads


def add_heads(
    model: MoseModel, kind: Literal["linear", "mlp"], init: Literal["identity", "random"] = "identity", *, seed: int = 0
) -> None:
    """Add one head for each exit above 0 to a model without heads, and to its config.

    Args:
        model: A model with ``head: none``, changed in place.
        kind: linear: one matrix. mlp: Linear, activation, Linear.
        init: identity: embeddings do not change (linear alone). random: as in a new model.
        seed: Seed of random heads.

    Raises:
        ConfigError: The model has heads, or ``kind`` is mlp and ``init`` identity.
    """
    if model.config.head != "none":
        raise ConfigError("the model has heads already", got=model.config.head, allowed="none")
    if kind not in ("linear", "mlp"):
        raise ConfigError("head", got=kind, allowed="linear, mlp")
    inits = ("identity", "random") if kind == "linear" else ("random",)
    if init not in inits:
        raise ConfigError(f"init of {kind} heads", got=init, allowed=", ".join(inits))
    model.config.head, model.config.head_width = kind, None
    model.settings = model.config.settings
    heads = build_heads(model.settings)
    generator = torch.Generator().manual_seed(seed)
    for layer in heads.modules():
        if isinstance(layer, nn.Linear):
            if init == "identity":
                nn.init.eye_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=model.settings.init_std, generator=generator)
            nn.init.zeros_(layer.bias)
    model.heads = heads.to(device=model.device, dtype=model.dtype)


def narrow_heads(model: MoseModel, width: int) -> None:
    """Keep the leading outputs of every head, in place, and change the config.

    Args:
        model: A model with heads; those that ``mose.train.retrieval.rotate_heads`` has turned lose little.
        width: Outputs to keep.

    Raises:
        ConfigError: The model has no heads, or none as wide.
    """
    full = model.settings.own_width
    if model.settings.head == "none" or not 1 <= width <= full:
        allowed = "null without heads" if model.settings.head == "none" else f"1 to {full}"
        raise ConfigError("head_width", got=width, allowed=allowed)
    for head in model.heads.values():
        last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
        last.weight, last.bias = nn.Parameter(last.weight[:width].clone()), nn.Parameter(last.bias[:width].clone())
        last.out_features = width
    model.config.head_width = width
    model.settings = model.config.settings
