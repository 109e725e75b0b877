from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mose.config import LossConfig
from mose.train.retrieval.losses import contrastive_loss, row_distillation, shared_keys, vector_distillation
from mose.train.retrieval.multi_exit import Sides, multi_exit_loss


def unit(*shape: int, seed: int = 0, grad: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)
    return rows.requires_grad_(grad)


def test_contrastive_loss_equals_the_formula_written_out() -> None:
    query, code, scale = unit(3, 5), unit(3, 5, seed=1), 7.0
    expected = 0.0
    for i in range(3):
        row = [math.exp(scale * float(query[i] @ code[j])) for j in range(3)]
        column = [math.exp(scale * float(query[j] @ code[i])) for j in range(3)]
        expected -= math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))
    assert float(contrastive_loss(query, code, scale=scale)) == pytest.approx(expected / 6, abs=1e-12)


def test_loss_is_float32_for_half_vectors() -> None:
    assert contrastive_loss(unit(3, 5).bfloat16(), unit(3, 5).bfloat16(), scale=3.0).dtype == torch.float32


def test_pairs_that_share_a_key_do_not_repel_each_other() -> None:
    query, code = unit(4, 6, grad=True), unit(4, 6, seed=1, grad=True)
    keys = torch.tensor([[1, 2, -1], [3, 1, -1], [5, 6, -1], [7, 8, -1]])
    shared = shared_keys(keys, keys)
    assert shared.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [3, 3]]
    contrastive_loss(
        query[:1], code[:1], scale=5.0, shared_BN=shared[:1], all_query_ND=query, all_code_ND=code
    ).backward()
    assert code.grad is not None and query.grad is not None
    assert float(code.grad[1].abs().sum() + query.grad[1].abs().sum()) == 0.0
    assert float(code.grad[2].abs().sum()) > 0.0


def test_extra_codes_add_columns_and_masked_ones_do_not() -> None:
    query, code, extra = unit(4, 6), unit(4, 6, seed=1), unit(3, 6, seed=2)
    plain = contrastive_loss(query, code, scale=5.0)
    more = contrastive_loss(query, code, scale=5.0, extra_code_ED=extra)
    masked = contrastive_loss(query, code, scale=5.0, extra_code_ED=extra, shared_BE=torch.ones(4, 3, dtype=torch.bool))
    assert float(more) > float(plain)
    assert float(masked) == pytest.approx(float(plain), abs=1e-12)


def test_distillation_gives_the_teacher_no_gradient() -> None:
    query, code = unit(4, 6, grad=True), unit(4, 6, seed=1, grad=True)
    teacher_query, teacher_code = unit(4, 6, seed=2, grad=True), unit(4, 6, seed=3, grad=True)
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    loss = row_distillation(query, code, teacher_query, teacher_code, scale=scale)
    (loss + vector_distillation(query, teacher_query)).backward()
    assert teacher_query.grad is None and teacher_code.grad is None and scale.grad is None
    assert query.grad is not None and code.grad is not None


def test_distillation_of_the_teacher_itself_costs_nothing() -> None:
    query, code = unit(4, 6), unit(4, 6, seed=1)
    assert float(row_distillation(query, code, query, code, scale=9.0)) == pytest.approx(0, abs=1e-12)
    assert float(vector_distillation(query, query)) == pytest.approx(0, abs=1e-12)


def ladder(seed: int, *, grad: bool = False) -> dict[int, Tensor]:
    return {one: unit(4, 4 if one == 0 else 6, seed=seed + one, grad=grad) for one in (0, 2, 4)}


def test_total_is_the_weighted_sum_of_named_terms() -> None:
    sides = Sides.local(ladder(0), ladder(50))
    scale, weights = torch.tensor(5.0, dtype=torch.float64), {0: 0.5, 2: 0.25, 4: 2.0}
    terms = multi_exit_loss(sides, scale=scale, weights=weights, config=LossConfig())
    assert list(terms) == ["exit_00", "exit_02", "exit_04", "total"]
    expected = 0.5 * terms["exit_00"] + 0.25 * terms["exit_02"] + 2.0 * terms["exit_04"]
    assert float(terms["total"]) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("switch", [{"distill_rows": 1.0}, {"distill_vectors": 1.0}])
def test_switched_on_distillation_never_moves_the_deepest_exit(switch: dict[str, float]) -> None:
    query, code = ladder(0, grad=True), ladder(50, grad=True)
    config = LossConfig(**switch)
    weights = {0: 0.0, 2: 0.0, 4: 0.0}
    terms = multi_exit_loss(Sides.local(query, code), scale=torch.tensor(5.0), weights=weights, config=config)
    terms["total"].backward()
    assert query[4].grad is None and code[4].grad is None
    assert query[2].grad is not None


def test_aligned_exits_pull_across_exits() -> None:
    query, code = ladder(0, grad=True), ladder(50, grad=True)
    weights = {0: 0.0, 2: 0.0, 4: 0.0}
    terms = multi_exit_loss(
        Sides.local(query, code), scale=torch.tensor(5.0), weights=weights, config=LossConfig(aligned=1.0)
    )
    crossed = [contrastive_loss(query[a], code[b], scale=5.0) for a, b in ((2, 4), (4, 2))]
    assert float(terms["aligned"]) == pytest.approx(float(sum(crossed)) / 2, rel=1e-6)
    terms["total"].backward()
    assert query[0].grad is None and query[2].grad is not None and code[4].grad is not None


def test_widths_add_a_term_of_renormalised_leading_dimensions() -> None:
    query, code = ladder(0), ladder(50)
    terms = multi_exit_loss(
        Sides.local(query, code),
        scale=torch.tensor(5.0),
        weights={0: 1.0, 2: 1.0, 4: 1.0},
        config=LossConfig(widths=(4,)),
    )
    cut = [functional.normalize(side[4][:, :4], dim=1) for side in (query, code)]
    assert float(terms["exit_04_width_4"]) == pytest.approx(float(contrastive_loss(*cut, scale=5.0)), rel=1e-6)
    assert "exit_00_width_4" not in terms
