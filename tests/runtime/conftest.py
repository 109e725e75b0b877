"""Tiny random checkpoints of both block kinds, written with numpy, and their runtime folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_models import TINY_BERT
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from mose.export.export import ExportRecipe, export
from mose.model.folder import write_config
from mose.model.presets import preset
from mose.model.settings import ModelSettings
from mose.model.shapes import tensor_shapes

EXITS = {"exits": (0, 1, 2, 4), "table_width": 16}
TEXTS = [
    "def open_proxy(url): return connect(url)",
    "parse an ISO date",
    "x",
    "",
    "the list of all users, sorted by name and age " * 12,
    "class Reader:\n    def read(self): pass",
    "parse an ISO date!",
]
Build = Callable[..., Path]


def write_checkpoint(folder: Path, settings: ModelSettings, *, seed: int = 0) -> Path:
    """A model folder with random weights."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(settings).items():
        values = random.normal(scale=0.2, size=shape)
        if name.endswith("norm.weight"):
            values += 1
        if name == "table.token_weights":
            values = np.abs(values)
        tensors[name] = values.astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    write_config(folder, settings)
    pieces = list("abcdefghijklmnopqrstuvwxyz0123456789().,:!_")
    tokens = [settings.pad_token, "[UNK]", settings.cls_token, settings.sep_token, settings.mask_token]
    vocab = [*tokens, *pieces, *(f"##{piece}" for piece in pieces), "parse", "url", "##url", "read", "date"]
    tokenizer = Tokenizer(models.WordPiece({token: id for id, token in enumerate(vocab)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(tokens)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "LICENSE").write_text("free as air")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``checkpoint("bert", pooling="cls")``: a model folder of the tiny preset with some keys changed."""
    made: dict[str, Path] = {}

    def build(block: str = "bert", **changes: object) -> Path:
        changes = {**EXITS, **(TINY_BERT if block == "bert" else {"block": block}), **changes}
        key = repr(sorted(changes.items(), key=str))
        if key not in made:
            made[key] = write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", preset("tiny", **changes))
        return made[key]

    return build


@pytest.fixture(scope="session")
def runtime_folder(checkpoint: Build, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``runtime_folder("bert", dtype="int8")``: the exported form of such a checkpoint."""
    made: dict[str, Path] = {}

    def build(block: str = "bert", *, dtype: str = "float32", **changes: object) -> Path:
        key = repr((block, dtype, sorted(changes.items(), key=str)))
        if key not in made:
            folder = tmp_path_factory.mktemp("runtime") / "tiny"
            export(checkpoint(block, **changes), folder, ExportRecipe(dtype=dtype, calibration=TEXTS))
            made[key] = folder
        return made[key]

    return build
