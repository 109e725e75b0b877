"""Pooling, norms and projection heads."""

from __future__ import annotations

import pytest
import torch

from mose.errors import ConfigError
from mose.model.batch import TextBatch
from mose.model.encoder import MoseModel
from mose.model.heads import join, normalize, pool
from mose.model.reshape import add_heads, narrow_heads
from mose.model.transformers_config import MoseConfig

from .conftest import TINY_BERT, randomized

HIDDEN = torch.tensor([[[1.0], [2.0], [4.0], [9.0]]])


@pytest.mark.parametrize(
    ("rule", "keep", "expected"),
    [
        ("cls", [1, 1, 1, 0], 4.0),
        ("cls", [0, 1, 1, 1], 9.0),
        ("mean", [1, 1, 1, 0], 7 / 3),
        ("mean", [0, 1, 1, 1], 5.0),
        ("mask_sum", [1, 1, 1, 0], 4.0),
        ("mask_sum", [0, 1, 1, 1], 4.0),  # the precursor's literal rule: wrong token when padded left
        ("mean", [0, 0, 0, 0], 0.0),
    ],
)
def test_pooling_by_hand(rule: str, keep: list[int], expected: float) -> None:
    assert pool(HIDDEN, torch.tensor([keep]).bool(), rule).item() == pytest.approx(expected)


def test_unit_norm_has_length_one_and_leaves_zeros() -> None:
    rows = normalize(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]))
    torch.testing.assert_close(rows, torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]))


def test_unit_ball_shortens_only_what_is_longer_than_one() -> None:
    rows = normalize(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), "unit_ball")
    torch.testing.assert_close(rows, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))


def test_head_comes_after_pooling(batch: TextBatch) -> None:
    model = randomized(MoseConfig.preset("tiny", pooling="mean", head_width=8))
    with torch.no_grad():
        hidden = model(batch.token_ids_BT, batch.keep_BT)[2]
        first, second = model.heads["2"][0], model.heads["2"][2]
        pooled = hidden[1, :5].mean(dim=0)
        expected = second(torch.nn.functional.leaky_relu(first(pooled)))
        assert expected.shape == (8,)
        torch.testing.assert_close(model.embed(batch)[2][1], expected / expected.norm())


def test_added_linear_heads_start_as_the_identity(batch: TextBatch) -> None:
    model = randomized(MoseConfig.preset("tiny", **{**TINY_BERT, "exits": (0, 2, 4), "table_width": 16}))
    before = model.embed(batch)
    add_heads(model, "linear")
    after = model.embed(batch)
    assert list(model.heads) == ["2", "4"]
    assert model.config.head == "linear"
    for exit_layer in (0, 2, 4):
        assert torch.equal(before[exit_layer], after[exit_layer])


def test_added_mlp_heads_start_random(batch: TextBatch) -> None:
    model = MoseModel(MoseConfig.preset("tiny", head="none"))
    add_heads(model, "mlp", init="random")
    assert model.embed(batch)[4].shape == (3, 32)
    assert model.heads["4"][2].weight.std() > 0


def test_mlp_heads_cannot_start_as_the_identity() -> None:
    with pytest.raises(ConfigError, match="init of mlp heads: got 'identity', allowed: random"):
        add_heads(MoseModel(MoseConfig.preset("tiny", head="none")), "mlp")


def test_heads_are_not_added_twice() -> None:
    with pytest.raises(ConfigError, match="has heads already: got 'mlp'"):
        add_heads(MoseModel(MoseConfig.preset("tiny")), "linear")


def test_joined_cosine_is_the_weighted_sum_of_both_cosines() -> None:
    torch.manual_seed(0)
    own, table = normalize(torch.randn(5, 7)), normalize(torch.randn(5, 3))
    joined = join(own, table, 0.3)
    assert joined.shape == (5, 10)
    torch.testing.assert_close(joined @ joined.T, 0.7 * own @ own.T + 0.3 * table @ table.T)


def test_joined_vector_of_a_text_without_words_is_its_own_part_at_length_one() -> None:
    own = torch.tensor([[0.6, 0.8]])
    torch.testing.assert_close(join(own, torch.zeros(1, 2), 0.3), torch.tensor([[0.6, 0.0, 0.8, 0.0]]))


def test_leading_half_of_a_joined_vector_is_made_of_the_leading_halves() -> None:
    torch.manual_seed(0)
    own, table = normalize(torch.randn(5, 8)), normalize(torch.randn(5, 4))
    expected = torch.cat([0.7**0.5 * own[:, :4], 0.3**0.5 * table[:, :2]], dim=1)
    torch.testing.assert_close(join(own, table, 0.3)[:, :6], expected)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_narrowed_heads_give_the_leading_outputs(batch: TextBatch, head: str) -> None:
    model = randomized(MoseConfig.preset("tiny", head=head))
    hidden = model(batch.token_ids_BT, batch.keep_BT)[2]
    before = model.project(2, hidden, batch.keep_BT)
    narrow_heads(model, 8)
    after = model.project(2, hidden, batch.keep_BT)
    torch.testing.assert_close(after, normalize(before[:, :8]))
    assert model.settings.own_width == model.config.head_width == 8


@pytest.mark.parametrize(("head", "width", "message"), [
    ("none", 8, "head_width: got 8, allowed: null without heads"),
    ("linear", 33, "head_width: got 33, allowed: 1 to 32"),
    ("linear", 0, "head_width: got 0, allowed: 1 to 32"),
])  # fmt: skip
def test_heads_are_not_narrowed_beyond_what_there_is(head: str, width: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        narrow_heads(MoseModel(MoseConfig.preset("tiny", head=head)), width)
