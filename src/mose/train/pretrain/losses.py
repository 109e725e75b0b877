"""Losses of pre-training: tensors in, sums out. Computed in float32 at least."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


def token_loss(predict: Callable[[Tensor], Tensor], hidden_MD: Tensor, labels_M: Tensor, *, chunk: int) -> Tensor:
    """Summed cross-entropy of the tokens to predict, and how many are right [2].

    The logits of a chunk are computed once for the loss and once more for its gradient, and kept in between by neither.

    Args:
        predict: States -> logits.
        hidden_MD: States of the tokens to predict.
        labels_M: Their ids.
        chunk: States whose logits exist at once.
    """
    chunks = zip(torch.split(hidden_MD, chunk), torch.split(labels_M, chunk), strict=True)

    def measure(part_MD: Tensor, labels_M: Tensor) -> Tensor:
        return _loss_and_right(predict(part_MD), labels_M)

    return torch.stack([checkpoint(measure, *part, use_reentrant=False) for part in chunks]).sum(dim=0)


def pair_loss(logits_N2: Tensor, labels_N: Tensor) -> Tensor:
    """Summed cross-entropy of "same repository?", and how many are right [2]."""
    return _loss_and_right(logits_N2, labels_N)


def _loss_and_right(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    exact_NC = logits_NC.to(torch.promote_types(logits_NC.dtype, torch.float32))
    loss = functional.cross_entropy(exact_NC, labels_N, reduction="sum")
    right = (logits_NC.detach().argmax(dim=-1) == labels_N).sum()
    return torch.stack([loss, right.to(loss.dtype)])
