"""The plan of a pre-training run, against what a run holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from mose import cli
from mose.config import PretrainConfig, from_values, read_toml
from mose.errors import ConfigError
from mose.model.encoder import MoseModel
from mose.model.layers import Segments
from mose.model.presets import preset
from mose.model.pretraining.heads import PretrainingHeads
from mose.model.shapes import pretraining_head_shapes
from mose.model.transformers_config import MoseConfig
from mose.train.pretrain.plan import activation_bytes, plan, planned_settings

PAPER = Path(__file__).parents[2] / "configs" / "pretrain-1b.toml"


@pytest.fixture
def paper() -> PretrainConfig:
    return read_toml(PAPER, PretrainConfig)


def test_the_paper_trains_a_billion_parameters_on_a_trillion_tokens(paper: PretrainConfig) -> None:
    found = plan(paper, planned_settings(paper), gpus=512)
    assert found.encoder_parameters == 1_051_398_144
    assert found.encoder_parameters + found.head_parameters == 1_102_840_866, "mose-spec, 5: without a pooler"
    assert found.tokens_per_step * paper.run.steps == pytest.approx(0.98e12, rel=0.01)
    # Three times 2.19 GFLOPs of the blocks at 1,300 tokens, and 15 % of five exits' decoders.
    assert found.flops_per_step / found.tokens_per_step == pytest.approx(3 * (2.19e9 + 0.077e9), rel=0.01)


def test_days_follow_from_gpus_and_mfu(paper: PretrainConfig) -> None:
    settings = planned_settings(paper)
    many, one, slow = (plan(paper, settings, gpus=gpus, mfu=mfu) for gpus, mfu in ((512, 0.4), (1, 0.4), (1, 0.2)))
    assert one.days == pytest.approx(512 * many.days) and slow.days == pytest.approx(2 * one.days)
    assert many.days == pytest.approx(245_000 * many.flops_per_step / (512 * 312e12 * 0.4) / 86_400)


def test_sharding_divides_what_every_gpu_would_hold(paper: PretrainConfig) -> None:
    whole, _, sharded, _ = plan(paper, planned_settings(paper), gpus=8).memory
    assert (whole.parallel, sharded.parallel) == ("ddp", "fsdp")
    around = 1_102_840_866 - 36 * 27_807_232
    assert sharded.moments == whole.moments // 8
    assert sharded.gradients == whole.gradients // 8 + 4 * around, "embeddings and heads are whole in a backward pass"
    assert whole.moments == 2 * whole.gradients == 8 * 1_102_840_866
    assert sharded.activations == whole.activations


def test_heads_are_counted_as_they_are() -> None:
    settings = preset("tiny")
    shapes = {name: tuple(tensor.shape) for name, tensor in PretrainingHeads(settings).state_dict().items()}
    assert pretraining_head_shapes(settings) == shapes


@pytest.mark.parametrize(("block", "again"), [("starcoder2", False), ("starcoder2", True), ("llama", False)])
def test_planned_activations_are_what_a_backward_pass_keeps(block: str, again: bool) -> None:
    """Bytes of the tensors that autograd saves, without weights, in bfloat16 with dropout."""
    torch.set_num_threads(1)
    changes = {
        "hidden_size": 128,
        "num_heads": 4,
        "num_kv_heads": 2,
        "intermediate_size": 768,
        "num_layers": 6,
        "exits": (3, 6),
    }
    settings = preset("tiny", head="none", block=block, **changes)
    model = MoseModel(MoseConfig.from_settings(settings)).train()
    if again:
        model.gradient_checkpointing = True
    weights = {shape for p in model.parameters() for shape in (tuple(p.shape), tuple(p.shape)[::-1])}
    segments = Segments.of([100, 128, 28])
    ids = torch.randint(5, 500, (1, 256))
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(tensor.shape) not in weights:
            kept[tensor.untyped_storage().data_ptr()] = (tensor.untyped_storage().nbytes(), tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        model(ids, ids > 0, segments=segments)
    measured = sum(size for size, _ in kept.values())
    planned = activation_bytes(settings, 256, checkpoint_activations=again)
    if again:  # the block that is computed again is not kept while the others are
        planned -= activation_bytes(settings, 256, checkpoint_activations=False) // 6 - 256 * 8 * 128 // 6
    # RMSNorm is several operations on a CPU, which keep more than its kernel on a GPU.
    assert measured == pytest.approx(planned, rel=0.15 if block == "llama" else 0.1)


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", str(PAPER), "--gpus", "512"]) == 0
    assert "1,051,398,144 parameters" in capsys.readouterr().out
    assert cli.main(["plan", str(PAPER), "--gpus", "512", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gpus"] == 512


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--gpus", "0"], "--gpus: got 0"),
        (["--mfu", "1.5"], "--mfu: got 1.5"),
        (["--mean-tokens", "5000"], "--mean-tokens: got 5000.0, allowed: 1 to objective.max_tokens 2048"),
        (["--set", "start.preset="], "start.folder runs/1b-start does not exist"),
        (["--set", "start.preset=2b"], "preset: got '2b'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert cli.main(["plan", str(PAPER), *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_model_of_the_run_is_read_before_its_preset(tmp_path: Path) -> None:
    values = {"start": {"folder": str(tmp_path), "preset": "1b"}, "data": {"sources": ["."]}, "batch": {"pairs": 2},
              "run": {"folder": "r", "steps": 1}}  # fmt: skip
    with pytest.raises(Exception, match="is not a model folder"):
        planned_settings(from_values(values, PretrainConfig))
    with pytest.raises(ConfigError):
        planned_settings(from_values({**values, "start": {"folder": "nowhere"}}, PretrainConfig))


@pytest.mark.parametrize("option", ["--gpus", "--mfu", "--tflops", "--mean-tokens"])
def test_odd_numbers_are_refused_with_what_is_allowed(mose, option: str) -> None:
    for value in ("nan", "inf", "-1", "0", "1e-320", "1e300", "9" * 400, "many"):
        code, out, err = mose("plan", PAPER, option, value)
        assert (code, out) == (2, ""), value
        assert "allowed: " in err
