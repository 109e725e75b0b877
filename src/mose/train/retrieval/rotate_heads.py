"""Rotate all heads alike, so that the leading dimensions of their vectors keep most variance.

A rotation changes no dot product: every exit at full width, and every pair of exits, scores as before. The leading
dimensions are then the principal ones, so that a cut vector loses less.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mose.errors import ConfigError
from mose.model.batch import TextBatch
from mose.model.encoder import MoseModel


@torch.no_grad()
def rotate_heads(model: MoseModel, batches: Iterable[TextBatch]) -> dict[int, float]:
    """Rotate the last matrix of every head by the principal directions of the deepest exit's vectors.

    Args:
        model: With linear or mlp heads of one width; changed in place.
        batches: Texts and codes; all vectors count equally.

    Returns:
        Width (half, a quarter, an eighth) -> share of the vectors' squared length in the leading dimensions.

    Raises:
        ConfigError: The model has no heads.
    """
    if model.settings.head == "none":
        raise ConfigError("heads to rotate", got="none", allowed="linear, mlp")
    deepest = model.settings.exits[-1]
    width = model.settings.own_width
    device = next(model.parameters()).device
    moment_WW = torch.zeros(width, width, dtype=torch.float64)
    model.train(False)
    for batch in batches:
        tokens, keep = batch.token_ids_BT.to(device), batch.keep_BT.to(device)
        hidden = model(tokens, keep, exits=(deepest,))[deepest]
        vectors_BW = model.project(deepest, hidden, keep).double().cpu()
        moment_WW += vectors_BW.T @ vectors_BW
    lengths_W, directions_WW = torch.linalg.eigh(moment_WW)
    rotation_WW = directions_WW.flip(1).T
    shares_W = lengths_W.flip(0).cumsum(0) / lengths_W.sum()
    for head in model.heads.values():
        _rotate(head, rotation_WW)
    return {width // part: float(shares_W[width // part - 1]) for part in (2, 4, 8)}


def _rotate(head: nn.Module, rotation_WW: Tensor) -> None:
    last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
    rotation = rotation_WW.to(last.weight.device)
    last.weight.copy_(rotation @ last.weight.double())
    last.bias.copy_(rotation @ last.bias.double())
