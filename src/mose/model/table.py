"""Exit 0 of a converted encoder: what the encoder makes of each token alone, as a table.

The recipe of model2vec (Minish Lab): every token passes through the encoder once, principal components keep
the directions that vary most, and frequent tokens weigh little (SIF: Arora et al., 2017).
Shapes: V vocabulary, D width of the encoder, W width of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mose.errors import ConfigError
from mose.model.encoder import MoseModel
from mose.model.heads import pool
from mose.tokenizer import CodeTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecipe:
    """How exit 0 is made."""

    width: int = 256
    """Principal components kept, by variance, so that leading widths mean the most."""
    smoothing: float = 1e-4
    """A token of probability p weighs ``smoothing / (smoothing + p)``."""
    batch_tokens: int = 1024
    """Vocabulary entries in one pass of the encoder."""


@torch.no_grad()
def fill_table(
    model: MoseModel,
    tokenizer: CodeTokenizer,
    recipe: TableRecipe,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fills the model's token table from its deepest exit, in place.

    Raises:
        ConfigError: The recipe's width is not the table's or more than the encoder has.
    """
    if model.table is None or recipe.width != model.settings.table_width:
        raise ConfigError("table width", got=recipe.width, allowed=str(model.settings.table_width))
    if recipe.width > model.settings.hidden_size:
        raise ConfigError("table width", got=recipe.width, allowed=f"at most {model.settings.hidden_size}")
    vectors_VD = token_outputs(model, tokenizer, batch_tokens=recipe.batch_tokens, progress=progress)
    special = torch.tensor(tokenizer.special_ids(), dtype=torch.int64)
    real_V = torch.ones(len(vectors_VD), dtype=torch.bool)
    real_V[special] = False
    model.table.vectors.copy_(principal_components(vectors_VD, real_V, recipe.width))
    model.table.token_weights.copy_(rank_weights(real_V, recipe.smoothing))


@torch.no_grad()
def token_outputs(
    model: MoseModel,
    tokenizer: CodeTokenizer,
    *,
    batch_tokens: int,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """What the deepest exit makes of each token inside the query template, pooled, without head [V,D]."""
    settings = model.settings
    before, after = (torch.tensor(ids, dtype=torch.int64) for ids in tokenizer.frame(kind="query"))
    rows: list[Tensor] = []
    for first in range(0, settings.vocab_size, batch_tokens):
        ids_B1 = torch.arange(first, min(first + batch_tokens, settings.vocab_size))[:, None]
        size = len(ids_B1)
        token_ids_BT = torch.cat((before.expand(size, -1), ids_B1, after.expand(size, -1)), dim=1)
        keep_BT = torch.ones_like(token_ids_BT, dtype=torch.bool)
        hidden = model(token_ids_BT, keep_BT, exits=[settings.num_layers])[settings.num_layers]
        rows.append(pool(hidden, keep_BT, settings.pooling).float())
        if progress is not None:
            progress(first + size, settings.vocab_size)
    return torch.cat(rows)


def principal_components(vectors_VD: Tensor, real_V: Tensor, width: int) -> Tensor:
    """The centred vectors in their ``width`` principal directions, largest variance first [V,W].

    Mean and directions come from the rows where ``real_V`` is True.
    """
    real = vectors_VD[real_V].double()
    mean_D = real.mean(dim=0)
    variances, directions_DD = torch.linalg.eigh(torch.cov((real - mean_D).T))
    leading_DW = directions_DD[:, variances.argsort(descending=True)[:width]]
    # An eigenvector's sign is arbitrary: fixed, so that two runs agree.
    leading_DW = leading_DW * leading_DW.gather(0, leading_DW.abs().argmax(dim=0, keepdim=True)).sign()
    reduced_VW: Tensor = (vectors_VD.double() - mean_D) @ leading_DW
    return reduced_VW.float()


def rank_weights(real_V: Tensor, smoothing: float) -> Tensor:
    """SIF weights from the place in the vocabulary, by Zipf's law [V]; special tokens have 0."""
    probability_V = 1.0 / torch.arange(2, len(real_V) + 2, dtype=torch.float64)
    probability_V /= probability_V.sum()
    return torch.where(real_V, smoothing / (smoothing + probability_V), 0.0).float()
