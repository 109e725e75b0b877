from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mose.config import write_toml
from mose.errors import ConfigError, DataError
from mose.model.checkpoint import load_model
from mose.model.folder import WEIGHTS_FILE
from mose.train.checkpoints import complete_checkpoints
from mose.train.loop import TrainingError
from mose.train.retrieval import run as finetune

from .conftest import Make


def log_of(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def assert_same_model(first: Path, second: Path) -> None:
    one, two = load_model(first).state_dict(), load_model(second).state_dict()
    assert one.keys() == two.keys()
    for name, weights in one.items():
        assert torch.equal(weights, two[name]), name


def test_run_learns_logs_and_leaves_a_model(make: Make, tmp_path: Path) -> None:
    folder = finetune.run(make(run__steps=30, validation__every=10))
    run = tmp_path / "run"
    assert folder == run / "model" and load_model(folder).settings.exits == (0, 1, 2, 4)
    assert load_model(run / "best").settings.exits == (0, 1, 2, 4)
    steps = log_of(run, "step")
    assert [line["step"] for line in steps] == list(range(1, 31))
    assert {"exit_00", "exit_01", "exit_04", "total", "per_second", "remaining_seconds"} <= steps[0].keys()
    assert len(log_of(run, "before")) == 2
    for name in ("exit_00", "exit_04"):  # losses: ranks among so few candidates are too coarse to compare
        losses = [line[name] for line in steps]
        assert sum(losses[-10:]) < sum(losses[:10]), (name, losses)
    assert log_of(run, "validation")[-1]["step"] == 30
    assert (run / "config.toml").is_file()
    card = (folder / "README.md").read_text(encoding="utf8")
    assert "30 steps of 8 pairs, every exit at once" in card and "| exit | mean on" in card


def test_exit_0_with_weight_0_is_left_alone_even_where_exits_are_tied(make: Make, ladder: Path, tmp_path: Path) -> None:
    tied = {"distill_rows": 1.0, "aligned": 0.5, "exit_weights": (0.0, 1.0, 1.0, 1.0)}
    changes = {f"loss__{key}": value for key, value in tied.items()}
    folder = finetune.run(make(run__steps=3, **changes))
    assert "exit_00" not in log_of(tmp_path / "run", "step")[0]
    before, after = load_model(ladder).state_dict(), load_model(folder).state_dict()
    assert torch.equal(before["table.vectors"], after["table.vectors"])
    assert not torch.equal(before["layers.0.mlp.up.weight"], after["layers.0.mlp.up.weight"])


def test_start_narrows_heads_and_gives_exit_0_a_share(make: Make, ladder: Path, tmp_path: Path) -> None:
    changes = {"heads__width": 8, "heads__table_share": 0.25, "loss__exit_weights": (0.0, 1.0, 1.0, 1.0)}
    folder = finetune.run(make(run__steps=3, heads__rotate=20, **changes))
    model = load_model(folder)
    assert (model.settings.own_width, model.settings.width_of(4), model.settings.table_share) == (8, 24, 0.25)
    before = load_model(ladder).state_dict()
    assert torch.equal(before["table.vectors"], model.state_dict()["table.vectors"])
    assert len(log_of(tmp_path / "run", "validation")) == 2  # before the first step, and at the third


def test_exit_0_alone_leaves_the_blocks_alone(make: Make, ladder: Path) -> None:
    folder = finetune.run(make(run__steps=3, loss__exit_weights=(1.0, 0.0, 0.0, 0.0)))
    before, after = load_model(ladder).state_dict(), load_model(folder).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"table.vectors", "table.token_weights"}


def test_bfloat16_on_a_cpu_changes_the_arithmetic_and_not_the_outcome(make: Make, tmp_path: Path) -> None:
    finetune.run(make("exact", run__steps=40))
    folder = finetune.run(make("low", run__steps=40, run__precision="bfloat16"))
    exact, low = (log_of(tmp_path / name, "step") for name in ("exact", "low"))
    assert all(parameter.dtype == torch.float32 for parameter in load_model(folder).parameters())
    totals = [(one["total"], other["total"]) for one, other in zip(exact, low, strict=True)]
    assert any(one != other for one, other in totals)
    assert abs(totals[0][0] - totals[0][1]) < 0.01 * totals[0][0]
    low_totals = [other for _, other in totals]
    assert sum(low_totals[-15:]) < sum(low_totals[:15])


@pytest.mark.parametrize(
    "changes",
    [
        {"start__dropout": 0.2},
        {"loss__queue": 20, "loss__queue_momentum": 0.9, "batch__gradient_cache": True, "batch__mixed": True},
        {"batch__neighbours": 4, "start__freeze_embeddings": False, "optimizer__embedding_rate": 1e-3},
        {"batch__workers": 2, "loss__mask_answers": True},
    ],
    ids=["dropout", "queue, cache, mixed", "neighbours, embeddings", "workers, masked answers"],
)
def test_six_steps_equal_three_and_three(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    finetune.run(make("whole", **changes))
    after_step = finetune.RetrievalLearner.after_step
    done = []

    def killed(learner: finetune.RetrievalLearner) -> None:
        done.append(1)
        if len(done) == 5:
            raise MemoryError("killed")
        after_step(learner)

    monkeypatch.setattr(finetune.RetrievalLearner, "after_step", killed)
    # A checkpoint after every step: the newest whole one is that of step 4.
    with pytest.raises(MemoryError):
        finetune.run(make("parts", run__checkpoint_minutes=0.0, **changes))
    monkeypatch.setattr(finetune.RetrievalLearner, "after_step", after_step)
    another = {"batch__workers": 3} if "batch__workers" in changes else {}  # their number changes nothing
    finetune.run(make("parts", run__checkpoint_minutes=0.0, **(changes | another)))
    assert log_of(tmp_path / "parts", "resumed")[0]["step"] == 4
    assert_same_model(tmp_path / "whole" / "model", tmp_path / "parts" / "model")
    whole, parts = (log_of(tmp_path / name, "step") for name in ("whole", "parts"))
    assert [line["total"] for line in whole] == [line["total"] for line in parts]


@pytest.mark.parametrize(
    ("known", "warned"),
    [
        ({"architecture": "x86_64", "avx2": True}, True),
        ({"architecture": "x86_64", "avx512_bf16": True}, False),
        ({"architecture": "x86_64", "amx_bf16": True}, False),
        ({"architecture": "aarch64"}, False),
        ({}, False),
    ],
)
def test_emulated_bfloat16_is_said_before_it_costs_hours(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: dict[str, object], warned: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    finetune.run(make(run__steps=1, run__precision="bfloat16"))
    warnings = log_of(tmp_path / "run", "warning")
    assert len(warnings) == warned and all("float32" in line["what"] for line in warnings)


def test_killed_process_resumes_exactly(make: Make, tmp_path: Path) -> None:
    finetune.run(make("whole"))
    config = make("killed", run__checkpoint_minutes=0.0)
    file = tmp_path / "config.toml"
    file.write_text(write_toml(config))
    command = [sys.executable, "-m", "mose", "finetune", "retrieval", "--config", str(file)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    while not complete_checkpoints(tmp_path / "killed" / "checkpoints") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finetune.run(config)
    assert_same_model(tmp_path / "whole" / "model", tmp_path / "killed" / "model")


def test_interrupt_saves_a_checkpoint(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_step = finetune.RetrievalLearner.after_step

    def press(learner: finetune.RetrievalLearner) -> None:
        after_step(learner)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(finetune.RetrievalLearner, "after_step", press)
    with pytest.raises(KeyboardInterrupt):
        finetune.run(make())
    assert [path.name for path in complete_checkpoints(tmp_path / "run" / "checkpoints")] == ["step_000001"]


def test_nan_stops_the_run_and_the_last_checkpoint_stands(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_step = finetune.RetrievalLearner.after_step

    def break_it(learner: finetune.RetrievalLearner) -> None:
        after_step(learner)
        if len(complete_checkpoints(tmp_path / "run" / "checkpoints")) == 2:
            learner.model.heads["4"][0].weight.data.fill_(float("nan"))

    monkeypatch.setattr(finetune.RetrievalLearner, "after_step", break_it)
    with pytest.raises(TrainingError, match=r"step 4: .*exit_04.* not a finite number"):
        finetune.run(make(run__checkpoint_minutes=0.0, run__keep_checkpoints=3, validation__every=0))
    good = load_model(tmp_path / "run" / "checkpoints" / "step_000002" / "model")
    assert all(bool(torch.isfinite(weights).all()) for weights in good.state_dict().values())
    assert len(log_of(tmp_path / "run", "step")) == 3


def test_frozen_layers_leave_shallow_exits_bit_identical(make: Make, ladder: Path) -> None:
    trained = load_model(finetune.run(make(start__freeze_layers=2, validation__every=0))).state_dict()
    for name, weights in load_model(ladder).state_dict().items():
        frozen = name.startswith(("embeddings", "layers.0.", "layers.1.", "heads.1.", "heads.2."))
        assert torch.equal(weights, trained[name]) is frozen, name


def test_single_exit_run_leaves_everything_else_as_it_was(make: Make, ladder: Path) -> None:
    folder = finetune.run(make(loss__exit_weights=[0.0, 0.0, 1.0, 0.0], optimizer__weight_decay=0.0))
    trained = load_model(folder).state_dict()
    for name, weights in load_model(ladder).state_dict().items():
        used = name.startswith(("layers.0.", "layers.1.", "heads.2."))
        assert torch.equal(weights, trained[name]) is not used, name


def test_fitted_heads_bring_shallow_exits_near_the_deepest(make: Make, tmp_path: Path) -> None:
    finetune.run(make(heads__fit=300, heads__rotate=100, run__steps=1, validation__every=0))
    cosine = log_of(tmp_path / "run", "heads fitted")[0]["cosine"]
    assert set(cosine) == {"exit_01", "exit_02"} and min(cosine.values()) > 0.8
    assert set(log_of(tmp_path / "run", "heads rotated")[0]["share"]) == {"16", "8", "4"}


def test_embeddings_have_a_rate_of_their_own(make: Make, ladder: Path) -> None:
    def moved(name: str, **changes: object) -> float:
        folder = finetune.run(make(name, run__steps=1, start__freeze_embeddings=False, validation__every=0, **changes))
        before, after = load_model(ladder).state_dict(), load_model(folder).state_dict()
        return float((before["embeddings.tokens.weight"] - after["embeddings.tokens.weight"]).abs().max())

    assert moved("slow", optimizer__embedding_rate=1e-5) < 0.01 * moved("fast")


def test_neighbours_without_exit_0_are_refused(make: Make, ladder: Path, tmp_path: Path) -> None:
    settings, tensors = json.loads((ladder / "config.json").read_text()), load_model(ladder).state_dict()
    shallow = tmp_path / "blocks-alone"
    shutil.copytree(ladder, shallow)
    (shallow / "config.json").write_text(json.dumps({**settings, "exits": [1, 2, 4], "table_width": None}))
    save_file({name: tensors[name] for name in tensors if not name.startswith("table.")}, shallow / WEIGHTS_FILE)
    with pytest.raises(ConfigError, match=r"batch\.neighbours needs exit 0"):
        finetune.run(make(start__folder=str(shallow), batch__neighbours=4))


def test_random_heads_are_fixed_by_the_seed(make: Make, ladder: Path, tmp_path: Path) -> None:
    """Also where other random numbers were drawn before, and in the copy that masks likely answers."""
    plain = tmp_path / "without-heads"
    shutil.copytree(ladder, plain)
    settings, tensors = json.loads((ladder / "config.json").read_text()), load_model(ladder).state_dict()
    (plain / "config.json").write_text(json.dumps({**settings, "head": "none"}))
    save_file({name: tensors[name] for name in tensors if not name.startswith("heads.")}, plain / WEIGHTS_FILE)
    with_heads = {"start__folder": str(plain), "heads__add": "mlp", "validation__every": 0, "run__steps": 1}
    torch.manual_seed(1)
    one = finetune.run(make("one", **with_heads))
    torch.manual_seed(2)
    two = finetune.run(make("two", **with_heads))
    assert_same_model(one, two)


def test_best_model_survives_a_kill_beside_its_checkpoint(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"validation__every": 1, "run__steps": 5, "optimizer__rate": 0.2}
    finetune.run(make("whole", **changes))
    lines = log_of(tmp_path / "whole", "validation")[1:]  # the first is that of the start model
    best = max(lines, key=lambda line: line["mean"]["all"])["step"]
    assert best < 5, "the run must end below its best"
    save_model = finetune.save_model

    def killed(*arguments: object, **named: Any) -> None:
        if f"{best} steps" in named["card"]:
            raise MemoryError("killed")
        save_model(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(finetune, "save_model", killed)
        with pytest.raises(MemoryError):
            finetune.run(make("killed", **changes))
    finetune.run(make("killed", **changes))
    assert_same_model(tmp_path / "whole" / "best", tmp_path / "killed" / "best")


def test_run_killed_before_its_first_step_is_begun_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **named: object) -> None:
        raise MemoryError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(finetune, "share_first", killed)
        patched.setattr("mose.train.log.Log.write", lambda *_, **__: None)
        with pytest.raises(MemoryError):
            finetune.run(make(run__steps=1))
    finetune.run(make(run__steps=1))


def test_card_lists_the_values_of_the_weights_beside_it(make: Make, tmp_path: Path) -> None:
    folder = finetune.run(make(run__steps=9, validation__every=1, optimizer__rate=0.2))
    lines = log_of(tmp_path / "run", "validation")[1:]  # the first is that of the start model
    latest, best = lines[-1]["mean"], json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])["best"]
    exits = [name for name in latest if name.startswith("exit_")]
    assert any(latest[name] < best[name] - 1e-3 for name in exits), "the run must end below its best"
    for path, mean in (
        (folder, latest),
        (tmp_path / "run" / "best", max(lines, key=lambda line: line["mean"]["all"])["mean"]),
    ):
        card = (path / "README.md").read_text(encoding="utf8")
        assert all(f"| {int(name[5:])} | {mean[name]:.3f} |" in card for name in exits), (path, mean, card)


def test_run_begun_by_an_older_version_is_continued(make: Make, tmp_path: Path) -> None:
    changes = {"validation__every": 0, "heads__fit": 20}
    finetune.run(make(run__steps=1, **changes))
    file = tmp_path / "run" / "config.toml"
    text = file.read_text()
    heads = text[text.index("[heads]") : text.index("[data]")]
    older = text.replace(heads, "").replace("[run]\n", "[run]\nfit_heads = 20\nrotate_heads = 0\n")
    older = re.sub(r"^frame = ", "place = ", older, flags=re.MULTILINE)
    assert older.count("place = ") == 3 and "frame" not in older  # of the data and of two validation tasks
    file.write_text(older.replace("[start]\n", '[start]\nhead = "keep"\n'))
    finetune.run(make(run__steps=2, **changes))
    assert log_of(tmp_path / "run", "resumed")[0]["step"] == 1
    file.write_text(older.replace("fit_heads = 20", "fit_heads = 21"))
    with pytest.raises(ConfigError, match=r"other settings: heads\.fit"):
        finetune.run(make(run__steps=3, **changes))


def test_run_with_other_settings_is_not_continued(make: Make) -> None:
    finetune.run(make(run__steps=1, validation__every=0))
    with pytest.raises(ConfigError, match=r"other settings: optimizer\.rate"):
        finetune.run(make(run__steps=2, validation__every=0, optimizer__rate=0.5))
    finetune.run(make(run__steps=2, validation__every=0))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"start__exits": [0, 3]}, ConfigError, r"got \[0, 3\], allowed: \[0, 1, 2, 4\]"),
        ({"loss__exit_weights": [1.0]}, ConfigError, "4 numbers"),
        ({"batch__pairs": 50}, DataError, "batch.pairs is larger"),
        ({"data__folder": "/nowhere"}, DataError, "no pair file"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    make: Make, tmp_path: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        finetune.run(make(**changes))
    assert not (tmp_path / "run" / "checkpoints").exists()
