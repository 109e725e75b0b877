from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from mose.config import DataConfig, SourceConfig
from mose.data.batches import PairBatches
from mose.data.sources import open_sources
from mose.model.checkpoint import load_model
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World
from mose.train.retrieval import run as finetune
from mose.train.retrieval.hard_negatives import MiningConfig, choose_negatives, mine_hard_negatives
from mose.train.retrieval.learner import RetrievalLearner

from .conftest import settings

SCORES = np.array([0.5, 0.9, 0.8, 0.79, 0.3, 0.6, 0.2])


def chosen(**changes: object) -> set[int]:
    config = MiningConfig(**{"first_rank": 0, "last_rank": 7, "margin": 1.0, "count": 9, **changes})  # type: ignore[arg-type]
    barred = np.array([False, False, False, True, False, False, False])
    return set(choose_negatives(SCORES, 2, barred, config, np.random.default_rng(0)))


def test_answer_barred_codes_and_codes_above_it_are_left_out() -> None:
    assert chosen() == {0, 4, 5, 6}


def test_window_margin_and_count_limit_the_choice() -> None:
    assert chosen(first_rank=4) == {0, 4, 6}
    assert chosen(last_rank=5) == {0, 5}
    assert chosen(margin=0.5) == {4, 6}
    assert len(chosen(count=2)) == 2


def test_mined_file_trains_and_never_names_an_answer(ladder: Path, data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "hard.jsonl.xz"
    config = MiningConfig(first_rank=0, last_rank=40, margin=2.0, count=3)
    counts = mine_hard_negatives(ladder, data_folder / "train.jsonl", out, config)
    assert 40 < counts["with_negatives"] <= counts["rows"] and counts["negatives"] > 100
    data = DataConfig(folder=str(tmp_path), hard_negatives=2, sources=(SourceConfig(name="hard", file=out.name),))
    (source,) = open_sources(data, batch_pairs=8, mixed=False)
    rows = [source.first_row(unit) for unit in range(len(source))]
    by_code = {row.code: row for row in rows}
    for row in rows:
        for negative in row.negatives:
            assert by_code[negative].group != row.group and by_code[negative].language == row.language
    batch = next(PairBatches([source], pairs=8, seed=0))
    assert sum(len(pair.negatives) for pair in batch.pairs) == 16
    losses = []
    for count in (0, 2):
        run = settings(ladder, tmp_path, tmp_path / "run", data__sources=[{"name": "hard", "file": out.name}],
                       data__hard_negatives=count, validation__tasks=[], data__rename=0.0, data__hide_name=0.0)  # fmt: skip
        model, tokenizer = load_model(ladder, dtype=torch.float32), CodeTokenizer.load(ladder)
        learner = RetrievalLearner(model, tokenizer, run, world=World(), device=torch.device("cpu"))
        sources = open_sources(run.data, batch_pairs=8, mixed=False)
        losses.append(learner.check(next(PairBatches(sources, pairs=8, seed=0)))["exit_04"])
    assert losses[1] > losses[0]
    assert finetune.run(run).is_dir()


def test_written_rows_keep_query_code_group_name_and_place(ladder: Path, tmp_path: Path) -> None:
    row = {"query": "q", "code": "c", "language": "go", "group": "g", "func": "f", "path": "a/b.go"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    mine_hard_negatives(ladder, tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert json.loads((tmp_path / "b.jsonl").read_text()) == {**row, "negatives": []}


def test_the_whole_command(mose, ladder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rows = [{"query": f"q {n}", "code": f"code {n}", "language": "go"} for n in range(4)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "b.jsonl"
    command = ("pairs", "negatives", ladder, tmp_path / "a.jsonl", "--out", out, "--margin", 9, "--quiet")
    code, printed, error = mose(*command, "--first-rank", 0)
    assert (code, error) == (0, "")
    assert printed == (
        f"{out}: 4 rows, 4 of them with hard negatives\n"
        "Train with them: name the file in a source, and set data.hard_negatives.\n"
    )
    code, _, error = mose(*command, "--first-rank", 2, "--count", 1)
    assert code != 0 and "exists and holds something else" in error
    out.unlink()
    code, printed, _ = mose(*command, "--first-rank", 2, "--count", 1, "--json")
    assert json.loads(printed) == {"file": str(out), "rows": 4, "with_negatives": 4, "negatives": 4}
    code, _, error = mose(*command, "--first-rank", 9, "--last-rank", 3)
    assert code != 0 and "ranks of hard negatives" in error and "(9, 3)" in error
    code, _, error = mose("pairs", "negatives", ladder, tmp_path / "none.jsonl", "--out", out)
    assert code != 0 and "none.jsonl" in error
    code, _, error = mose(*command, "--exit", 7)
    assert code != 0 and "no weights for exit 7" in error and "--exit 4" in error


def test_exit_0_looks_without_the_blocks(ladder: Path, data_folder: Path, tmp_path: Path) -> None:
    def negatives(exit_layer: int | None) -> str:
        config = MiningConfig(first_rank=0, last_rank=3, margin=2.0, exit_layer=exit_layer)
        (tmp_path / "b.jsonl").unlink(missing_ok=True)
        mine_hard_negatives(ladder, data_folder / "train.jsonl", tmp_path / "b.jsonl", config)
        return (tmp_path / "b.jsonl").read_text()

    deepest = load_model(ladder).settings.exits[-1]
    assert negatives(None) == negatives(deepest) != negatives(0)
