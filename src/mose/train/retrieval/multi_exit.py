"""The loss over all exits: one contrastive term each, and the terms that tie exits together.

Source of the sum: MoSE, fine-tuning loss, ``L = sum of alpha_i L_i`` (``mose.train.exit_weights`` has the weights).
"Self-distillation" in the paper is only the effect of this sum through shared lower blocks; the teacher terms
here are additions and off by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mose.config import LossConfig
from mose.train.retrieval.losses import contrastive_loss, row_distillation, vector_distillation

Vectors = Mapping[int, Tensor]
"""Exit -> unit vectors, one row a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Vectors of one step: this process's pairs, and the columns that they are compared with."""

    query: Vectors
    code: Vectors
    all_query: Vectors
    all_code: Vectors
    first_row: int = 0
    shared_BN: Tensor | None = None  # noqa: N815
    """True where a query and a code must not repel each other; rows are this process's queries."""
    shared_query_BN: Tensor | None = None  # noqa: N815
    """The same with this process's codes as rows and queries as columns; ``shared_BN`` if None."""
    extra_code: Vectors | None = None
    shared_BE: Tensor | None = None  # noqa: N815

    @classmethod
    def local(cls, query: Vectors, code: Vectors, *, shared_BN: Tensor | None = None) -> Sides:
        """One process: the columns are the pairs themselves."""
        return cls(query=query, code=code, all_query=query, all_code=code, shared_BN=shared_BN)


def multi_exit_loss(
    sides: Sides, *, scale: Tensor, weights: Mapping[int, float], config: LossConfig
) -> dict[str, Tensor]:
    """Named terms of the loss, before their weights, and their weighted sum as "total".

    Args:
        sides: Unit vectors at every exit.
        scale: Factor on the cosines.
        weights: Exit -> weight of its contrastive term.
        config: Weights of the other terms.

    Returns:
        "exit_02" and so on, the terms that are switched on, and "total".
    """
    exits = sorted(sides.query)
    deepest = exits[-1]
    terms: dict[str, Tensor] = {}
    total = torch.zeros((), device=scale.device)
    for exit_layer in exits:
        if weights[exit_layer] == 0:
            continue
        term = _contrast(sides, exit_layer, exit_layer, scale)
        terms[f"exit_{exit_layer:02d}"] = term
        total = total + weights[exit_layer] * term
        for width in config.widths:
            if width < sides.query[exit_layer].shape[1]:
                term = _contrast(sides, exit_layer, exit_layer, scale, width=width)
                terms[f"exit_{exit_layer:02d}_width_{width}"] = term
                total = total + weights[exit_layer] * config.width_weight * term
    students = [
        exit_layer for exit_layer in exits[:-1] if sides.query[exit_layer].shape[1] == sides.query[deepest].shape[1]
    ]
    if config.distill_rows:
        term = torch.stack([_rows(sides, exit_layer, deepest, scale) for exit_layer in exits[:-1]]).mean()
        terms["distill_rows"] = term
        total = total + config.distill_rows * term
    if config.distill_vectors and students:
        term = torch.stack([_vectors(sides, exit_layer, deepest) for exit_layer in students]).mean()
        terms["distill_vectors"] = term
        total = total + config.distill_vectors * term
    if config.aligned and students:
        same = [*students, deepest]
        crossed = [_contrast(sides, a, b, scale) for a in same for b in same if a != b]
        terms["aligned"] = torch.stack(crossed).mean()
        total = total + config.aligned * terms["aligned"]
    terms["total"] = total
    return terms


def _contrast(sides: Sides, query_exit: int, code_exit: int, scale: Tensor, *, width: int = 0) -> Tensor:
    def cut(vectors: Tensor) -> Tensor:
        return functional.normalize(vectors[:, :width], dim=1) if width else vectors

    extra = None if sides.extra_code is None else sides.extra_code.get(code_exit)
    return contrastive_loss(
        cut(sides.query[query_exit]),
        cut(sides.code[code_exit]),
        scale=scale,
        shared_BN=sides.shared_BN,
        shared_query_BN=sides.shared_query_BN,
        all_query_ND=cut(sides.all_query[query_exit]),
        all_code_ND=cut(sides.all_code[code_exit]),
        first_row=sides.first_row,
        extra_code_ED=None if extra is None else cut(extra),
        shared_BE=sides.shared_BE,
    )


def _rows(sides: Sides, student: int, teacher: int, scale: Tensor) -> Tensor:
    to_code, to_query = (
        row_distillation(rows[student], columns[student], rows[teacher], columns[teacher], scale=scale)
        for rows, columns in ((sides.query, sides.all_code), (sides.code, sides.all_query))
    )
    return (to_code + to_query) / 2


def _vectors(sides: Sides, student: int, teacher: int) -> Tensor:
    texts = vector_distillation(sides.query[student], sides.query[teacher])
    codes = vector_distillation(sides.code[student], sides.code[teacher])
    return (texts + codes) / 2
