from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from mose import cli
from mose.config import CloneFiles, ClonesConfig, from_values, write_toml
from mose.data.clones import CloneBatches, read_clone_pairs
from mose.errors import ConfigError, DataError, ModelError
from mose.metrics.adaptive import probability
from mose.metrics.decisions import f1
from mose.model.checkpoint import load_model
from mose.model.clones.classifier import Calibration, PairClassifier, pair_features, probabilities
from mose.model.clones.detector import pair_batches, pair_margins
from mose.model.clones.pair_batch import PairInputs, encode_pairs, pad_pairs
from mose.model.encoder import MoseModel
from mose.model.transformers_config import MoseConfig
from mose.tokenizer import CodeTokenizer
from mose.train.checkpoints import complete_checkpoints
from mose.train.clones import run as clones
from mose.train.clones.learner import CloneLearner
from mose.train.distributed import World
from mose.train.loop import TrainingError

from .conftest import WORDS

Make = Callable[..., ClonesConfig]
BERT = "{cls}{first}{sep}{second}{sep}"
PAPER = "{sep}{first}{sep}{second}{cls}"


def code_rows(count: int) -> list[dict[str, str]]:
    """Two codes for each of ``count`` tasks; those of a task share a word that no other task has."""
    rows = []
    for number in range(count):
        word = WORDS[number % len(WORDS)]
        rows.append({"id": f"{number}/python", "code": f"def {word}(x): return {word}(x)", "language": "python"})
        rows.append({"id": f"{number}/go", "code": f"func {word}() {{ {word}() }}", "language": "go"})
    return rows


def pair_rows(count: int, *, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        task, label = int(rng.integers(len(WORDS))), number % 2
        other = task if label else (task + 1 + int(rng.integers(len(WORDS) - 1))) % len(WORDS)
        rows.append({"a": f"{task}/python", "b": f"{other}/go", "label": label})
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clones")
    for name, rows in (
        ("codes.jsonl", code_rows(len(WORDS))),
        ("train.jsonl", pair_rows(200, seed=0)),
        ("valid.jsonl", pair_rows(60, seed=1)),
    ):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def make(ladder: Path, folder: Path, tmp_path: Path) -> Make:
    def make(name: str = "run", **changes: object) -> ClonesConfig:
        values: dict[str, dict[str, object]] = {
            "start": {"folder": str(ladder), "freeze_embeddings": False},
            "data": {
                "folder": str(folder),
                "train": {"pairs": "train.jsonl", "codes": ["codes.jsonl"]},
                "valid": {"pairs": "valid.jsonl", "codes": ["codes.jsonl"]},
            },
            "classifier": {"max_tokens": 40},
            "batch": {"pairs": 8, "mini_batch_tokens": 120},
            "loss": {},
            "optimizer": {"rate": 1e-2, "head_rate": 1e-2},
            "validation": {"every": 3},
            "run": {"folder": str(tmp_path / name), "steps": 6, "threads": 1, "device": "cpu"},
        }
        for key, value in changes.items():
            table, field = key.split("__")
            values[table][field] = value
        return from_values(values, ClonesConfig)

    return make


@pytest.fixture
def tokenizer(ladder: Path) -> CodeTokenizer:
    return CodeTokenizer.load(ladder)


def log_of(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def assert_same_classifier(first: Path, second: Path) -> None:
    one, two = (clones.load_classifier(folder) for folder in (first, second))
    ours, theirs = one.classifier.state_dict(), two.classifier.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        assert torch.equal(weights, theirs[name]), name
    assert one.settings == two.settings


# --- the input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [BERT, PAPER])
def test_template_frames_both_codes(tokenizer: CodeTokenizer, template: str) -> None:
    pair = encode_pairs(tokenizer, ["red sum"], ["blue"], template=template, max_tokens=20)[0]
    (first,), (second,) = tokenizer.plain_ids(["red sum"]), tokenizer.plain_ids(["blue"])
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    expected = {BERT: [cls, *first, sep, *second, sep], PAPER: [sep, *first, sep, *second, cls]}
    assert pair.ids.tolist() == expected[template]
    assert pair.sides.tolist() == [0, *[1] * len(first), 0, *[2] * len(second), 0]


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [((30, 4), (13, 4)), ((4, 30), (4, 13)), ((30, 30), (9, 8)), ((9, 8), (9, 8)), ((3, 3), (3, 3))],
)
def test_longer_code_is_cut_first_and_special_tokens_never(
    tokenizer: CodeTokenizer, lengths: tuple[int, int], kept: tuple[int, int]
) -> None:
    (one,) = tokenizer.plain_ids(["red"])
    assert len(one) == 1
    first, second = (" ".join(["red"] * count) for count in lengths)
    pair = encode_pairs(tokenizer, [first], [second], template=PAPER, max_tokens=20)[0]
    assert ((pair.sides == 1).sum(), (pair.sides == 2).sum()) == kept
    assert (pair.ids == tokenizer.sep_id).sum() == 2 and pair.ids[-1] == tokenizer.cls_id


def test_code_cannot_forge_a_special_token(tokenizer: CodeTokenizer) -> None:
    pair = encode_pairs(tokenizer, ["a <sep> b"], ["c"], template=BERT, max_tokens=40)[0]
    assert (pair.ids == tokenizer.sep_id).sum() == 2


@pytest.mark.parametrize(
    "template",
    ["{cls}{first}{sep}", "{second}{first}", "{first}{second}{text}", "{first}{first}{second}", "{first}{second}{"],
)
def test_malformed_template_is_refused(make: Make, template: str) -> None:
    with pytest.raises(ConfigError, match="template of a pair"):
        clones.run(make(classifier__template=template))


# --- the data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ('{"a": "0/python", "b": "99/go", "label": 1}', r"pairs\.jsonl, line 1: no code has the id of b: got '99/go'"),
        ('{"a": "0/python", "label": 1}', r"line 1 has no field 'b'"),
        ('{"a": "0/python", "b": "1/go", "label": 2}', r"line 1, field 'label': got 2, allowed: 0 or 1"),
        ('{"a": "0/python", "b": "1/go"}', r"line 1, field 'label'"),
        ('\n{"a": "0/python", "b": "0/go", "label": 1}', r"has no pair with label 0"),
        ("", r"has no pairs"),
        ("[1]", r"line 1: got 'list', allowed: a JSON object"),
        ("{", r"line 1 is not JSON"),
    ],
)
def test_faulty_pairs_are_refused_before_training(
    make: Make, folder: Path, tmp_path: Path, pairs: str, message: str
) -> None:
    (tmp_path / "pairs.jsonl").write_text(pairs)
    files = {"pairs": str(tmp_path / "pairs.jsonl"), "codes": ["codes.jsonl"]}
    for split in ("train", "valid"):
        with pytest.raises(DataError, match=message):
            clones.run(make(**{f"data__{split}": files}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ('{"id": "x", "code": "a"}\n{"id": "x", "code": "b"}', r"codes2\.jsonl, line 2: duplicate id: got 'x'"),
        ('{"id": "0/go", "code": "a"}', r"line 1: duplicate id"),
        ('{"id": "x", "code": "  "}', r"field 'code' is empty"),
        ('{"id": "x", "func": "a"}', r"has no field 'code'"),
        ('{"idx": 3, "code": "a"}', r"has no field 'id'"),
    ],
)
def test_faulty_codes_are_refused_before_training(make: Make, tmp_path: Path, codes: str, message: str) -> None:
    (tmp_path / "codes2.jsonl").write_text(codes)
    files = {"pairs": "train.jsonl", "codes": ["codes.jsonl", str(tmp_path / "codes2.jsonl")]}
    with pytest.raises(DataError, match=message):
        clones.run(make(data__train=files))


def test_published_table_format_is_read(make: Make, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"idx": "10", "func": "int f() {}"}\n{"idx": 7, "func": "int g() {}"}\n')
    (tmp_path / "train.txt").write_text("10\t7\t0\n7\t10\t1\n")
    data = make(data__folder=str(tmp_path), data__id_field="idx", data__code_field="func").data
    pairs = read_clone_pairs(CloneFiles(pairs="train.txt", codes=("data.jsonl",)), data)
    assert pairs.texts() == (["int f() {}", "int g() {}"], ["int g() {}", "int f() {}"])
    assert pairs.labels_P.tolist() == [0, 1]
    (tmp_path / "train.txt").write_text("10\t7\n")
    with pytest.raises(DataError, match=r"train\.txt, line 1: got '10\\t7', allowed: two ids and a label"):
        read_clone_pairs(CloneFiles(pairs="train.txt", codes=("data.jsonl",)), data)


def test_each_pass_has_every_pair_once_with_its_label(make: Make) -> None:
    data = make(data__swap=0.0).data
    pairs = read_clone_pairs(data.valid, data)
    batches = CloneBatches(pairs, data, size=8, seed=3)
    seen = [
        row for _ in range(15) for row in zip(*(lambda b: (b.firsts, b.seconds, b.labels))(next(batches)), strict=True)
    ]
    every = sorted(zip(*pairs.texts(), pairs.labels_P.tolist(), strict=True))
    assert sorted(seen[:60]) == every and sorted(seen[60:]) == every
    assert seen[:60] != seen[60:]


def test_swapped_pairs_hold_the_same_codes(make: Make) -> None:
    kept, swapped = (make(data__swap=chance).data for chance in (0.0, 1.0))
    pairs = read_clone_pairs(kept.valid, kept)
    one, two = (next(CloneBatches(pairs, data, size=8, seed=3)) for data in (kept, swapped))
    assert (one.firsts, one.seconds) == (two.seconds, two.firsts) and one.labels == two.labels


# --- the classifier ------------------------------------------------------------------------------------------


def trained_classifier(ladder: Path, features: Any = "sides", **changes: Any) -> PairClassifier:
    model = load_model(ladder)
    if changes:
        torch.manual_seed(0)
        model = MoseModel(MoseConfig.preset("tiny", vocab_size=model.settings.vocab_size, **changes)).eval()
    classifier = PairClassifier(model, features).eval()
    torch.manual_seed(1)
    for parameter in classifier.classifiers.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return classifier


@pytest.mark.parametrize("features", ["pooled", "sides"])
def test_shallow_logits_do_not_need_the_blocks_above(ladder: Path, tokenizer: CodeTokenizer, features: str) -> None:
    classifier = trained_classifier(ladder, features)
    batch = pad_pairs(tokenizer, encode_pairs(tokenizer, WORDS[:6], WORDS[6:12], template=BERT, max_tokens=20))
    every = classifier(batch)
    assert list(every) == [1, 2, 4]
    classifier.model.layers = classifier.model.layers[:2]
    for one in (1, 2):
        assert torch.equal(classifier(batch, exits=(one,))[one], every[one])


@pytest.mark.parametrize("block", ["starcoder2", "bert"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_early_leavers_get_the_answer_of_their_exit(
    ladder: Path, tokenizer: CodeTokenizer, block: str, side: str
) -> None:
    classifier = trained_classifier(ladder, "sides", block=block, exits=(1, 2, 4), pooling="cls")
    tokenizer.padding_side = side  # type: ignore[assignment]
    texts = [" ".join(WORDS[start : start + 1 + start % 5]) for start in range(16)]
    batch = pad_pairs(tokenizer, encode_pairs(tokenizer, texts, texts[::-1], template=PAPER, max_tokens=20))
    every = classifier(batch)
    calibration = dict.fromkeys(every, Calibration(temperature=2.0))
    by_exit = {
        one: probability((logits[:, 1] - logits[:, 0]).detach().double().numpy(), calibration[one].temperature)
        for one, logits in every.items()
    }
    sure = np.sort(np.maximum(by_exit[1], 1 - by_exit[1]))[7:9].mean()  # half of the pairs leave at once
    found, exits = classifier.leave_early(batch, confidence=float(sure), calibration=calibration)
    assert exits.tolist().count(1) == 8 and len(set(exits.tolist())) > 1
    for row, one in enumerate(exits.tolist()):
        assert float(found[row]) == pytest.approx(by_exit[one][row], abs=1e-5)


def test_blocks_above_run_for_the_remaining_pairs_alone(
    ladder: Path, tokenizer: CodeTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = trained_classifier(ladder)
    batch = pad_pairs(tokenizer, encode_pairs(tokenizer, WORDS[:8], WORDS[8:16], template=BERT, max_tokens=20))
    rows: list[int] = []
    run = MoseModel._run

    def counted(model: MoseModel, block: torch.nn.Module, hidden_BTD: torch.Tensor, *rest: Any) -> torch.Tensor:
        rows.append(len(hidden_BTD))
        return run(model, block, hidden_BTD, *rest)

    monkeypatch.setattr(MoseModel, "_run", counted)
    calibration = dict.fromkeys((1, 2, 4), Calibration(temperature=2.0))
    shallow = {one: probabilities(classifier(batch, exits=(one,))[one], 2.0) for one in (1, 2)}
    sure_2B = torch.stack([torch.maximum(found, 1 - found) for found in shallow.values()])
    confidence = float(sure_2B.amax(dim=0).sort().values[3])  # three pairs are sure at neither exit
    rows.clear()
    _, exits = classifier.leave_early(batch, confidence=confidence, calibration=calibration)
    going = {depth: sum(one >= depth for one in exits.tolist()) for depth in (1, 2, 3, 4)}
    assert going[1] == 8 > going[2] >= going[3] == 3
    assert rows == list(going.values())
    rows.clear()
    classifier.leave_early(batch, confidence=0.5, calibration=calibration)
    assert rows == [8]


def test_sides_differ_only_where_the_codes_do(ladder: Path, tokenizer: CodeTokenizer) -> None:
    hidden = torch.randn(1, 5, 4)
    hidden[0, 3] = hidden[0, 1]
    batch = PairInputs(
        token_ids_BT=torch.ones(1, 5, dtype=torch.int64),
        keep_BT=torch.tensor([[True, True, True, True, False]]),
        sides_BT=torch.tensor([[0, 1, 0, 2, 0]]),
    )
    features = pair_features(hidden, batch, "sides", "mean")
    assert torch.allclose(features[:, :4], hidden[:, :4].mean(dim=1))
    assert features[0, 4:8].sum().item() == pytest.approx(4.0, rel=1e-5)  # width times a cosine of 1
    assert torch.allclose(features[:, 8:], torch.zeros(1, 4), atol=1e-6)
    assert torch.equal(pair_features(hidden, batch, "pooled", "mean"), features[:, :4])


# --- the loss ------------------------------------------------------------------------------------------------


def learner_of(
    config: ClonesConfig, ladder: Path, tokenizer: CodeTokenizer, world: World | None = None
) -> CloneLearner:
    classifier = trained_classifier(ladder, config.classifier.features)
    pairs = clones.pair_settings(config.classifier, replace(classifier.model.settings, block="bert"))
    return CloneLearner(classifier, tokenizer, pairs, config, world=world or World(), device=torch.device("cpu"))


def test_loss_is_the_papers_weighted_sum(make: Make, ladder: Path, tokenizer: CodeTokenizer) -> None:
    config = make()
    learner = learner_of(config, ladder, tokenizer)
    batch = next(CloneBatches(read_clone_pairs(config.data.train, config.data), config.data, size=8, seed=0))
    terms = learner.backward(batch)
    assert terms["total"] == pytest.approx(sum(one / 4 * terms[f"exit_{one:02d}"] for one in (1, 2, 4)), rel=1e-6)
    assert learner.check(batch) == pytest.approx(terms, rel=1e-5)


def test_mini_batches_and_processes_change_no_gradient(
    make: Make, ladder: Path, tokenizer: CodeTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, small = make(batch__mini_batch_tokens=4000), make(batch__mini_batch_tokens=40)
    batch = next(CloneBatches(read_clone_pairs(config.data.train, config.data), config.data, size=8, seed=0))

    # The shares of two processes in one: their mean is taken here.
    monkeypatch.setattr("mose.train.clones.learner.average_gradients", lambda trained, world: None)

    def gradients(config: ClonesConfig, worlds: list[World]) -> dict[str, torch.Tensor]:
        sums: dict[str, torch.Tensor] = {}
        for world in worlds:
            learner = learner_of(config, ladder, tokenizer, world)
            learner.backward(batch)
            for name, parameter in learner.named_trained():
                if parameter.grad is not None:
                    sums[name] = sums.get(name, torch.zeros(())) + parameter.grad / len(worlds)
        return sums

    whole = gradients(config, [World()])
    for other in (gradients(small, [World()]), gradients(config, [World(rank=rank, size=2) for rank in (0, 1)])):
        assert whole.keys() == other.keys()
        for name, gradient in whole.items():
            assert torch.allclose(gradient, other[name], atol=2e-6), name


# --- the run -------------------------------------------------------------------------------------------------


def test_run_learns_and_leaves_a_detector(make: Make, tmp_path: Path) -> None:
    config = make(run__steps=80, validation__every=40, classifier__features="sides")
    folder, run = clones.run(config), tmp_path / "run"
    assert folder == run / "model" and (run / "config.toml").read_text() == write_toml(config)
    assert [line["step"] for line in log_of(run, "step")] == list(range(1, 81))
    assert {"exit_01", "exit_04", "total", "per_second", "remaining_seconds"} <= log_of(run, "step")[0].keys()
    assert "exit_00" not in log_of(run, "step")[0]
    assert len(log_of(run, "before")) == 2 and log_of(run, "start")[0]["sources"]["valid"]["clones"] == 30
    assert log_of(run, "validation")[-1]["mean"]["exit_04"] > 0.9
    assert log_of(run, "adaptive")[0]["f1"] >= 0.99 * log_of(run, "adaptive")[0]["full_f1"]
    for place in (folder, run / "best"):
        detector = clones.load_classifier(place)
        assert detector.exits == (1, 2, 4) and detector.settings.confidence is not None
    detector = clones.load_classifier(folder)
    found = detector.predict(["def red(x): return red(x)"] * 2, ["func red() { red() }", "func tree() { tree() }"])
    assert found.clone_N.tolist() == [True, False] and found.exit_N.tolist() == [4, 4]


def test_detector_answers_at_one_exit_or_where_it_is_sure(make: Make) -> None:
    config = make(run__steps=20, validation__every=0, run__log_every=5)
    detector = clones.load_classifier(clones.run(config))
    texts = read_clone_pairs(config.data.valid, config.data).texts()
    margins = pair_margins(detector.classifier, detector.tokenizer, *texts, detector.settings)
    for one in detector.exits:
        found = detector.predict(*texts, exit=one)
        calibration = detector.settings.calibration[one]
        assert np.allclose(found.probability_N, probability(margins[one], calibration.temperature), atol=1e-6)
        assert found.exit_N.tolist() == [one] * 60
        assert (found.clone_N == (found.probability_N >= calibration.threshold)).all()
    early = detector.predict(*texts, confidence=0.6)
    for row, one in enumerate(early.exit_N.tolist()):
        at = detector.settings.calibration[one]
        assert early.probability_N[row] == pytest.approx(probability(margins[one], at.temperature)[row], abs=1e-5)
        assert early.clone_N[row] == (early.probability_N[row] >= at.threshold)
    with pytest.raises(ConfigError, match="exit and confidence"):
        detector.predict(*texts, exit=1, confidence=0.9)
    with pytest.raises(ModelError, match="no exit 3"):
        detector.predict(*texts, exit=3)
    assert detector.predict([], []).exit_N.tolist() == []


def test_order_of_pairs_changes_nothing(ladder: Path, tokenizer: CodeTokenizer, make: Make) -> None:
    classifier = trained_classifier(ladder)
    settings = clones.pair_settings(make().classifier, replace(classifier.model.settings, block="bert"))
    firsts = [" ".join(WORDS[: 1 + number % 7]) for number in range(20)]
    seconds = [" ".join(WORDS[number % 5 :]) for number in range(20)]
    rows = [row for group, _ in pair_batches(tokenizer, firsts, seconds, settings) for row in group]
    assert sorted(rows) == list(range(20)) and rows != sorted(rows)
    one = pair_margins(classifier, tokenizer, firsts, seconds, settings)[4]
    two = pair_margins(classifier, tokenizer, firsts[::-1], seconds[::-1], settings)[4]
    assert np.allclose(one, two[::-1], atol=1e-5)


def test_six_steps_equal_three_and_three(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: dict[str, object] = {"start__dropout": 0.2, "data__rename": 0.5, "data__hide_name": 0.5}
    clones.run(make("whole", **changes))
    after_step, done = CloneLearner.after_step, []

    def killed(learner: CloneLearner) -> None:
        done.append(1)
        if len(done) == 5:
            raise MemoryError("killed")
        after_step(learner)

    monkeypatch.setattr(CloneLearner, "after_step", killed)
    with pytest.raises(MemoryError):
        clones.run(make("parts", run__checkpoint_minutes=0.0, **changes))
    monkeypatch.setattr(CloneLearner, "after_step", after_step)
    clones.run(make("parts", run__checkpoint_minutes=0.0, **changes))
    assert log_of(tmp_path / "parts", "resumed")[0]["step"] == 4
    assert_same_classifier(tmp_path / "whole" / "model", tmp_path / "parts" / "model")
    whole, parts = (log_of(tmp_path / name, "step") for name in ("whole", "parts"))
    assert [line["total"] for line in whole] == [line["total"] for line in parts]
    # A finished run that is started again trains nothing and leaves the same model.
    clones.run(make("parts", run__checkpoint_minutes=0.0, **changes))
    assert_same_classifier(tmp_path / "whole" / "model", tmp_path / "parts" / "model")


def test_interrupt_saves_a_checkpoint(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CloneLearner, "after_step", lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        clones.run(make())
    assert [path.name for path in complete_checkpoints(tmp_path / "run" / "checkpoints")] == ["step_000001"]


def test_nan_stops_the_run_and_the_last_checkpoint_stands(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_it(learner: CloneLearner) -> None:
        if len(complete_checkpoints(tmp_path / "run" / "checkpoints")) == 2:
            learner.classifier.classifiers["4"].weight.data.fill_(float("nan"))

    monkeypatch.setattr(CloneLearner, "after_step", break_it)
    with pytest.raises(TrainingError, match=r"step 4: .*exit_04.* not a finite number"):
        clones.run(make(run__checkpoint_minutes=0.0, run__keep_checkpoints=3, validation__every=0))
    good = complete_checkpoints(tmp_path / "run" / "checkpoints")
    assert [path.name for path in good[:2]] == ["step_000001", "step_000002"]
    assert all(bool(weights.isfinite().all()) for weights in load_model(good[0] / "model").state_dict().values())


def test_only_what_is_trained_changes(make: Make, ladder: Path) -> None:
    folder = clones.run(make(start__freeze_layers=2, validation__every=0))
    trained = load_model(folder).state_dict()
    for name, weights in load_model(ladder).state_dict().items():
        assert torch.equal(weights, trained[name]) is not name.startswith(("layers.2.", "layers.3.", "final_norm")), (
            name
        )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"start__head": "mlp"}, ConfigError, r"unknown key start\.head"),
        ({"run__fit_heads": 5}, ConfigError, r"unknown key run\.fit_heads"),
        ({"loss__exit_weights": [1.0]}, ConfigError, r"3 numbers, for exits \(1, 2, 4\)"),
        ({"loss__exit_weights": [0.0, 0.0, 0.0]}, ConfigError, "at least one above 0"),
        ({"classifier__max_tokens": 5000, "batch__mini_batch_tokens": 9000}, ConfigError, "positions"),
        ({"batch__mini_batch_tokens": 39}, ConfigError, "classifier.max_tokens 40 or more"),
        ({"start__exits": [0, 3]}, ConfigError, r"allowed: \[0, 1, 2, 4\]"),
        ({"data__swap": 1.5}, ConfigError, "0 to 1"),
        ({"data__folder": "/nowhere"}, DataError, "no pair file"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    make: Make, tmp_path: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        clones.run(make(**changes))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_run_begun_by_an_older_version_is_continued(make: Make, tmp_path: Path) -> None:
    clones.run(make(run__steps=1, validation__every=0))
    file = tmp_path / "run" / "config.toml"
    older = (
        file.read_text().replace("[start]\n", '[start]\nhead = "keep"\n').replace("[run]\n", "[run]\nfit_heads = 0\n")
    )
    file.write_text(older.replace("fit_heads = 0\n", "fit_heads = 0\nrotate_heads = 0\n"))
    clones.run(make(run__steps=2, validation__every=0))
    assert log_of(tmp_path / "run", "resumed")[0]["step"] == 1


def test_run_with_other_settings_is_not_continued(make: Make) -> None:
    clones.run(make(run__steps=1, validation__every=0))
    with pytest.raises(ConfigError, match=r"other settings: classifier\.features"):
        clones.run(make(run__steps=2, validation__every=0, classifier__features="sides"))


def test_folder_without_or_with_damaged_classifier_is_refused(make: Make, ladder: Path) -> None:
    with pytest.raises(ModelError, match=r"has no clone classifier: classifier\.json is missing"):
        clones.load_classifier(ladder)
    folder = clones.run(make(run__steps=1, validation__every=0))
    (folder / "classifier.safetensors").write_bytes(b"123")
    with pytest.raises(ModelError, match="is damaged"):
        clones.load_classifier(folder)


def test_whole_command(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "clones.toml"
    file.write_text(write_toml(make(run__steps=2, validation__every=0)))
    assert cli.main(["finetune", "clones", "--config", str(file), "--set", "run.seed=3"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "run" / "model")
    assert json.loads(err.splitlines()[0])["event"] == "start"
    assert "seed = 3" in (tmp_path / "run" / "config.toml").read_text()
    assert cli.main(["finetune", "clones", "--config", str(file), "--set", "data.folder=/nowhere"]) == 2
    assert capsys.readouterr().err.startswith("DataError: no pair file /nowhere")


# --- the benchmark -------------------------------------------------------------------------------------------


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    module = importlib.import_module("clones")
    monkeypatch.setattr(importlib.import_module("results"), "FOLDER", tmp_path / "results")
    yield module
    for name in {"clones", "results"} - before:
        sys.modules.pop(name, None)


def test_benchmark_measures_a_run(benchmark: ModuleType, make: Make, tmp_path: Path) -> None:
    test = {"pairs": "valid.jsonl", "codes": ["codes.jsonl"]}
    config = make(run__steps=80, validation__every=40, classifier__features="sides", data__test=test)
    model, file = clones.run(config), tmp_path / "clones.toml"
    file.write_text(write_toml(config))
    benchmark.main([str(file), "--model", str(model), "--out", str(tmp_path / "plots")])
    result = json.loads(next((tmp_path / "results").glob("clones-*.json")).read_text())
    rows, adaptive = result["rows"], result["adaptive"]
    assert [name for name in rows if name.startswith("classifier")] == [f"classifier, exit {one}" for one in (1, 2, 4)]
    assert len([name for name in rows if name.startswith("cosine")]) == 5
    assert result["pairs"] == {"valid": 60, "test": 60, "same_language": 0}
    for row in rows.values():
        assert row["f1"] == row["f1_cross_language"] == row["f1_valid"]  # the test pairs are the validation pairs
    assert adaptive["full_f1"] == rows["classifier, exit 4"]["f1"] > 0.9
    assert adaptive["f1"] == adaptive["valid"]["f1"] >= 0.99 * adaptive["full_f1"]
    assert adaptive["share_of_layers"] == pytest.approx(adaptive["layers"] / 4)
    assert adaptive["curve"][0]["layers"] == 1 and adaptive["curve"][-1]["layers"] == 4
    assert (tmp_path / "plots" / "clones.png").stat().st_size > 10_000
    assert "Clone detection" in (tmp_path / "plots" / "clones.svg").read_text()


def test_interval_of_a_difference_in_f1(benchmark: ModuleType) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.5
    ours, theirs = truth ^ (rng.random(400) < 0.1), truth ^ (rng.random(400) < 0.2)
    found = benchmark.f1_difference(ours, theirs, truth)
    assert found.mean == pytest.approx(f1(ours, truth) - f1(theirs, truth))
    drawn = rng.integers(400, size=(2000, 400))
    plain = [f1(ours[rows], truth[rows]) - f1(theirs[rows], truth[rows]) for rows in drawn]
    assert [found.low, found.high] == pytest.approx(np.quantile(plain, [0.025, 0.975]).tolist(), abs=0.006)
    same = benchmark.f1_difference(ours, ours, truth)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_rare_words_weigh_more(benchmark: ModuleType) -> None:
    assert benchmark.jaccard({"a": 1.0, "b": 1.0}, {"b": 1.0, "c": 1.0}) == pytest.approx(1 / 3)
    assert benchmark.jaccard({}, {}) == benchmark.cosine({}, {"a": 1.0}) == 0
    assert benchmark.cosine({"a": 3.0, "b": 4.0}, {"b": 2.0}) == pytest.approx(0.8)
