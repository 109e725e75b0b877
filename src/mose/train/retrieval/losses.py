"""Contrastive and distillation losses over unit vectors. Tensors in, one number out.

Shapes: B local pairs, N pairs of all processes, E extra codes, D width.
Everything is computed in float32 (float64 stays), whatever the dtype of the vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def _precise(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def shared_keys(keys_BK: Tensor, keys_NK: Tensor) -> Tensor:
    """True where two pairs share a key (group, text or code): they are never negatives of each other.

    Args:
        keys_BK: Hashes of the rows, int64; negative values are padding and match nothing.
        keys_NK: Hashes of the columns.

    Returns:
        shared_BN, bool.
    """
    shared_BN = torch.zeros(len(keys_BK), len(keys_NK), dtype=torch.bool, device=keys_BK.device)
    for key_B in keys_BK.unbind(1):
        for key_N in keys_NK.unbind(1):
            shared_BN |= (key_B[:, None] == key_N[None, :]) & (key_B[:, None] >= 0)
    return shared_BN


def contrastive_loss(
    query_BD: Tensor,
    code_BD: Tensor,
    *,
    scale: float | Tensor,
    shared_BN: Tensor | None = None,
    shared_query_BN: Tensor | None = None,
    all_query_ND: Tensor | None = None,
    all_code_ND: Tensor | None = None,
    first_row: int = 0,
    extra_code_ED: Tensor | None = None,
    shared_BE: Tensor | None = None,
) -> Tensor:
    """Symmetric cross-entropy over cosine similarities; row i of both sides belongs together.

    Inputs are unit vectors. Computed in float32. Source: CLIP (Radford et al., 2021), section 2.3.
    With several processes, each passes its own rows and the columns of all; the mean over processes is
    then the loss of one process with all pairs.

    Args:
        query_BD: Vectors of this process's queries.
        code_BD: Vectors of the codes that answer them.
        scale: Factor on the cosines (inverse temperature).
        shared_BN: True where row and column must not repel each other; a pair's own column is kept.
        shared_query_BN: The same with codes as rows and queries as columns; ``shared_BN`` if None.
        all_query_ND: Queries of all processes, ``query_BD`` if None.
        all_code_ND: Codes of all processes, ``code_BD`` if None.
        first_row: Column of this process's first pair.
        extra_code_ED: More codes that answer no query of the batch: hard negatives, a queue.
        shared_BE: True where an extra code may answer the row's query after all.

    Returns:
        The mean over rows and both directions, a scalar.
    """
    all_query_ND = query_BD if all_query_ND is None else all_query_ND
    all_code_ND = code_BD if all_code_ND is None else all_code_ND
    to_code = _precise(query_BD) @ _precise(all_code_ND).T * scale
    to_query = _precise(code_BD) @ _precise(all_query_ND).T * scale
    target_B = first_row + torch.arange(len(query_BD), device=query_BD.device)
    if shared_BN is not None:
        other_BN = ~functional.one_hot(target_B, shared_BN.shape[1]).bool()
        to_code = to_code.masked_fill(shared_BN & other_BN, float("-inf"))
        shared_query_BN = shared_BN if shared_query_BN is None else shared_query_BN
        to_query = to_query.masked_fill(shared_query_BN & other_BN, float("-inf"))
    if extra_code_ED is not None and len(extra_code_ED):
        extra = _precise(query_BD) @ _precise(extra_code_ED).T * scale
        if shared_BE is not None:
            extra = extra.masked_fill(shared_BE, float("-inf"))
        to_code = torch.cat([to_code, extra], dim=1)
    loss = functional.cross_entropy(to_code, target_B) + functional.cross_entropy(to_query, target_B)
    return loss / 2


def row_distillation(
    query_BD: Tensor,
    code_ND: Tensor,
    teacher_query_BD: Tensor,
    teacher_code_ND: Tensor,
    *,
    scale: float | Tensor,
) -> Tensor:
    """Divergence of the student's similarity rows from the teacher's; the teacher gets no gradient.

    KL(teacher || student) over softmax rows, mean over rows (Hinton et al., 2015, without the factor T^2:
    both sides share one temperature).
    """
    scale = scale.detach() if isinstance(scale, Tensor) else scale
    student = _precise(query_BD) @ _precise(code_ND).T * scale
    teacher = _precise(teacher_query_BD).detach() @ _precise(teacher_code_ND).detach().T * scale
    return functional.kl_div(
        functional.log_softmax(student, dim=1),
        functional.log_softmax(teacher, dim=1),
        log_target=True,
        reduction="batchmean",
    )


def vector_distillation(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Mean of 1 - cosine between unit vectors; the teacher gets no gradient."""
    return (1 - (_precise(student_BD) * _precise(teacher_BD).detach()).sum(dim=1)).mean()
