"""Batches from processes of their own: the same every time, and exact when resumed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from mose.data.prefetch import Prefetched
from mose.errors import DataError
from mose.train.retrieval import run as finetune

from .conftest import Make, losses


def test_the_number_of_workers_changes_nothing(make: Make, tmp_path: Path) -> None:
    for name, workers in (("none", 0), ("one", 1), ("three", 3)):
        finetune.run(make(name, run__steps=7, batch__workers=workers))
    assert losses(tmp_path / "none") == losses(tmp_path / "one") == losses(tmp_path / "three")
    assert len(set(losses(tmp_path / "none"))) == 7


def test_a_worker_that_is_killed_ends_the_run_with_a_word(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Prefetched.__next__

    def take_and_kill(self: Prefetched[object]) -> object:
        batch = taken(self)
        for process, _ in self._workers:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        return batch

    monkeypatch.setattr(Prefetched, "__next__", take_and_kill)
    with pytest.raises(DataError, match=r"has ended(.|\n)*batch\.workers"):
        finetune.run(make(run__steps=50, batch__workers=2))


def test_an_error_in_a_worker_is_the_error_of_the_run(make: Make) -> None:

    class Empty:
        def state(self) -> dict[str, object]:
            return {}

        def load_state(self, state: dict[str, object]) -> None:
            pass

        def skip(self) -> None:
            pass

        def __next__(self) -> object:
            raise DataError("too few distinct pairs", got=3)

    batches = Prefetched(Empty(), lambda batch: batch, workers=2)
    with pytest.raises(DataError, match="too few distinct pairs: got 3"):
        next(batches)


def test_likely_answers_are_no_negatives(make: Make, tmp_path: Path) -> None:
    """With the start model as reference, the masked loss is the plain one without the codes above each row's own."""
    for name, mask in (("plain", False), ("masked", True)):
        finetune.run(make(name, run__steps=1, loss__mask_answers=mask))
    assert losses(tmp_path / "masked")[0] < losses(tmp_path / "plain")[0]


def test_mask_is_by_direction() -> None:
    from mose.train.retrieval.losses import contrastive_loss

    query, code = torch.eye(3), torch.tensor([[0.6, 0.8, 0.0], [0.9, 0.1, 0.42], [0.0, 0.0, 1.0]])
    code = torch.nn.functional.normalize(code, dim=1)
    cosines = query @ code.T
    above = cosines > cosines.diagonal()[:, None]
    assert above.nonzero().tolist() == [[0, 1], [1, 0]]
    masked = cosines.masked_fill(above, float("-inf")) * 5
    by_hand = (
        torch.nn.functional.cross_entropy(masked, torch.arange(3))
        + torch.nn.functional.cross_entropy(masked.T, torch.arange(3))
    ) / 2
    given = contrastive_loss(query, code, scale=5.0, shared_BN=above, shared_query_BN=above.T)
    assert torch.allclose(given, by_hand)


def test_a_run_of_so_many_minutes_ends_with_them_and_at_its_lowest_rate(make: Make, tmp_path: Path) -> None:
    folder = finetune.run(make(run__steps=100_000, run__minutes=0.02))
    assert folder.is_dir()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    assert 1 <= len(steps) < 100_000 and lines[-1]["event"] == "end"
    assert lines[-1]["seconds"] in (1, 2, 3) and steps[-1]["rate_share"] <= max(line["rate_share"] for line in steps)


def test_scale_that_has_reached_its_limit_can_come_down_again(make: Make, tmp_path: Path) -> None:
    finetune.run(make(run__steps=12, loss__scale_start=30.0, loss__scale_limit=30.0, optimizer__head_rate=0.05))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scales = [line["scale"] for line in lines if line["event"] == "step"]
    assert min(scales) < 29.9, scales
