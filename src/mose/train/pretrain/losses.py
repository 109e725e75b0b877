"""Losses of pre-training: tensors in, one number out. Computed in float32."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


def masked_token_loss(logits_MV: Tensor, labels_M: Tensor, *, count: float) -> Tensor:
    """Cross-entropy summed over the tokens to predict, divided by ``count``: those of the whole step."""
    return functional.cross_entropy(logits_MV.float(), labels_M, reduction="sum") / max(count, 1.0)


def pair_loss(logits_B2: Tensor, labels_B: Tensor, *, count: int) -> Tensor:
    """Cross-entropy of "same repository?" summed over pairs, divided by ``count``: those of the whole step."""
    return functional.cross_entropy(logits_B2.float(), labels_B, reduction="sum") / count


def weighted_total(terms: Mapping[tuple[str, int], Tensor], weights: Mapping[int, float], pair_weight: float) -> Tensor:
    """``L = sum over exits of alpha_i (L_tokens + pair_weight L_pairs)``.

    Args:
        terms: ("tokens" or "pairs", exit) -> loss.
        weights: Exit -> alpha_i.
        pair_weight: The paper's is 1.
    """
    factor = {"tokens": 1.0, "pairs": pair_weight}
    return torch.stack([weights[exit_layer] * factor[kind] * term for (kind, exit_layer), term in terms.items()]).sum()
