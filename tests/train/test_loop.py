"""Steps that must not be taken, and the optimizers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mose.config import OptimizerConfig, PretrainRun
from mose.errors import ConfigError
from mose.train.distributed import World
from mose.train.log import Log
from mose.train.loop import RunState, Training, TrainingError, fit
from mose.train.optim import build_optimizer


class Batches:
    """The numbers of the steps."""

    source = "numbers"

    def __init__(self) -> None:
        self.number = 0

    def __next__(self) -> Batches:
        self.number += 1
        return self

    def __len__(self) -> int:
        return 1

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Any) -> None:
        pass


class Line:
    """One weight; its gradient in some steps is another than 1."""

    def __init__(self, gradients: dict[int, float]) -> None:
        self.weight = nn.Parameter(torch.zeros(1))
        self.gradients = gradients

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        return [("layers.0.weight", self.weight)]

    def backward(self, batch: Batches) -> dict[str, float]:
        gradient = self.gradients.get(batch.number, 1.0)
        self.weight.grad = torch.tensor([gradient])
        return {"total": gradient}

    def after_step(self) -> None:
        pass


def train(folder: Path, gradients: dict[int, float], steps: int, **changes: Any) -> tuple[Line, RunState]:
    line = Line(gradients)
    rates = OptimizerConfig(rate=0.1, warmup_share=0.0, final_share=1.0, weight_decay=0.0, clip=1e9)
    run = PretrainRun(folder=str(folder), steps=steps, **changes)
    state = RunState()
    training = Training(
        learner=line, batches=Batches(), optimizer=build_optimizer(line.named_trained(), rates, num_layers=1), run=run,
        rates=rates, validate_every=0, validate=dict, save=lambda state, reason: None, log=Log(folder / "log.jsonl"),
        world=World(),
    )  # fmt: skip
    fit(training, state)
    return line, state


def skipped(folder: Path) -> dict[int, str]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["reason"] for line in lines if line["event"] == "skipped"}


def test_a_step_that_is_not_finite_is_skipped_and_named(tmp_path: Path) -> None:
    line, state = train(tmp_path, {3: math.nan, 4: math.inf}, 10)
    assert skipped(tmp_path) == {step: "total, gradient_norm is not a finite number" for step in (3, 4)}
    assert float(line.weight.detach()) == pytest.approx(-0.8, abs=1e-4), "eight steps of 0.1 were taken"
    assert state.step == 10


def test_a_run_ends_after_too_many_skipped_steps_in_a_row(tmp_path: Path) -> None:
    bad = {number: math.nan for number in (2, 3, 5, 6, 7)}
    with pytest.raises(TrainingError, match="step 7: total"):
        train(tmp_path, bad, 10, max_skipped=2)
    assert sorted(skipped(tmp_path)) == [2, 3, 5, 6]


def test_a_spike_is_skipped_once_the_usual_norm_is_known(tmp_path: Path) -> None:
    line, state = train(tmp_path, {10: 40.0, 70: 40.0, 80: 5.0}, 90, spike=10.0)
    assert skipped(tmp_path) == {70: "the gradient norm 40 is more than run.spike times the usual 1.53"}
    assert state.skipped == 0 and float(line.weight.detach()) < 0


def test_muon_takes_the_matrices_of_the_blocks_and_nothing_else() -> None:
    named = [
        ("embeddings.tokens.weight", nn.Parameter(torch.randn(8, 4))),
        ("layers.0.mlp.up.weight", nn.Parameter(torch.randn(8, 4))),
        ("layers.0.mlp.up.bias", nn.Parameter(torch.randn(8))),
        ("pretraining_heads.decoder.weight", nn.Parameter(torch.randn(8, 4))),
    ]
    optimizer = build_optimizer(named, OptimizerConfig(kind="muon", rate=0.01), num_layers=1)
    before = {name: parameter.detach().clone() for name, parameter in named}
    for _, parameter in named:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    kinds = {name.rpartition(".")[2] for name in optimizer.tensors()}
    assert kinds == {"momentum_buffer", "step", "exp_avg", "exp_avg_sq"}
    assert sum(name.endswith("momentum_buffer") for name in optimizer.tensors()) == 1
    change = named[1][1].detach() - before["layers.0.mlp.up.weight"] * (1 - 0.01 * 0.01)
    singular = torch.linalg.svdvals(change / 0.01 / (0.2 * math.sqrt(8)))
    assert singular.min() > 0.5 and singular.max() < 1.5, "an orthogonal update"


def test_stored_moments_are_put_back() -> None:
    named = [("layers.0.weight", nn.Parameter(torch.randn(4, 4))), ("layers.0.bias", nn.Parameter(torch.randn(4)))]
    for kind in ("adamw", "muon"):
        config = OptimizerConfig(kind=kind)
        first, second = (build_optimizer(named, config, num_layers=1) for _ in range(2))
        for _, parameter in named:
            parameter.grad = torch.randn_like(parameter)
        first.step()
        second.load(first.tensors())
        remembered = {name.rpartition(".")[2] for name in second.tensors()}
        assert remembered - {"momentum_buffer"} == {"step", "exp_avg", "exp_avg_sq"}
        assert second.tensors().keys() == first.tensors().keys()
        assert all(torch.equal(value, second.tensors()[name]) for name, value in first.tensors().items())


def test_stored_moments_go_to_their_parameters_device_and_steps_stay_on_the_cpu() -> None:
    """Of single numbers, too, such as the factor on the cosines."""
    elsewhere = [
        ("log_scale", nn.Parameter(torch.ones((), device="meta"))),
        ("bias", nn.Parameter(torch.ones(2, device="meta"))),
    ]
    optimizer = build_optimizer(elsewhere, OptimizerConfig(), num_layers=1)
    optimizer.load(
        {f"optimizer.{n}.{key}": torch.zeros(()) for n in range(2) for key in ("step", "exp_avg", "exp_avg_sq")}
    )
    devices = {name: value.device.type for name, value in optimizer.tensors().items()}
    assert devices == {name: "cpu" if name.endswith("step") else "meta" for name in devices}


def test_tensorboard_is_asked_for_where_it_is_missing(tmp_path: Path) -> None:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match=r"run\.tensorboard: got True, .*\n?.*pip install tensorboard"):
            Log(tmp_path / "log.jsonl", board=tmp_path / "board")
    else:
        log = Log(tmp_path / "log.jsonl", board=tmp_path / "board")
        assert not (tmp_path / "board").exists()
        log.write(event="step", step=3, total=0.5)
        assert list((tmp_path / "board").glob("events*"))
