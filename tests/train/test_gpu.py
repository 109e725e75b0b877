"""The CUDA path, where there is one: the kernels, a step and a run of both trainings, resuming, encoding.

``MOSE_GPU_TESTS_ON=cpu`` runs the same tests without a GPU, so that they are known to run before one is at hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.tensor import DTensor
from torch.nn import functional

import mose as package
from mose.config import PretrainConfig, from_values
from mose.data.corpus.folders import read_corpus
from mose.data.repository_pairs import RepositoryPairs
from mose.model.batch import text_batch
from mose.model.checkpoint import load_model
from mose.model.cut import cut
from mose.model.layers import Segments, attend_within
from mose.model.pretraining.heads import read_heads
from mose.tokenizer import CodeTokenizer
from mose.train.device import choose_device
from mose.train.distributed import World
from mose.train.pretrain import run as pretrain
from mose.train.pretrain.inputs import PairMaker
from mose.train.pretrain.learner import PretrainLearner
from mose.train.pretrain.parallel import distribute
from mose.train.retrieval import run as finetune

from .conftest import Make, losses
from .test_distributed import free_port

DEVICE = os.environ.get("MOSE_GPU_TESTS_ON", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no GPU"),
]

MakePretraining = Callable[..., PretrainConfig]


@pytest.fixture
def make_pretraining(ladder: Path, tmp_path: Path) -> MakePretraining:
    """Settings of a small pre-training on the package's own source, by the name of its folder."""

    def make(name: str = "run", **changes: object) -> PretrainConfig:
        values: dict[str, dict[str, Any]] = {
            "start": {"folder": str(ladder), "dropout": 0.0},
            "data": {"folder": str(Path(package.__file__).parent), "sources": ["."], "max_files": 6,
                     "snippet_chars": 120},
            "objective": {"max_tokens": 64},
            "batch": {"pairs": 8, "mini_batch_tokens": 256},
            "optimizer": {"rate": 1e-2},
            "validation": {"pairs": 8},
            "run": {"folder": str(tmp_path / name), "steps": 4, "threads": 1, "device": DEVICE},
        }  # fmt: skip
        for key, value in changes.items():
            table, field = key.split("__")
            values[table][field] = value
        return from_values(values, PretrainConfig)

    return make


# --- kernels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_packed_attention_and_its_gradients_are_those_of_a_block_mask(causal: bool) -> None:
    lengths = [5, 1, 130, 64]
    segments = Segments.of(lengths).to(torch.device(DEVICE))
    torch.manual_seed(0)
    packed = [
        torch.randn(1, heads, sum(lengths), 32, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
        for heads in (4, 2, 2)
    ]
    exact = [part.detach().double().requires_grad_() for part in packed]
    number_T = torch.arange(len(lengths), device=DEVICE).repeat_interleave(torch.tensor(lengths, device=DEVICE))
    mask_TT = number_T[:, None] == number_T
    if causal:
        mask_TT = mask_TT.tril()
    query, key, value = exact[0], *(part.repeat_interleave(2, dim=1) for part in exact[1:])
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask_TT)
    found = attend_within(*packed, segments, causal=causal)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (found.double() * weights).sum().backward()
    pairs = [(found, expected), *((part.grad, other.grad) for part, other in zip(packed, exact, strict=True))]
    for rough, right in pairs:
        assert rough is not None and right is not None
        error = (rough.double() - right).abs().max() / right.abs().max()
        assert error < 2e-2


# --- fine-tuning ---------------------------------------------------------------------------------------------


def test_vectors_are_those_of_the_cpu(ladder: Path) -> None:
    model, tokenizer = load_model(ladder, dtype=torch.float32), CodeTokenizer.load(ladder)
    batch = text_batch(tokenizer, ["parse the date", "open file name list tree"], kind="query", words=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    with torch.no_grad():
        on_cpu = model.embed(batch)
        on_gpu = torch.nn.Module.to(model, DEVICE).embed(batch.to(DEVICE))
    for exit_layer, vectors in on_cpu.items():
        assert torch.allclose(vectors, on_gpu[exit_layer].cpu(), atol=1e-5), exit_layer


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_learns(make: Make, tmp_path: Path, precision: str) -> None:
    finetune.run(make(run__steps=30, run__device=DEVICE, run__precision=precision, batch__workers=2))
    totals = losses(tmp_path / "run")
    assert sum(totals[-10:]) < sum(totals[:10])


def test_first_step_is_that_of_the_cpu(make: Make, tmp_path: Path) -> None:
    for name, device in (("cpu", "cpu"), ("gpu", DEVICE)):
        finetune.run(make(name, run__steps=1, run__device=device, run__precision="float32"))
    assert losses(tmp_path / "cpu")[0] == pytest.approx(losses(tmp_path / "gpu")[0], abs=2e-2)


def test_gradient_cache_changes_nothing(make: Make, tmp_path: Path) -> None:
    for name, cached in (("plain", False), ("cached", True)):
        finetune.run(
            make(name, run__steps=3, run__device=DEVICE, run__precision="float32", batch__gradient_cache=cached)
        )
    assert losses(tmp_path / "plain") == pytest.approx(losses(tmp_path / "cached"), abs=2e-3)


def test_a_resumed_run_goes_on_as_if_nothing_had_happened(make: Make, tmp_path: Path) -> None:
    for steps in (2, 5):
        finetune.run(make("parts", run__steps=steps, run__device=DEVICE, optimizer__final_share=1.0))
    finetune.run(make("whole", run__steps=5, run__device=DEVICE, optimizer__final_share=1.0))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-2)


# --- pre-training --------------------------------------------------------------------------------------------


def test_a_packed_step_in_bfloat16_is_near_a_padded_one_of_the_cpu(
    make_pretraining: MakePretraining, tmp_path: Path
) -> None:
    pretrain.run(make_pretraining("packed", run__steps=1, run__precision="bfloat16"))
    pretrain.run(
        make_pretraining("padded", run__steps=1, run__precision="float32", run__device="cpu", batch__pack=False)
    )
    assert losses(tmp_path / "packed") == pytest.approx(losses(tmp_path / "padded"), rel=2e-2)


@pytest.mark.parametrize("changes", [{}, {"run__checkpoint_activations": True}, {"optimizer__kind": "muon"}])
def test_a_pretraining_learns(make_pretraining: MakePretraining, tmp_path: Path, changes: dict[str, object]) -> None:
    pretrain.run(make_pretraining(run__steps=24, run__precision="bfloat16", **changes))
    totals = losses(tmp_path / "run")
    assert sum(totals[-8:]) < sum(totals[:8])


def test_a_resumed_pretraining_goes_on_as_if_nothing_had_happened(
    make_pretraining: MakePretraining, tmp_path: Path
) -> None:
    changes = {"optimizer__final_share": 1.0, "optimizer__warmup_share": 0.0}
    for steps in (2, 5):
        pretrain.run(make_pretraining("parts", run__steps=steps, **changes))
    pretrain.run(make_pretraining("whole", run__steps=5, **changes))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=3e-2)
    events = [json.loads(line)["event"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert "resumed" in events


@pytest.mark.timeout(900)
def test_compiled_blocks_compute_the_same(make_pretraining: MakePretraining, ladder: Path, tmp_path: Path) -> None:
    cut(ladder, 1, tmp_path / "one")
    changes = {"start__folder": str(tmp_path / "one"), "run__steps": 2, "run__precision": "float32"}
    for name, compiled in (("eager", False), ("compiled", True)):
        pretrain.run(make_pretraining(name, run__compile=compiled, **changes))
    assert losses(tmp_path / "eager") == pytest.approx(losses(tmp_path / "compiled"), abs=2e-2)


@pytest.fixture
def group_of_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process group of a single process."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    backend = "cpu:gloo,cuda:nccl" if DEVICE == "cuda" else "gloo"
    distributed.init_process_group(backend, init_method=f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_process_of_many_computes_the_gradients_of_one_alone(
    make_pretraining: MakePretraining, group_of_one: None, parallel: str
) -> None:
    config = make_pretraining(run__parallel=parallel, run__precision="float32", batch__mini_batch_tokens=4096)
    folder, device = Path(config.start.folder), choose_device(DEVICE)
    torch.backends.cuda.matmul.allow_tf32 = False
    found: list[dict[str, torch.Tensor]] = []
    for shared in (False, True):
        model = load_model(folder, dtype=torch.float32)
        heads = read_heads(folder, model.settings, seed=0)
        for part in (model, heads):
            torch.nn.Module.to(part, device)
        maker = PairMaker(CodeTokenizer.load(folder), model.settings, config.objective, config.batch, seed=0)
        learner = PretrainLearner(model, heads, maker, config, world=World(), device=device)
        module: torch.nn.Module = learner.objective
        if shared:  # two processes are only claimed: one is enough for every collective to run
            module = distribute(learner.objective, config.run, device, World(size=2))
        pairs = RepositoryPairs(
            read_corpus(config.data, seed=0), kind="icc", size=8, same_share=0.5, snippet_chars=120, seed=0
        )
        (part,) = maker.mini_batches(maker.prepare(next(pairs), range(8)))
        sums = torch.stack([loss for loss, _ in (both.unbind() for both in module(part.to(device)).values())])
        sums.sum().backward()
        gradients = {name: weights.grad for name, weights in learner.named_trained()}
        found.append(
            {
                name: grad.full_tensor() if isinstance(grad, DTensor) else grad.clone()
                for name, grad in gradients.items()
                if grad is not None
            }
        )
    assert found[0].keys() == found[1].keys() and found[0]
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-4, msg=name)
