"""Linear heads fitted in closed form: each exit's pooled states to the deepest exit's vectors.

A start for training in which all exits share the deepest one's space, and a control that shows how much of a
shallow exit's quality comes from the head alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from mose.config import BatchConfig
from mose.data.batches import PairBatches
from mose.data.sources import Source
from mose.errors import ConfigError
from mose.model.batch import TextBatch
from mose.model.encoder import MoseModel
from mose.model.heads import pool
from mose.tokenizer import CodeTokenizer
from mose.train.retrieval.inputs import mini_batches, sides_of

_FITTING_PAIRS = 64
"""Pairs drawn from one source at once; even a small source has as many."""


def fitting_texts(
    sources: Sequence[Source], tokenizer: CodeTokenizer, batch: BatchConfig, *, count: int, seed: int
) -> Iterator[TextBatch]:
    """Mini-batches of queries and codes of the training data, about ``count`` texts in all."""
    batches = PairBatches(sources, pairs=min(batch.pairs, _FITTING_PAIRS), seed=seed)
    left = count
    while left > 0:
        pairs = next(batches).pairs
        for side in sides_of(pairs, text_tokens=batch.text_tokens, code_tokens=batch.code_tokens):
            yield from mini_batches(side, tokenizer, budget=batch.mini_batch_tokens, words=False)[0]
            left -= len(side.texts)


@torch.no_grad()
def fit_heads(model: MoseModel, batches: Iterable[TextBatch], *, ridge: float = 1e-3) -> dict[int, float]:
    """Replace the linear heads below the deepest exit by their least-squares fit to its unit vectors.

    Args:
        model: With linear heads as wide as the deepest one; changed in place.
        batches: Texts to fit on.
        ridge: Relative to the mean eigenvalue of the states' covariance.

    Returns:
        Exit -> mean cosine to the deepest exit on the same texts, after the fit.

    Raises:
        ConfigError: The heads are not linear.
    """
    if model.settings.head != "linear":
        raise ConfigError("heads to fit", got=model.settings.head, allowed="linear")
    exits = [exit_layer for exit_layer in model.settings.exits if exit_layer > 0]
    pooled: dict[int, list[Tensor]] = {exit_layer: [] for exit_layer in exits}
    device = next(model.parameters()).device
    model.train(False)
    for batch in batches:
        hidden = model(batch.token_ids_BT.to(device), batch.keep_BT.to(device), exits=exits)
        for exit_layer, hidden_BTD in hidden.items():
            pooled[exit_layer].append(pool(hidden_BTD, batch.keep_BT.to(device), model.settings.pooling).double())
    deepest = _linear(model, exits[-1])
    states = torch.cat(pooled[exits[-1]])
    target_ND = nn.functional.normalize(states @ deepest.weight.double().T + deepest.bias.double(), dim=1)
    cosines: dict[int, float] = {}
    for exit_layer in exits[:-1]:
        weight, bias = ridge_regression(torch.cat(pooled[exit_layer]), target_ND, ridge=ridge)
        head = _linear(model, exit_layer)
        head.weight.copy_(weight)
        head.bias.copy_(bias)
        fitted = nn.functional.normalize(torch.cat(pooled[exit_layer]) @ weight.T + bias, dim=1)
        cosines[exit_layer] = float((fitted * target_ND).sum(dim=1).mean())
    return cosines


def ridge_regression(states_ND: Tensor, target_NW: Tensor, *, ridge: float) -> tuple[Tensor, Tensor]:
    """Weight [W,D] and bias [W] that map centred states to targets with the least squared error."""
    mean_D, mean_W = states_ND.mean(dim=0), target_NW.mean(dim=0)
    states, target = states_ND - mean_D, target_NW - mean_W
    gram_DD = states.T @ states
    gram_DD.diagonal().add_(ridge * gram_DD.diagonal().mean())
    weight_WD = torch.linalg.solve(gram_DD, states.T @ target).T
    return weight_WD, mean_W - weight_WD @ mean_D


def _linear(model: MoseModel, exit_layer: int) -> nn.Linear:
    head = model.heads[str(exit_layer)]
    assert isinstance(head, nn.Sequential)
    linear = head[0]
    assert isinstance(linear, nn.Linear)
    return linear
