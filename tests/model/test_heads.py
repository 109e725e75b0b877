"""Pooling, norms and projection heads."""

from __future__ import annotations

import pytest
import torch

from mose.errors import ConfigError
from mose.model.batch import TextBatch
from mose.model.config import MoseConfig
from mose.model.encoder import MoseModel
from mose.model.heads import add_heads, normalize, pool

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
