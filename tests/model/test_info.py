"""Counts: the published figures, and those of real files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mose.errors import ConfigError
from mose.model.cut import cut
from mose.model.encoder import MoseModel
from mose.model.info import info
from mose.model.presets import preset
from mose.model.shapes import tensor_shapes
from mose.model.transformers_config import MoseConfig

# Parameters of the backbone, with one head, by exit; GFLOPs per token at 128, 512, 1024, 2048 tokens.
PUBLISHED = {
    4: (161_566_720, 163_665_920, (0.224, 0.231, 0.239, 0.256)),
    9: (300_602_880, 302_702_080, (0.505, 0.519, 0.538, 0.576)),
    18: (550_867_968, 552_967_168, (1.010, 1.038, 1.076, 1.151)),
    27: (801_133_056, 803_232_256, (1.515, 1.557, 1.614, 1.727)),
    36: (1_051_398_144, 1_053_497_344, (2.020, 2.076, 2.152, 2.303)),
}


def test_1b_has_the_published_parameters() -> None:
    counted = info(preset("1b"))
    got = {one.exit_layer: (one.layers, one.backbone_parameters, one.parameters) for one in counted.exits}
    assert got == {exit_layer: (exit_layer, *figures[:2]) for exit_layer, figures in PUBLISHED.items()}
    assert {one.head_parameters for one in counted.exits} == {2_099_200}
    assert counted.parameters == 1_061_894_144


def test_1b_has_the_published_flops() -> None:
    for column, length in enumerate((128, 512, 1024, 2048)):
        got = {one.exit_layer: round(one.flops_per_token / 1e9, 3) for one in info(preset("1b"), length=length).exits}
        assert got == {exit_layer: figures[2][column] for exit_layer, figures in PUBLISHED.items()}
    assert {one.head_flops for one in info(preset("1b")).exits} == {4_194_304}


def test_counts_equal_the_modules(model: MoseModel) -> None:
    assert info(model.settings).parameters == sum(tensor.numel() for tensor in model.parameters())
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert tensor_shapes(model.settings) == shapes


@pytest.mark.parametrize("changes", [{"use_bias": False}, {"head": "linear", "head_width": 8}, {"head_width": 8}])
def test_shapes_follow_the_settings(changes: dict[str, object]) -> None:
    model = MoseModel(MoseConfig.preset("tiny", **changes))
    assert tensor_shapes(model.settings) == {name: tuple(t.shape) for name, t in model.state_dict().items()}


def test_bytes_are_those_of_the_file(model_folder: Path, tmp_path: Path) -> None:
    from mose.model.checkpoint import load_model, save_model

    save_model(load_model(model_folder, dtype=torch.bfloat16), tmp_path / "half", companions=model_folder)
    full, half = info(model_folder), info(tmp_path / "half")
    assert full.size_bytes == 4 * full.parameters == 2 * half.size_bytes
    cut(model_folder, 1, tmp_path / "cut")
    kept = info(tmp_path / "cut")
    assert kept.exits[1] == full.exits[1]
    assert kept.size_bytes == kept.exits[0].size_bytes + kept.exits[1].size_bytes


def test_exit_0_reads_the_table_alone(model_folder: Path) -> None:
    table = info(model_folder).exits[0]
    assert (table.layers, table.width, table.parameters, table.flops_per_token) == (0, 16, 512 * 17, 32)


def test_share_of_exit_0_is_counted_in_the_others() -> None:
    changes = {"exits": (0, 2, 4), "table_width": 16}
    alone, sharing = info(preset("tiny", **changes)), info(preset("tiny", table_share=0.3, **changes))
    assert sharing.exits[0] == alone.exits[0] and sharing.parameters == alone.parameters
    for one, other in zip(alone.exits[1:], sharing.exits[1:], strict=True):
        assert other.width == one.width + 16
        assert other.parameters == one.parameters + 512 * 17
        assert other.flops_per_token == one.flops_per_token + 32
        assert other.head_parameters == one.head_parameters


def test_length_beyond_the_positions_is_refused() -> None:
    with pytest.raises(ConfigError, match="length: got 4096, allowed: 1 to 2048"):
        info(preset("1b"), length=4096)


@pytest.mark.parametrize("exit_layer", [4, 9, 18, 27, 36])
def test_1b_runs_the_published_parameters_and_flops_at_every_exit(exit_layer: int) -> None:
    """Counted in the modules and in the products that a forward pass makes, without weights."""
    with torch.device("meta"):
        model = MoseModel(MoseConfig.from_settings(preset("1b").cut_after(exit_layer)))
        ids = torch.zeros(1, 512, dtype=torch.int64)
        keep = torch.ones(1, 512, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        model(ids, keep, exits=[exit_layer])
    parameters, _, giga_flops = PUBLISHED[exit_layer]
    backbone = [parameter for name, parameter in model.named_parameters() if not name.startswith("heads.")]
    assert sum(parameter.numel() for parameter in backbone) == parameters
    assert round(counter.get_total_flops() / 512 / 1e9, 3) == giga_flops[1]
