"""Properties of the encoder with either block."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mose.errors import ConfigError, ModelError
from mose.model.batch import TextBatch
from mose.model.encoder import MoseModel
from mose.model.heads import join
from mose.model.transformers_config import MoseConfig

from .conftest import TINY_BERT, randomized

TOLERANCE = 1e-5


@torch.no_grad()
def embed(model: MoseModel, token_ids: torch.Tensor, keep: torch.Tensor) -> dict[int, torch.Tensor]:
    return model.embed(TextBatch(token_ids_BT=token_ids, keep_BT=keep), exits=[1, 2, 4])


def assert_same(first: dict[int, torch.Tensor], second: dict[int, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for exit_layer in first:
        torch.testing.assert_close(first[exit_layer], second[exit_layer], atol=TOLERANCE, rtol=0)


def test_forward_returns_exits_shallowest_first(model: MoseModel, batch: TextBatch) -> None:
    hidden_by_exit = model(batch.token_ids_BT, batch.keep_BT)
    assert [(exit_layer, tuple(hidden.shape)) for exit_layer, hidden in hidden_by_exit.items()] == [
        (1, (3, 9, 32)), (2, (3, 9, 32)), (4, (3, 9, 32)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "blocks"), [({"last_exit": 2}, 2), ({"exits": [1]}, 1), ({"exits": [0]}, 0), ({}, 4)]
)
def test_no_block_above_the_deepest_exit_asked_for_is_run(
    model: MoseModel, batch: TextBatch, asked: dict[str, object], blocks: int
) -> None:
    ran: list[int] = []
    hooks = [
        block.register_forward_hook(lambda *_, depth=depth: ran.append(depth))
        for depth, block in enumerate(model.layers, start=1)
    ]
    model.embed(batch, **asked)
    for hook in hooks:
        hook.remove()
    assert ran == list(range(1, blocks + 1))


def test_amount_of_padding_changes_nothing(model: MoseModel, batch: TextBatch) -> None:
    wider = torch.nn.functional.pad(batch.token_ids_BT, (0, 6), value=3)
    keep = torch.nn.functional.pad(batch.keep_BT, (0, 6), value=False)
    assert_same(embed(model, batch.token_ids_BT, batch.keep_BT), embed(model, wider, keep))


def test_side_of_padding_changes_nothing(model: MoseModel, batch: TextBatch) -> None:
    ids, keep = batch.token_ids_BT.clone(), batch.keep_BT.flip(1)
    for row, real in enumerate(batch.keep_BT.sum(dim=1).tolist()):
        ids[row] = batch.token_ids_BT[row].roll(9 - real)
    assert_same(embed(model, batch.token_ids_BT, batch.keep_BT), embed(model, ids, keep))


def test_batch_order_changes_nothing(model: MoseModel, batch: TextBatch) -> None:
    order = torch.tensor([2, 0, 1])
    moved = embed(model, batch.token_ids_BT[order], batch.keep_BT[order])
    expected = embed(model, batch.token_ids_BT, batch.keep_BT)
    assert_same({exit_layer: rows[order] for exit_layer, rows in expected.items()}, moved)


def test_batch_size_changes_nothing(model: MoseModel, batch: TextBatch) -> None:
    together = embed(model, batch.token_ids_BT, batch.keep_BT)
    for row in range(3):
        real = batch.keep_BT[row]
        alone = embed(model, batch.token_ids_BT[row, real][None], real[real][None])
        assert_same({exit_layer: rows[row][None] for exit_layer, rows in together.items()}, alone)


def test_attention_looks_both_ways(model: MoseModel, batch: TextBatch) -> None:
    changed = batch.token_ids_BT.clone()
    changed[0, 8] += 1
    with torch.no_grad():
        before = model(batch.token_ids_BT, batch.keep_BT)[1]
        after = model(changed, batch.keep_BT)[1]
    assert (before[0, 0] - after[0, 0]).abs().max() > 1e-4
    torch.testing.assert_close(before[1:], after[1:])


def test_embeddings_have_length_one_and_the_width_of_their_exit(model: MoseModel, batch: TextBatch) -> None:
    embeddings = model.embed(batch)
    assert {exit_layer: rows.shape[1] for exit_layer, rows in embeddings.items()} == {
        0: 16,
        1: 32,
        2: 32,
        4: 32,
    }
    for exit_layer, rows in embeddings.items():
        expected = torch.tensor([1.0, 1.0, 0.0]) if exit_layer == 0 else torch.ones(3)  # the last text has no words
        torch.testing.assert_close(rows.norm(dim=1), expected)


def test_exit_0_is_the_weighted_sum_of_the_words_tokens(model: MoseModel, batch: TextBatch) -> None:
    ids, table = batch.word_ids_N, model.table
    sums = (table.token_weights[ids[:4], None] * table.vectors[ids[:4]]).sum(dim=0)
    torch.testing.assert_close(model.embed(batch, exits=[0])[0][0], sums / sums.norm())


def test_exit_0_takes_the_factors_of_words(model: MoseModel, batch: TextBatch) -> None:
    ids, table = batch.word_ids_N, model.table
    factors = torch.arange(1.0, len(ids) + 1)
    sums = (factors[:4, None] * table.token_weights[ids[:4], None] * table.vectors[ids[:4]]).sum(dim=0)
    found = model.embed(replace(batch, word_factors_N=factors), exits=[0])[0][0]
    torch.testing.assert_close(found, sums / sums.norm())


def test_exit_0_passes_gradients_to_vectors_and_weights(batch: TextBatch) -> None:
    model = randomized(MoseConfig.preset("tiny", exits=(0, 4), table_width=16))
    model.embed(batch, exits=[0])[0].sum().backward()
    used = torch.zeros(512, dtype=torch.bool).index_fill(0, batch.word_ids_N, True)
    assert torch.equal(model.table.token_weights.grad != 0, used)
    assert torch.equal(model.table.vectors.grad.abs().sum(dim=1) != 0, used)


def sharing_model() -> MoseModel:
    changes = {**TINY_BERT, "exits": (0, 2, 4), "table_width": 16, "table_share": 0.3}
    return randomized(MoseConfig.preset("tiny", **changes))


def test_exit_0_has_its_share_in_the_others(batch: TextBatch) -> None:
    model = sharing_model()
    found = model.embed(batch)
    own = model.project(2, model(batch.token_ids_BT, batch.keep_BT)[2], batch.keep_BT)
    assert found[2].shape == (3, 32 + 16)
    torch.testing.assert_close(found[2], join(own, found[0], 0.3))
    alone = model.embed(batch, exits=(2,))
    assert list(alone) == [2] and torch.equal(alone[2], found[2])


def test_share_of_exit_0_passes_no_gradient_to_the_table(batch: TextBatch) -> None:
    model = sharing_model()
    model.embed(batch, exits=(2,))[2][:, 0].sum().backward()
    assert model.table is not None and model.table.vectors.grad is None
    assert model.layers[0].mlp.up.weight.grad is not None


def test_share_of_exit_0_needs_the_words(batch: TextBatch) -> None:
    with pytest.raises(ConfigError, match="exit 0 needs the batch's words"):
        sharing_model().embed(replace(batch, word_ids_N=None), exits=(2,))


def test_exit_0_without_words_is_refused(model: MoseModel, batch: TextBatch) -> None:
    with pytest.raises(ConfigError, match="exit 0 needs the batch's words"):
        model.embed(replace(batch, word_ids_N=None, word_offsets_B=None))


def test_unknown_exit_is_refused_by_name(model: MoseModel, batch: TextBatch) -> None:
    with pytest.raises(ModelError, match=r"has no exit 3\.\n  Use --exit 0, --exit 1, --exit 2 or --exit 4\."):
        model(batch.token_ids_BT, batch.keep_BT, last_exit=3)


def test_sequence_longer_than_learned_positions_is_refused() -> None:
    model = MoseModel(MoseConfig.preset("tiny", block="bert"))
    ids = torch.full((1, 129), 7)
    with pytest.raises(ConfigError, match="got 129, allowed: at most max_positions 128"):
        model(ids, ids > 0)


def test_dropout_acts_in_training_alone(batch: TextBatch) -> None:
    model = MoseModel(MoseConfig.preset("tiny"))
    calm = [model.eval()(batch.token_ids_BT, batch.keep_BT)[4] for _ in range(2)]
    wild = [model.train()(batch.token_ids_BT, batch.keep_BT)[4] for _ in range(2)]
    assert torch.equal(*calm)
    assert not torch.allclose(*wild)


@pytest.mark.parametrize("name", ["attention_dropout", "residual_dropout", "embedding_dropout"])
def test_every_dropout_of_the_config_is_honoured(batch: TextBatch, name: str) -> None:
    off = dict.fromkeys(["attention_dropout", "residual_dropout", "embedding_dropout"], 0.0)
    calm = MoseModel(MoseConfig.preset("tiny", **off)).train()
    wild = MoseModel(MoseConfig.preset("tiny", **{**off, name: 0.5})).train()
    for model, equal in ((calm, True), (wild, False)):
        first, second = (model(batch.token_ids_BT, batch.keep_BT)[4] for _ in range(2))
        assert torch.equal(first, second) is equal


def test_gradient_checkpointing_changes_no_gradient(model: MoseModel, batch: TextBatch) -> None:
    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(5)
        model.embed(batch)[4].sum().backward()
        return [parameter.grad.clone() for parameter in model.layers.parameters()]

    model.train()
    plain = gradients()
    model.gradient_checkpointing = True
    checkpointed = gradients()
    model.gradient_checkpointing = False
    model.eval().zero_grad()
    assert all(torch.equal(*pair) for pair in zip(plain, checkpointed, strict=True))


def test_frozen_layers_keep_the_exits_below_bit_for_bit(batch: TextBatch) -> None:
    model = randomized(MoseConfig.preset("tiny", exits=(1, 2, 4), head="none"))
    before = {exit_layer: rows.clone() for exit_layer, rows in model.embed(batch).items()}
    model.freeze(layers=2)
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1.0)
    sum(rows.square()[:, :3].sum() for rows in model.embed(batch).values()).backward()
    optimizer.step()
    after = model.embed(batch)
    assert torch.equal(before[1], after[1])
    assert torch.equal(before[2], after[2])
    assert not torch.allclose(before[4], after[4])


def test_freezing_more_layers_than_there_are_is_refused(model: MoseModel) -> None:
    with pytest.raises(ConfigError, match="layers to freeze: got 5, allowed: 0 to 4"):
        model.freeze(layers=5)


def test_every_parameter_of_a_training_model_gets_a_gradient(batch: TextBatch) -> None:
    model = MoseModel(MoseConfig.preset("tiny", exits=(0, 1, 2, 4), table_width=16))
    sum(rows[:, 0].sum() for rows in model.embed(batch).values()).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
