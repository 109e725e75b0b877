from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from mose.data.batches import PairBatches
from mose.data.sources import open_sources
from mose.model.checkpoint import load_model
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World, join_world
from mose.train.retrieval.learner import RetrievalLearner
from mose.train.retrieval.run import run

from .conftest import settings


def gradients(config, world: World) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    torch.set_num_threads(1)
    model = load_model(config.start.folder, dtype=torch.float32)
    learner = RetrievalLearner(
        model, CodeTokenizer.load(config.start.folder), config, world=world, device=torch.device("cpu")
    )
    sources = open_sources(config.data, batch_pairs=config.batch.pairs, mixed=False)
    terms = learner.backward(next(PairBatches(sources, pairs=config.batch.pairs, seed=0)))
    found = {name: parameter.grad for name, parameter in learner.named_trained()}
    return terms, {name: grad.clone() for name, grad in found.items() if grad is not None}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def enter(rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip


def one_rank(rank: int, port: int, config, out: Path) -> None:
    enter(rank, port)
    world = join_world(torch.device("cpu"))
    terms, found = gradients(config, world)
    torch.save((terms, found), out / f"{rank}.pt")
    run(config)


def test_two_processes_equal_one_in_gradients_and_in_the_trained_model(
    ladder: Path, data_folder: Path, tmp_path: Path
) -> None:
    changes = {
        "batch__gradient_cache": True, "loss__aligned": 0.5, "loss__distill_rows": 0.5, "run__steps": 2,
        "validation__every": 2, "optimizer__eps": 1e-2,
    }  # fmt: skip
    one, two = (settings(ladder, data_folder, tmp_path / name, **changes) for name in ("one", "two"))
    alone_terms, alone = gradients(one, World())
    run(one)
    multiprocessing.spawn(one_rank, args=(free_port(), two, tmp_path), nprocs=2)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for _, found in results:
        assert found.keys() == alone.keys()
        for name, grad in alone.items():
            assert torch.allclose(grad, found[name], rtol=1e-3, atol=1e-5), name
    assert abs(sum(terms["exit_04"] for terms, _ in results) / 2 - alone_terms["exit_04"]) < 1e-5
    trained = [load_model(tmp_path / name / "model").state_dict() for name in ("one", "two")]
    for name, weights in trained[0].items():
        assert torch.allclose(weights, trained[1][name], atol=1e-4), name
    logged = [[json.loads(line) for line in (tmp_path / name / "log.jsonl").open()] for name in ("one", "two")]
    for event in ("before", "step"):  # the log holds the mean over processes, not the first one's share
        alone_lines, shared_lines = ([line for line in lines if line["event"] == event] for lines in logged)
        assert len(alone_lines) == len(shared_lines) == 2
        for alone_line, shared_line in zip(alone_lines, shared_lines, strict=True):
            for term in ("exit_00", "exit_04", "total"):
                assert alone_line[term] == pytest.approx(shared_line[term], abs=2e-3), (event, term)
    values = [
        [json.loads(line)["tasks"] for line in (tmp_path / name / "log.jsonl").open() if '"validation"' in line]
        for name in ("one", "two")
    ]
    assert values[0][0].keys() == values[1][0].keys()
    assert values[0][0] == pytest.approx(values[1][0], abs=0.02)
