from __future__ import annotations

import torch
from torch import Tensor

from mose.config import LossConfig
from mose.model.batch import TextBatch
from mose.model.encoder import MoseModel
from mose.model.transformers_config import MoseConfig
from mose.train.retrieval.grad_cache import cached_backward, plain_backward
from mose.train.retrieval.multi_exit import Sides, multi_exit_loss

CONFIG = LossConfig(distill_rows=0.3, distill_vectors=0.2, aligned=0.5, widths=(8,))


def setup() -> tuple[MoseModel, Tensor, list[TextBatch]]:
    torch.manual_seed(0)
    model = MoseModel(MoseConfig.preset("tiny", exits=(0, 1, 2, 4), table_width=16)).double().train()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    batches = []
    for rows, tokens in ((3, 7), (1, 5), (2, 4), (2, 9), (4, 3)):
        keep = torch.arange(tokens)[None] < torch.randint(1, tokens + 1, (rows, 1))
        batches.append(
            TextBatch(
                token_ids_BT=torch.randint(5, 300, (rows, tokens)),
                keep_BT=keep,
                word_ids_N=torch.randint(5, 300, (rows * 3,)),
                word_offsets_B=torch.arange(rows) * 3,
            )
        )
    return model, scale, batches


def gradients(run: object, *, dropout: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    model, scale, batches = setup()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = dropout

    def loss(vectors: dict[int, Tensor]) -> dict[str, Tensor]:
        vectors = {one: rows.double() for one, rows in vectors.items()}
        sides = Sides.local(
            {one: rows[:6] for one, rows in vectors.items()}, {one: rows[6:] for one, rows in vectors.items()}
        )
        return multi_exit_loss(sides, scale=scale, weights={0: 0.3, 1: 0.2, 2: 0.5, 4: 1.0}, config=CONFIG)

    # The model norms its vectors in float32; float64 all through makes the comparison exact.
    model.project = lambda one, hidden, keep: _project(model, one, hidden, keep)  # type: ignore[method-assign]
    torch.manual_seed(7)
    terms = run(model.embed, batches, loss)  # type: ignore[operator]
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    return terms, {**{name: grad for name, grad in found.items() if grad is not None}, "scale": scale.grad}


def _project(model: MoseModel, one: int, hidden: Tensor, keep: Tensor) -> Tensor:
    from mose.model.heads import pool

    return torch.nn.functional.normalize(model.heads[str(one)](pool(hidden, keep, model.settings.pooling)), dim=1)


def compare(dropout: float) -> None:
    plain_terms, plain = gradients(plain_backward, dropout=dropout)
    cached_terms, cached = gradients(cached_backward, dropout=dropout)
    assert list(plain_terms) == list(cached_terms)
    for name, term in plain_terms.items():
        assert torch.allclose(term, cached_terms[name], rtol=1e-10, atol=0), name
    assert plain.keys() == cached.keys()
    assert any(name.startswith("heads.1") for name in plain) and "table.vectors" in plain
    for name, grad in plain.items():
        limit = 1e-6 if name.startswith("table") else 1e-12
        assert torch.allclose(grad, cached[name], rtol=limit * 100, atol=limit), name


def test_cached_value_and_every_gradient_equal_the_uncached_ones() -> None:
    compare(dropout=0.0)


def test_dropout_is_the_same_in_both_passes() -> None:
    compare(dropout=0.3)


def test_random_state_afterwards_is_that_of_one_pass() -> None:
    states = []
    for run in (plain_backward, cached_backward):
        gradients(run, dropout=0.3)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
