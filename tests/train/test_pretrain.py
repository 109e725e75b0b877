"""Pre-training, whole: the package's own rooms are the repositories."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import multiprocessing
from torch.autograd.profiler import profile
from torch.distributed.tensor import DTensor
from torch.nn import functional

import mose as package
from mose import cli
from mose.config import PretrainConfig, from_values, write_toml
from mose.data.corpus.build import build_corpus
from mose.data.corpus.folders import read_corpus
from mose.data.corpus.settings import BuildSettings
from mose.data.repository_pairs import RepositoryPairs, SnippetBatch
from mose.errors import ConfigError, DataError, ModelError
from mose.model.checkpoint import load_model
from mose.model.heads import pool, pool_segments
from mose.model.presets import preset
from mose.model.pretraining.heads import HEADS_FILE, PretrainingHeads, read_heads
from mose.model.pretraining.new import new_model
from mose.tokenizer import CodeTokenizer
from mose.train.checkpoints import complete_checkpoints
from mose.train.distributed import World, join_world
from mose.train.pretrain import run as pretrain_run
from mose.train.pretrain.inputs import MaskedPairs, PairMaker
from mose.train.pretrain.learner import PretrainLearner
from mose.train.pretrain.losses import token_loss
from mose.train.pretrain.plan import flops_of_forward

from .test_distributed import enter, free_port

SOURCES = Path(package.__file__).parent
SPECIAL = ["<|endoftext|>", "<cls>", "<sep>", "<mask>"]
Make = Callable[..., PretrainConfig]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Threads of torch wait for each other far longer than they work on models of this size."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh tiny model that reads bytes in pairs, as StarCoder 2's tokenizer does in its way."""
    folder = tmp_path_factory.mktemp("start")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train(sorted(map(str, (SOURCES / "files").glob("*.py"))), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    new_model("tiny", folder / "model", folder)
    return folder / "model"


@pytest.fixture
def make(start: Path, tmp_path: Path) -> Make:
    """Settings of a small run by the name of its folder; changes are dotted keys with "__" for the dot."""

    def make(name: str = "run", **changes: object) -> PretrainConfig:
        values: dict[str, dict[str, Any]] = {
            "start": {"folder": str(start)},
            "data": {"folder": str(SOURCES), "sources": ["."], "max_files": 6, "snippet_chars": 120},
            "objective": {"max_tokens": 64},
            "batch": {"pairs": 8, "mini_batch_tokens": 256},
            "loss": {},
            "optimizer": {"rate": 1e-2},
            "validation": {"every": 3, "pairs": 16},
            "run": {"folder": str(tmp_path / name), "steps": 6, "threads": 1, "device": "cpu"},
        }
        for key, value in changes.items():
            table, field = key.split("__")
            values[table][field] = value
        return from_values(values, PretrainConfig)

    return make


def learner_of(
    config: PretrainConfig,
    world: World = World(),  # noqa: B008
    *,
    dtype: torch.dtype = torch.float64,
) -> tuple[PretrainLearner, PairMaker, RepositoryPairs]:
    folder = Path(config.start.folder)
    model = load_model(folder)
    maker = PairMaker(CodeTokenizer.load(folder), model.settings, config.objective, config.batch, seed=5)
    heads = PretrainingHeads(model.settings, seed=1)
    torch.manual_seed(0)
    with torch.no_grad():  # every weight takes part, biases too
        for parameter in (*model.parameters(), *heads.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    for part in (model, heads):
        part.to(dtype)
    corpus = read_corpus(config.data, seed=0)
    objective = config.objective
    batches = RepositoryPairs(
        corpus, kind=objective.pairs, size=config.batch.pairs, same_share=0.5, snippet_chars=120, seed=2
    )
    return PretrainLearner(model, heads, maker, config, world=world, device=CPU), maker, batches


def log_of(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def assert_same_weights(first: Path, second: Path) -> None:
    for name in ("model.safetensors", HEADS_FILE):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def pairs_of(part: MaskedPairs) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of each pair, from padded rows or a packed one."""
    ids, labels = part.token_ids_BT[part.keep_BT], part.labels_BT[part.keep_BT]
    assert (part.labels_BT[~part.keep_BT] == -100).all()
    both = zip(ids.split(part.lengths), labels.split(part.lengths), strict=True)
    return [(ids.tolist(), labels.tolist()) for ids, labels in both]


# --- what is read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [True, False])
def test_a_pair_is_read_as_the_paper_joins_it(make: Make, start: Path, pack: bool) -> None:
    _, maker, batches = learner_of(make(batch__pack=pack))
    tokenizer = CodeTokenizer.load(start)
    for part in maker.mini_batches(maker.prepare(next(batches), range(8))):
        for real, labels in pairs_of(part):
            seps = [n for n, token_id in enumerate(real) if token_id == tokenizer.sep_id and labels[n] == -100]
            assert (seps[0], len(seps)) == (0, 2)
            assert real[-1] == tokenizer.cls_id
            assert len(real) <= 64
            assert all(labels[n] == -100 for n in (*seps, -1))
            assert set(labels) - {-100}


def test_the_mask_hides_only_tokens_that_are_to_be_predicted(make: Make, start: Path) -> None:
    tokenizer = CodeTokenizer.load(start)
    for style, mask_rate in (("full", 0.3), ("bert", 0.3)):
        _, maker, batches = learner_of(make(objective__masking=style, objective__mask_rate=mask_rate))
        parts = [part for batch in islice(batches, 20) for part in maker.mini_batches(maker.prepare(batch, range(8)))]
        for part in parts:
            assert (part.labels_BT[part.token_ids_BT == tokenizer.mask_id] != -100).all()
        hidden = sum(int((part.token_ids_BT == tokenizer.mask_id).sum()) for part in parts)
        share = hidden / sum(part.num_masked for part in parts)
        assert share == 1.0 if style == "full" else 0.75 < share < 0.85


def test_the_masks_of_a_pair_do_not_depend_on_the_pairs_beside_it(make: Make) -> None:
    _, maker, batches = learner_of(make(objective__max_tokens=32))
    batch = next(batches)

    alone = [
        pair
        for number in range(8)
        for part in maker.mini_batches(maker.prepare(batch, [number]))
        for pair in pairs_of(part)
    ]
    assert sorted(alone) == sorted(
        pair for part in maker.mini_batches(maker.prepare(batch, range(8))) for pair in pairs_of(part)
    )


@pytest.mark.parametrize("label", [0, 1])
def test_the_label_of_one_repository_is_that_of_the_config(make: Make, label: int) -> None:
    _, maker, batches = learner_of(make(objective__same_label=label))
    batch = next(batches)
    for number in range(8):
        (part,) = maker.mini_batches(maker.prepare(batch, [number]))
        first, second = batch.repositories[number]
        assert part.same_N.tolist() == [label if first == second else 1 - label]


# --- the loss ------------------------------------------------------------------------------------------------


def plain_loss(learner: PretrainLearner, inputs: MaskedPairs, pair_weight: float) -> torch.Tensor:
    """Section 5 of the paper's digest, token by token: sum over exits of i/L (MLM + ICC)."""
    model, heads = learner.model, learner.heads
    total = torch.zeros(())
    for number, exit_layer in enumerate((1, 2, 4)):
        hidden = model(inputs.token_ids_BT, inputs.keep_BT, last_exit=exit_layer)[exit_layer]
        told = heads.exit_embedding.weight[number]
        tokens = []
        for b, t in (inputs.labels_BT != -100).nonzero().tolist():
            state = torch.cat([hidden[b, t], told])
            state = functional.gelu(heads.transform.weight @ state + heads.transform.bias, approximate="tanh")
            state = functional.layer_norm(state, (32,), heads.norm.weight, heads.norm.bias, 1e-5)
            logits = heads.decoder.weight @ state + heads.decoder.bias
            tokens.append(-torch.log_softmax(logits, 0)[inputs.labels_BT[b, t]])
        pairs = []
        for b, label in enumerate(inputs.same_N.tolist()):
            last = hidden[b, int(inputs.keep_BT[b].nonzero().max())]  # the final CLS
            pairs.append(-torch.log_softmax(heads.pair.weight @ torch.cat([last, told]) + heads.pair.bias, 0)[label])
        total = total + exit_layer / 4 * (torch.stack(tokens).mean() + pair_weight * torch.stack(pairs).mean())
    return total


def gradients_of(learner: PretrainLearner, batch: SnippetBatch) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Terms and gradients of one step."""
    learner.objective.zero_grad()
    terms = learner.backward(batch)
    found = {name: parameter.grad for name, parameter in learner.named_trained()}
    assert all(gradient is not None for gradient in found.values())
    return terms, {name: gradient.clone() for name, gradient in found.items() if gradient is not None}


def assert_same_step(
    learner: PretrainLearner, other: PretrainLearner, batch: SnippetBatch, *, rtol: float = 1e-9
) -> None:
    """Two learners with the same weights have the same loss and the same gradients in float64."""
    (terms, gradients), (other_terms, other_gradients) = gradients_of(learner, batch), gradients_of(other, batch)
    assert terms == pytest.approx(other_terms, rel=rtol)
    assert gradients.keys() == other_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, other_gradients[name], rtol=rtol, atol=rtol / 100, msg=name)


@pytest.mark.parametrize("pair_weight", [1.0, 0.25])
def test_the_loss_and_its_gradients_equal_the_formula(make: Make, pair_weight: float) -> None:
    config = make(
        start__dropout=0.0, objective__pair_weight=pair_weight, batch__mini_batch_tokens=10_000, batch__pack=False
    )
    learner, maker, batches = learner_of(config)
    batch = next(batches)
    terms, ours = gradients_of(learner, batch)
    (whole,) = maker.mini_batches(maker.prepare(batch, range(8)))
    learner.objective.zero_grad()
    expected = plain_loss(learner, whole, pair_weight)
    expected.backward()  # type: ignore[no-untyped-call]
    assert terms["total"] == pytest.approx(float(expected.detach()), rel=1e-9)
    assert learner.check(batch)["total"] == pytest.approx(terms["total"], rel=1e-9)
    for name, parameter in learner.named_trained():
        assert parameter.grad is not None
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_mini_batches_change_nothing(make: Make) -> None:
    """A batch in parts of 128 tokens has the loss and gradients of the whole: no part counts more than its tokens."""
    changes = {"start__dropout": 0.0, "batch__pairs": 16}
    learner, maker, batches = learner_of(make(**changes, batch__mini_batch_tokens=128))
    batch = next(batches)
    counts = [part.num_masked for part in maker.mini_batches(maker.prepare(batch, range(16)))]
    assert len(set(counts)) > 2
    assert_same_step(learner, learner_of(make(**changes, batch__mini_batch_tokens=10_000))[0], batch)


@pytest.mark.parametrize("changes", [{}, {"block": "bert", "num_kv_heads": 4, "pooling": "mean"}])
def test_packed_pairs_equal_padded_ones(make: Make, tmp_path: Path, start: Path, changes: dict[str, object]) -> None:
    new_model("tiny", tmp_path / "model", start, changes=changes)
    settings = {
        "start__folder": str(tmp_path / "model"), "start__dropout": 0.0, "objective__max_tokens": 120,
        "batch__mini_batch_tokens": 10_000,
    }  # fmt: skip
    padded, maker, batches = learner_of(make(**settings, batch__pack=False))
    packed, packing_maker, _ = learner_of(make(**settings))
    batch = next(batches)
    (part,), (packed_part,) = (each.mini_batches(each.prepare(batch, range(8))) for each in (maker, packing_maker))
    assert not part.keep_BT.all()
    assert packed_part.token_ids_BT.shape == (1, int(part.keep_BT.sum()))
    assert_same_step(padded, packed, batch)


def test_a_pair_does_not_see_the_pairs_packed_beside_it(make: Make) -> None:
    learner, maker, batches = learner_of(make(batch__mini_batch_tokens=10_000))
    (part,) = maker.mini_batches(maker.prepare(next(batches), range(8)))
    changed = part.token_ids_BT.clone()
    changed[:, : part.lengths[0]] = 7
    states = [learner.model(ids, part.keep_BT, segments=part.segments) for ids in (part.token_ids_BT, changed)]
    for exit_layer, before in states[0].items():
        assert torch.equal(before[:, part.lengths[0] :], states[1][exit_layer][:, part.lengths[0] :]), exit_layer
        assert not torch.equal(before[:, : part.lengths[0]], states[1][exit_layer][:, : part.lengths[0]])


def test_checkpointed_activations_change_nothing(make: Make) -> None:
    """With dropout: the second run of a block drops what the first one dropped."""
    kept, _, batches = learner_of(make(start__dropout=0.2))
    assert_same_step(kept, learner_of(make(start__dropout=0.2, run__checkpoint_activations=True))[0], next(batches))


def test_compiled_blocks_compute_the_same(make: Make, tmp_path: Path, start: Path) -> None:
    new_model("tiny", tmp_path / "one", start, changes={"num_layers": 1, "exits": [1]})
    changes = {"start__folder": str(tmp_path / "one"), "start__dropout": 0.0, "batch__mini_batch_tokens": 10_000}
    plain, _, batches = learner_of(make(**changes))
    assert_same_step(plain, learner_of(make(**changes, run__compile=True))[0], next(batches))


def test_bfloat16_is_near_float32(make: Make) -> None:
    exact, _, batches = learner_of(make(start__dropout=0.0))
    batch = next(batches)
    config = make(start__dropout=0.0, run__precision="bfloat16")
    rough = learner_of(config, dtype=torch.float32)[0].backward(batch)
    for name, term in exact.backward(batch).items():
        assert rough[name] == pytest.approx(term, rel=0.05, abs=0.15), name


def test_logits_in_chunks_have_the_loss_and_gradients_of_the_whole_and_an_eighth_of_its_memory() -> None:
    """Of five exits with 600 tokens to predict each, in chunks of 100."""
    torch.manual_seed(0)
    decoder, labels = torch.nn.Linear(16, 5000).double(), torch.randint(0, 5000, (600,))
    states = [torch.randn(600, 16, dtype=torch.float64, requires_grad=True) for _ in range(5)]

    def whole(
        predict: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        logits = predict(hidden)
        right = (logits.argmax(dim=-1) == labels).sum()
        return torch.stack([functional.cross_entropy(logits, labels, reduction="sum"), right])

    def run(loss: Callable[..., torch.Tensor]) -> tuple[list[torch.Tensor], float]:
        """Losses and gradients, and the most memory that was in use at once."""
        decoder.zero_grad()
        for state in states:
            state.grad = None
        with profile(profile_memory=True) as profiler:
            found = torch.stack([(n + 1) * loss(decoder, state, labels) for n, state in enumerate(states)])
            found[:, 0].sum().backward()
        peak = max(
            accumulate(event.nbytes() for event in profiler.kineto_results.events() if event.name() == "[memory]")
        )
        assert decoder.weight.grad is not None and decoder.bias.grad is not None
        gradients = [
            decoder.weight.grad,
            decoder.bias.grad,
            *(state.grad for state in states if state.grad is not None),
        ]
        return [found.detach(), *(gradient.clone() for gradient in gradients)], peak

    (expected, most), (found, peak) = run(whole), run(partial(token_loss, chunk=100))
    assert len(expected) == 8
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert peak < most / 8


def test_without_an_objective_for_pairs_only_tokens_are_learned(make: Make) -> None:
    learner, _, batches = learner_of(make(objective__pairs="none"))
    terms = learner.backward(next(batches))
    assert {name for name in terms if "right" not in name and "_" in name} == {"tokens_01", "tokens_02", "tokens_04"}
    assert not any(name.startswith("pairs") for name in terms)
    assert not any(name.startswith("pretraining_heads.pair") for name, _ in learner.named_trained())


def test_an_exit_without_weight_is_not_computed(make: Make) -> None:
    learner, _, batches = learner_of(make(loss__exit_weights=[1.0, 0.5, 0.0]))
    terms = learner.backward(next(batches))
    assert {name[-2:] for name in terms if "_" in name} == {"01", "02"}
    assert all(parameter.grad is not None for _, parameter in learner.named_trained())
    assert not any(name.startswith(("layers.2", "layers.3", "final_norm")) for name, _ in learner.named_trained())


@pytest.mark.parametrize("pack", [True, False])
def test_heads_read_the_final_token(make: Make, start: Path, pack: bool) -> None:
    _, maker, batches = learner_of(make(batch__pack=pack))
    (part, *_) = maker.mini_batches(maker.prepare(next(batches), range(8)))
    cls = CodeTokenizer.load(start).cls_id
    ids = part.token_ids_BT[..., None]
    read = pool(ids, part.keep_BT, "cls") if part.segments is None else pool_segments(ids, part.segments, "cls")
    assert read.flatten().tolist() == [cls] * len(part.lengths)


# --- the run -------------------------------------------------------------------------------------------------


def test_the_loss_of_held_out_repositories_falls_at_every_exit(make: Make, tmp_path: Path) -> None:
    config = make(run__steps=60, validation__every=60, batch__pairs=16, objective__max_tokens=96)
    pretrain_run.run(config)
    before, after = (log_of(tmp_path / "run", "held out")[number] for number in (0, -1))
    for name in ("exit_01", "exit_02", "exit_04"):
        assert after[name]["token_loss"] < before[name]["token_loss"] - 0.5, name  # the texts are our own, and change
        assert set(after[name]) == {"token_loss", "token_accuracy", "pair_loss", "pair_accuracy", "cosine"}
        assert -1 <= after[name]["cosine"] <= 1
    assert after["exit_04"]["cosine"] == pytest.approx(1, abs=1e-4) and after["exit_01"]["cosine"] < 0.999
    counts = log_of(tmp_path / "run", "start")[0]["sources"]
    assert counts["train"]["repositories"] > 8 and counts["held out"]["repositories"] >= 2
    assert counts["train"]["dropped"]["beyond max_files"] > 0


def test_every_exit_learns_from_the_tokens_around(make: Make, tmp_path: Path) -> None:
    """Lines of the alphabet from some letter on: single letters say nothing, their neighbours everything."""
    for r in range(6):
        for f in range(3):
            lines = ["".join(chr(97 + (r * 5 + f + n * 7 + j) % 26) for j in range(20)) for n in range(40)]
            (tmp_path / "abc" / f"r{r}").mkdir(parents=True, exist_ok=True)
            (tmp_path / "abc" / f"r{r}" / f"f{f}.py").write_text("\n".join([f"# {r} {f}", *lines]))
    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    letters.train_from_iterator(
        [], trainers.BpeTrainer(vocab_size=260, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    )
    letters.save(str(tmp_path / "tokenizer.json"))
    new_model("tiny", tmp_path / "letters", tmp_path, changes={"hidden_size": 64, "intermediate_size": 128})
    config = make(
        start__folder=str(tmp_path / "letters"), start__dropout=0.0, data__folder=str(tmp_path / "abc"),
        data__snippet_chars=60, objective__pairs="none", batch__pairs=16, batch__mini_batch_tokens=2048,
        optimizer__rate=5e-3, validation__every=0, run__steps=220,
    )  # fmt: skip
    pretrain_run.run(config)
    (held_out,) = log_of(tmp_path / "run", "held out")
    for name in ("exit_01", "exit_02", "exit_04"):
        assert held_out[name]["token_loss"] < 1.6, f"{name}: 3.26 is what the frequencies of letters give"


def test_the_finished_model_goes_on_where_it_stopped(make: Make, tmp_path: Path) -> None:
    folder = pretrain_run.run(make())
    model = load_model(folder)
    heads = read_heads(folder, model.settings, seed=9)
    (checkpoint,) = complete_checkpoints(tmp_path / "run" / "checkpoints")[-1:]
    (part,) = (checkpoint / "state").iterdir()
    for name, weights in load_file(part).items():
        if name.startswith("model.encoder."):
            assert torch.equal(weights, model.state_dict()[name.removeprefix("model.encoder.")]), name
    fresh = PretrainingHeads(model.settings, seed=9)
    assert not torch.equal(heads.decoder.weight, fresh.decoder.weight)
    assert "held-out repositories" in (folder / "README.md").read_text()


def test_a_new_decoder_can_start_as_the_token_embeddings(make: Make) -> None:
    config = make(start__decoder="embeddings", run__steps=1, optimizer__rate=1e-12, optimizer__embedding_rate=1e-12)
    folder = pretrain_run.run(config)
    model = load_model(folder)
    assert model.embeddings is not None
    heads = read_heads(folder, model.settings, seed=9)
    torch.testing.assert_close(heads.decoder.weight, model.embeddings.tokens.weight, rtol=0, atol=1e-6)


def test_a_killed_run_ends_with_the_same_bits(make: Make, tmp_path: Path) -> None:
    pretrain_run.run(make("whole", run__steps=12))
    config = make("killed", run__steps=12, run__checkpoint_minutes=0.0)
    (tmp_path / "config.toml").write_text(write_toml(config))
    command = [sys.executable, "-m", "mose", "pretrain", str(tmp_path / "config.toml")]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not complete_checkpoints(tmp_path / "killed" / "checkpoints") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert complete_checkpoints(tmp_path / "killed" / "checkpoints")[-1].name < "step_000012", "killed on its way"
    pretrain_run.run(config)
    assert log_of(tmp_path / "killed", "resumed")
    for part in ("model", "best"):
        assert_same_weights(tmp_path / "whole" / part, tmp_path / "killed" / part)


def one_rank(rank: int, port: int, configs: list[PretrainConfig], out: Path) -> None:
    """Gradients of a step under each config, and one run of the last."""
    enter(rank, port)
    world = join_world(CPU)
    for config in configs:
        learner, _, batches = learner_of(config, world)
        terms, gradients = gradients_of(learner, next(batches))
        whole = {name: g.full_tensor() if isinstance(g, DTensor) else g for name, g in gradients.items()}
        torch.save((terms, whole), out / f"{config.run.parallel}-{rank}.pt")
        torch.distributed.barrier()
    pretrain_run.run(configs[-1])


def test_two_processes_train_the_model_that_one_trains(make: Make, tmp_path: Path) -> None:
    """Replicated and sharded: the same gradients, of unequal mini-batches, in float64; then a whole sharded run."""
    changes = {
        "start__dropout": 0.0, "run__steps": 3, "validation__every": 3, "optimizer__eps": 1e-2, "batch__pairs": 12,
        "batch__mini_batch_tokens": 140,
    }  # fmt: skip
    alone_run, *shared = (make(name, **changes, run__parallel=name) for name in ("ddp", "ddp", "fsdp"))
    learner, maker, batches = learner_of(alone_run)
    batch = next(batches)
    parts = [maker.mini_batches(maker.prepare(batch, range(rank, 12, 2))) for rank in (0, 1)]
    masked = [sum(part.num_masked for part in mine) for mine in parts]
    assert masked[0] != masked[1] and len(parts[0]) > 1
    terms, alone = gradients_of(learner, batch)
    multiprocessing.spawn(one_rank, args=(free_port(), shared, tmp_path), nprocs=2)
    for parallel in ("ddp", "fsdp"):
        found = [torch.load(tmp_path / f"{parallel}-{rank}.pt") for rank in (0, 1)]
        assert sum(found[rank][0]["total"] for rank in (0, 1)) / 2 == pytest.approx(terms["total"], rel=1e-9)
        for _, gradients in found:
            assert gradients.keys() == alone.keys()
            for name, gradient in alone.items():
                torch.testing.assert_close(gradients[name], gradient, rtol=1e-9, atol=1e-11, msg=name)
    pretrain_run.run(alone_run)
    logs = [log_of(tmp_path / name, "step") for name in ("ddp", "fsdp")]
    for ours, theirs in zip(*logs, strict=True):
        for term in ("tokens_01", "pairs_04", "pairs_right_04", "total", "gradient_norm"):
            assert theirs[term] == pytest.approx(ours[term], abs=2e-3), term
    trained = [load_model(tmp_path / name / "model").state_dict() for name in ("ddp", "fsdp")]
    for name, weights in trained[0].items():
        torch.testing.assert_close(trained[1][name], weights, atol=1e-4, rtol=1e-3, msg=name)


def one_rank_of_a_run(rank: int, port: int, config: PretrainConfig) -> None:
    enter(rank, port)
    pretrain_run.run(config)


@pytest.mark.parametrize(("kind", "processes"), [("adamw", (2, 1)), ("muon", (1, 2))])
def test_a_run_goes_on_with_another_number_of_processes(
    make: Make, tmp_path: Path, kind: str, processes: tuple[int, int]
) -> None:
    changes = {"start__dropout": 0.0, "validation__every": 0, "optimizer__kind": kind, "run__parallel": "fsdp",
               "optimizer__eps": 1e-2, "optimizer__warmup_share": 0.0, "optimizer__final_share": 1.0}  # fmt: skip
    pretrain_run.run(make("one", run__steps=4, **changes))
    for number, steps in zip(processes, (2, 4), strict=True):
        config = make("other", run__steps=steps, **changes)
        if number == 1:
            pretrain_run.run(config)
        else:
            multiprocessing.spawn(one_rank_of_a_run, args=(free_port(), config), nprocs=2)
        newest = complete_checkpoints(tmp_path / "other" / "checkpoints")[-1]
        assert (newest.name, len(list((newest / "state").iterdir()))) == (f"step_00000{steps}", number)
    assert [line["step"] for line in log_of(tmp_path / "other", "resumed")] == [2]
    start, one, other = (
        torch.cat([weights.flatten() for weights in load_model(folder).state_dict().values()])
        for folder in (make().start.folder, tmp_path / "one" / "model", tmp_path / "other" / "model")
    )
    most = 0.15 if kind == "muon" else 0.01  # Muon multiplies matrices in bfloat16
    assert (other - one).norm() < most * (one - start).norm()


def test_a_truncated_checkpoint_is_named(make: Make, tmp_path: Path) -> None:
    pretrain_run.run(make(run__steps=2, validation__every=0))
    (checkpoint,) = complete_checkpoints(tmp_path / "run" / "checkpoints")
    (part,) = (checkpoint / "state").iterdir()
    for size in (part.stat().st_size - 100, 40, 0):
        with part.open("r+b") as file:
            file.truncate(size)
        with pytest.raises(ModelError, match=r"step_000002 is damaged \(.*\)\.?\s+Delete it"):
            pretrain_run.run(make(run__steps=4, validation__every=0))


def test_the_log_has_speeds_and_the_gradient_norm(make: Make, tmp_path: Path) -> None:
    pretrain_run.run(make(run__steps=2, validation__every=0, run__peak_tflops=1e-3))
    for line in log_of(tmp_path / "run", "step"):
        assert line["tokens_per_second"] > 0 and line["gradient_norm"] > 0
        tokens, settings = line["tokens_per_second"] * line["seconds"], preset("tiny")
        flops = 3 * tokens * flops_of_forward(make(), settings, exits=(1, 2, 4), length=64)
        assert line["mfu"] == pytest.approx(flops / line["seconds"] / 1e9, rel=0.3)


def test_a_training_with_muon_learns_and_resumes(make: Make, tmp_path: Path) -> None:
    changes = {"optimizer__kind": "muon", "validation__every": 0}
    pretrain_run.run(make("whole", run__steps=12, **changes))
    pretrain_run.run(make("parts", run__steps=5, run__minutes=0.0, **changes))
    pretrain_run.run(make("parts", run__steps=12, **changes))
    assert log_of(tmp_path / "parts", "resumed")
    totals = [line["total"] for line in log_of(tmp_path / "whole", "step")]
    assert sum(totals[-3:]) < sum(totals[:3]) - 0.5


@pytest.mark.parametrize("pairs", ["nsp", "none"])
def test_the_other_objectives_run(make: Make, tmp_path: Path, pairs: str) -> None:
    pretrain_run.run(make(objective__pairs=pairs, run__steps=2, validation__every=0))
    (held_out,) = log_of(tmp_path / "run", "held out")
    assert ("pair_accuracy" in held_out["exit_04"]) == (pairs == "nsp")


def test_a_ladder_of_the_other_block_can_be_trained(make: Make, tmp_path: Path, start: Path) -> None:
    changes = {"block": "bert", "num_kv_heads": 4, "pooling": "mean", "exits": [0, 2, 4], "table_width": 8}
    new_model("tiny", tmp_path / "bert", start, changes=changes)
    pretrain_run.run(make(start__folder=str(tmp_path / "bert"), run__steps=2))
    assert set(log_of(tmp_path / "run", "step")[0]) >= {"tokens_02", "pairs_04"}


# --- a corpus that was built -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpora(start: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package's rooms as text, and as tokens of the model."""
    folder = tmp_path_factory.mktemp("corpora")
    settings = BuildSettings(licences=("any",), max_files=4, shard_units=30_000)
    build_corpus([SOURCES], folder / "text", settings)
    build_corpus([folder / "text"], folder / "tokens", settings, tokenizer=start)
    return {"text": folder / "text", "tokens": folder / "tokens"}


def on_corpus(folder: Path) -> dict[str, object]:
    return {"data__folder": str(folder), "data__max_files": 0, "validation__every": 0}


@pytest.mark.parametrize("kind", ["text", "tokens"])
def test_batches_made_ahead_change_nothing_and_a_run_goes_on_with_another_number(
    make: Make, tmp_path: Path, corpora: dict[str, Path], kind: str
) -> None:
    changes = on_corpus(corpora[kind])
    pretrain_run.run(make("plain", **changes))

    def stop(line: str) -> None:
        if json.loads(line).get("step") == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain_run.run(make("parts", batch__workers=2, run__checkpoint_minutes=0.0, **changes), say=stop)
    pretrain_run.run(make("parts", batch__workers=1, **changes))
    assert log_of(tmp_path / "parts", "resumed")
    terms = [{line["step"]: line["total"] for line in log_of(tmp_path / name, "step")} for name in ("plain", "parts")]
    assert terms[0] == terms[1] and len(set(terms[0].values())) == 6
    assert_same_weights(tmp_path / "plain" / "model", tmp_path / "parts" / "model")


def test_what_a_corpus_cannot_be_read_with_is_refused(make: Make, tmp_path: Path, corpora: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"data\.max_files, and data\.folder is a corpus: got 6, allowed: 0"):
        pretrain_run.run(make(data__folder=str(corpora["text"])))
    other = Tokenizer.from_file(str(corpora["tokens"] / "tokenizer.json"))
    other.add_tokens(["more"])
    shutil.copytree(make().start.folder, tmp_path / "other")
    other.save(str(tmp_path / "other" / "tokenizer.json"))
    changes = {**on_corpus(corpora["tokens"]), "start__folder": str(tmp_path / "other")}
    with pytest.raises(DataError, match=r"tokenizer of .*tokens: got (.|\n)*Build the corpus with --tokenizer"):
        pretrain_run.run(make(**changes))
    assert not (tmp_path / "run").exists()
    shutil.copytree(corpora["tokens"], tmp_path / "cut")
    (shard, *_) = sorted((tmp_path / "cut").glob("shard-*"))
    os.truncate(shard, shard.stat().st_size - 8)
    with pytest.raises(DataError, match=r"bytes of .*shard-00000"):
        pretrain_run.run(make(**on_corpus(tmp_path / "cut")))


# --- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"objective__pairs": "rtd"}, r"objective\.pairs: got 'rtd', allowed: icc, nsp, none"),
        ({"objective__mask_rate": 0.0}, r"objective\.mask_rate: got 0\.0, allowed: above 0"),
        ({"objective__same_share": 1.0}, r"objective\.same_share: got 1\.0"),
        ({"objective__same_label": 2}, r"objective\.same_label: got 2, allowed: 0, 1"),
        ({"batch__mini_batch_tokens": 63}, r"batch\.mini_batch_tokens: got 63, allowed: objective\.max_tokens 64"),
        ({"data__sources": []}, r"data\.sources: got 0, allowed: at least one"),
        ({"optimizer__drops": [5, 3]}, r"optimizer\.drops: got \[5, 3\], allowed: rising steps"),
        ({"loss__exit_weights": [0.0, 0.0]}, r"loss\.exit_weights"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Make, change: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make(**change)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"objective__max_tokens": 200, "batch__mini_batch_tokens": 400}, ConfigError, r"at most the model's 128"),
        ({"objective__template": "{first}"}, ConfigError, "template of a pair"),
        ({"loss__exit_weights": [1.0]}, ConfigError, r"loss\.exit_weights: got \[1\.0\], allowed: 3 numbers"),
        ({"data__languages": ["cobol"]}, DataError, "repositories with two source files or more: got 0"),
        ({"start__folder": "nowhere"}, ModelError, "nowhere is not a model folder"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_it_begins(
    make: Make, tmp_path: Path, change: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        pretrain_run.run(make(**change))
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_without_a_mask_or_with_too_many_tokens_is_refused(make: Make, tmp_path: Path, start: Path) -> None:
    folder = tmp_path / "changed"
    folder.mkdir()
    for file in start.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    values = json.loads((start / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"mask_token": None}))
    with pytest.raises(ConfigError, match="mask_token of the model to start from: got 'null'"):
        pretrain_run.run(make(start__folder=str(folder)))
    (folder / "config.json").write_text(json.dumps(values))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"more{n}" for n in range(50)])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(ConfigError, match=r"got 550, allowed: at most the model's vocab_size 512"):
        pretrain_run.run(make(start__folder=str(folder)))


def test_the_command_says_what_is_wrong_without_a_traceback(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "config.toml").write_text(write_toml(make(data__folder=str(tmp_path / "empty"))))
    assert cli.main(["pretrain", str(tmp_path / "config.toml")]) == 2
    assert "repositories with two source files or more: got 0" in capsys.readouterr().err
