"""A tiny ladder of exits with tokenizer, and small pair files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from mose.config import FinetuneConfig, from_values
from mose.model.checkpoint import save_model
from mose.model.encoder import MoseModel
from mose.model.transformers_config import MoseConfig

SPECIAL = ["<|endoftext|>", "<cls>", "<sep>", "<mask>", "[UNK]"]
WORDS = [
    "red",
    "green",
    "blue",
    "sum",
    "list",
    "open",
    "file",
    "close",
    "date",
    "time",
    "parse",
    "sort",
    "find",
    "name",
    "user",
    "tree",
    "node",
]
OTHER_WORDS = ["def", "func", "return", "the", "number", "python", "go", "code"]


def pair_rows(count: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number in range(count):
        a, b = WORDS[number % len(WORDS)], WORDS[(number * 7 + number // len(WORDS)) % len(WORDS)]
        for language, form in (
            ("python", "def {a}_{b}(x): return {a}(x, {n})"),
            ("go", "func {a}{b}() {{ {a}({n}) }}"),
        ):
            code = form.format(a=a, b=b, n=number)
            rows.append(
                {
                    "query": f"{a} the {b} number {number}",
                    "code": code,
                    "language": language,
                    "group": f"g{number}",
                }
            )
    return rows


Make = Callable[..., FinetuneConfig]
"""Settings of a small run by the name of its folder, with changes."""


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["total"] for line in lines if line["event"] == "step"]


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, rows in (("train.jsonl", pair_rows(40)), ("valid.jsonl", pair_rows(12))):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder: four blocks of width 32, exits 0, 1, 2 and 4, linear heads."""
    folder = tmp_path_factory.mktemp("ladder")
    # A fixed vocabulary: a trained one differs from run to run where counts are equal.
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *"_(),.:{}-+=[]#", *WORDS, *OTHER_WORDS]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = MoseConfig.preset(
        "tiny", exits=(0, 1, 2, 4), table_width=16, head="linear", pooling="mean",
        query_template="{cls}{text}{sep}", code_template="{cls}{language}: {text}{sep}",
    )  # fmt: skip
    model = MoseModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    save_model(model, folder / "model", companions=folder, card="# tiny\n")
    return folder / "model"


def settings(ladder: Path, data_folder: Path, run: Path, **changes: object) -> FinetuneConfig:
    """A small run; changes are dotted keys with "__" for the dot."""
    values: dict[str, dict[str, object]] = {
        "start": {"folder": str(ladder)},
        "data": {
            "folder": str(data_folder),
            "sources": [
                {"name": "text", "file": "train.jsonl"},
                {"name": "code", "file": "train.jsonl", "task": "code-code"},
            ],
        },
        "batch": {"pairs": 8, "text_tokens": 24, "code_tokens": 40, "mini_batch_tokens": 160},
        "heads": {},
        "loss": {},
        "optimizer": {"rate": 1e-2},
        "validation": {
            "every": 3,
            "code_tokens": 40,
            "text_tokens": 24,
            "tasks": [
                {"name": "text", "file": "valid.jsonl", "languages": ["python"]},
                {"name": "code", "file": "valid.jsonl", "task": "code-code", "languages": ["go", "python"]},
            ],
        },
        "run": {"folder": str(run), "steps": 6, "threads": 1, "device": "cpu"},
    }
    for key, value in changes.items():
        table, name = key.split("__")
        values[table][name] = value
    return from_values(values, FinetuneConfig)


@pytest.fixture
def make(ladder: Path, data_folder: Path, tmp_path: Path) -> Make:
    return lambda name="run", **changes: settings(ladder, data_folder, tmp_path / name, **changes)
