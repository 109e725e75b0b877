"""The CUDA path, where there is one: the same vectors as on the CPU, a run, exact resume, exact gradient cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mose.model.batch import text_batch
from mose.model.checkpoint import load_model
from mose.tokenizer import CodeTokenizer
from mose.train.retrieval import run as finetune

from .conftest import Make, losses

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]


def test_vectors_are_those_of_the_cpu(ladder: Path) -> None:
    model, tokenizer = load_model(ladder, dtype=torch.float32), CodeTokenizer.load(ladder)
    batch = text_batch(tokenizer, ["parse the date", "open file name list tree"], kind="query", words=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    with torch.no_grad():
        on_cpu = model.embed(batch)
        on_gpu = torch.nn.Module.to(model, "cuda").embed(batch.to("cuda"))
    for exit_layer, vectors in on_cpu.items():
        assert torch.allclose(vectors, on_gpu[exit_layer].cpu(), atol=1e-5), exit_layer


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_learns(make: Make, tmp_path: Path, precision: str) -> None:
    finetune.run(make(run__steps=30, run__device="cuda", run__precision=precision, batch__workers=2))
    totals = losses(tmp_path / "run")
    assert sum(totals[-10:]) < sum(totals[:10])


def test_first_step_is_that_of_the_cpu(make: Make, tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        finetune.run(make(device, run__steps=1, run__device=device, run__precision="float32"))
    assert losses(tmp_path / "cpu")[0] == pytest.approx(losses(tmp_path / "cuda")[0], abs=2e-2)


def test_gradient_cache_changes_nothing(make: Make, tmp_path: Path) -> None:
    for name, cached in (("plain", False), ("cached", True)):
        finetune.run(
            make(name, run__steps=3, run__device="cuda", run__precision="float32", batch__gradient_cache=cached)
        )
    assert losses(tmp_path / "plain") == pytest.approx(losses(tmp_path / "cached"), abs=2e-3)
