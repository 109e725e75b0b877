"""From hidden states to an embedding: pooling, projection head, norm.

Shapes: B batch, T tokens, D width of the encoder, W width of the embedding.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mose.model.layers import Segments
from mose.model.settings import ModelSettings

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
        exact = torch.promote_types(hidden_BTD.dtype, torch.float32)
        share_BT1 = (keep_BT.to(exact) / keep_BT.sum(dim=1, keepdim=True).clamp(min=1))[..., None].to(hidden_BTD.dtype)
        mean_BD: Tensor = (hidden_BTD * share_BT1).sum(dim=1)
        return mean_BD
    if rule == "mask_sum":
        position_B = keep_BT.sum(dim=1) - 1
    else:
        numbers_T = torch.arange(keep_BT.shape[1], device=keep_BT.device)
        position_B = torch.where(keep_BT, numbers_T, -1).amax(dim=1)
    rows_B = torch.arange(len(hidden_BTD), device=hidden_BTD.device)
    return hidden_BTD[rows_B, position_B.clamp(min=0)]


def pool_segments(hidden_1TD: Tensor, segments: Segments, rule: Literal["cls", "mean", "mask_sum"]) -> Tensor:
    """One vector for each sequence of a packed row [N,D], as `pool` gives it for a row without padding."""
    if rule == "mean":
        return torch.stack([part_TD.mean(dim=0) for part_TD in torch.split(hidden_1TD[0], list(segments.lengths))])
    return hidden_1TD[0, segments.bounds_N1[1:].long() - 1]


def normalize(vectors_BW: Tensor, rule: Literal["unit", "unit_ball"] = "unit") -> Tensor:
    """Vectors of length 1 ("unit"), or of length at most 1 ("unit_ball"); zeros stay zeros."""
    if rule == "unit":
        return functional.normalize(vectors_BW, dim=-1, eps=_SMALLEST_NORM)
    norms_B1 = torch.linalg.vector_norm(vectors_BW, dim=-1, keepdim=True)
    inside_BW: Tensor = vectors_BW / norms_B1.clamp(min=1.0)
    return inside_BW


def join(own_BW: Tensor, table_BX: Tensor, table_share: float) -> Tensor:
    """Join unit vectors of an exit and of exit 0, each scaled by the root of its share [B,W+X].

    The cosine of two such vectors is ``(1 - table_share) * own cosine + table_share * exit 0's cosine``. A text
    without words, whose ``table_BX`` is zeros, has the exit's own part alone. The leading halves of both come
    first, so that half the width has something of both.
    """
    both = ((1 - table_share) ** 0.5 * own_BW, table_share**0.5 * table_BX)
    leading = [part[:, : part.shape[1] // 2] for part in both]
    trailing = [part[:, part.shape[1] // 2 :] for part in both]
    return normalize(torch.cat([*leading, *trailing], dim=-1))
