"""From hidden states to an embedding: pooling, projection head, norm.

Shapes: B batch, T tokens, D width of the encoder, W width of the embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mose.errors import ConfigError
from mose.model.settings import ModelSettings

if TYPE_CHECKING:
    from mose.model.encoder import MoseModel

_SMALLEST_NORM = 1e-12


def build_heads(settings: ModelSettings) -> nn.ModuleDict:
    """One head for each exit above 0, by exit; empty without heads."""
    if settings.head == "none":
        return nn.ModuleDict()
    exits = [exit_layer for exit_layer in settings.exits if exit_layer > 0]
    return nn.ModuleDict({str(exit_layer): _head(settings) for exit_layer in exits})


def _head(settings: ModelSettings) -> nn.Sequential:
    width, out = settings.hidden_size, settings.head_width or settings.hidden_size
    if settings.head == "linear":
        return nn.Sequential(nn.Linear(width, out))
    activation = nn.LeakyReLU() if settings.head_activation == "leaky_relu" else nn.GELU()
    return nn.Sequential(nn.Linear(width, width), activation, nn.Linear(width, out))


def pool(hidden_BTD: Tensor, keep_BT: Tensor, rule: Literal["cls", "mean", "mask_sum"]) -> Tensor:
    """One vector for each sequence [B,D]; rows without a real token give zeros under "mean".

    Args:
        hidden_BTD: Hidden states.
        keep_BT: True for real tokens.
        rule: cls: last real token. mean: over real tokens. mask_sum: position ``number of real tokens - 1``.
    """
    if rule == "mean":
        share_BT1 = (keep_BT / keep_BT.sum(dim=1, keepdim=True).clamp(min=1))[..., None].to(hidden_BTD.dtype)
        mean_BD: Tensor = (hidden_BTD * share_BT1).sum(dim=1)
        return mean_BD
    if rule == "mask_sum":
        place_B = keep_BT.sum(dim=1) - 1
    else:
        numbers_T = torch.arange(keep_BT.shape[1], device=keep_BT.device)
        place_B = torch.where(keep_BT, numbers_T, -1).amax(dim=1)
    rows_B = torch.arange(len(hidden_BTD), device=hidden_BTD.device)
    return hidden_BTD[rows_B, place_B.clamp(min=0)]


def normalize(vectors_BW: Tensor, rule: Literal["unit", "unit_ball"] = "unit") -> Tensor:
    """Vectors of length 1 ("unit"), or of length at most 1 ("unit_ball"); zeros stay zeros."""
    if rule == "unit":
        return functional.normalize(vectors_BW, dim=-1, eps=_SMALLEST_NORM)
    norms_B1 = torch.linalg.vector_norm(vectors_BW, dim=-1, keepdim=True)
    inside_BW: Tensor = vectors_BW / norms_B1.clamp(min=1.0)
    return inside_BW


def join(own_BW: Tensor, table_BX: Tensor, table_share: float) -> Tensor:
    """Unit vectors of an exit and those of exit 0 as one, each as long as the root of its share [B,W+X].

    The cosine of two such vectors is ``(1 - table_share) * own cosine + table_share * exit 0's cosine``. A text
    without words, whose ``table_BX`` is zeros, has the exit's own part alone. The leading halves of both come
    first, so that half the width has something of both.
    """
    both = ((1 - table_share) ** 0.5 * own_BW, table_share**0.5 * table_BX)
    leading = [part[:, : part.shape[1] // 2] for part in both]
    trailing = [part[:, part.shape[1] // 2 :] for part in both]
    return normalize(torch.cat([*leading, *trailing], dim=-1))


class TokenTable(nn.Module):
    """Exit 0: a vector and a weight for each token; a text is the weighted sum of its tokens."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(settings.vocab_size, settings.width_of(0)))
        self.token_weights = nn.Parameter(torch.empty(settings.vocab_size))

    def forward(self, word_ids_N: Tensor, word_offsets_B: Tensor, word_factors_N: Tensor | None = None) -> Tensor:
        """Weighted sums [B,W].

        Args:
            word_ids_N: Token ids of all texts.
            word_offsets_B: Where each text's ids begin.
            word_factors_N: Further factor of each token; 1 if None.
        """
        weights_N = self.token_weights[word_ids_N]
        if word_factors_N is not None:
            weights_N = weights_N * word_factors_N.to(weights_N.dtype)
        sums_BW: Tensor = functional.embedding_bag(
            word_ids_N, self.vectors, word_offsets_B, mode="sum", per_sample_weights=weights_N
        )
        return sums_BW


def add_heads(
    model: MoseModel, kind: Literal["linear", "mlp"], init: Literal["identity", "random"] = "identity"
) -> None:
    """Gives a headless model one head for each exit above 0; its config says so afterwards.

    Args:
        model: A model with ``head: none``, changed in place.
        kind: linear: one matrix. mlp: Linear, activation, Linear.
        init: identity: the model's embeddings stay what they are (linear alone). random: as a fresh model.

    Raises:
        ConfigError: The model has heads, or an mlp was to start as the identity.
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
    for layer in heads.modules():
        if isinstance(layer, nn.Linear):
            if init == "identity":
                nn.init.eye_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=model.settings.init_std)
            nn.init.zeros_(layer.bias)
    model.heads = heads.to(device=model.device, dtype=model.dtype)


def narrow_heads(model: MoseModel, width: int) -> None:
    """Keeps the leading outputs of every head, in place; the model's config says so afterwards.

    Args:
        model: A model with heads; those that ``mose.train.rotate_heads`` has turned lose little.
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
