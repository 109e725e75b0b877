"""Tiny models of both block types, a throwaway tokenizer, and model folders made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_models import TINY_BERT
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from mose.model.batch import TextBatch
from mose.model.checkpoint import save_model
from mose.model.encoder import MoseModel
from mose.model.transformers_config import MoseConfig

TEXTS = [
    "def open_proxy(url): return connect(url)",
    "parse an ISO date",
    "the list of all users, sorted by name and age",
    "x",
]
SPECIAL = ["<|endoftext|>", "<cls>", "<sep>", "<mask>", "[UNK]"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices run fastest alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    # As a foreign file may: padding and truncation baked in.
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(max_length=7)
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(file))
    return file


def randomized(config: MoseConfig, seed: int = 0) -> MoseModel:
    """A model whose every tensor is random, norms and biases too, so that none can be forgotten."""
    torch.manual_seed(seed)
    model = MoseModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.2)
            if "norm.weight" in name:
                parameter.add_(1.0)
    return model


@pytest.fixture(scope="session", params=["starcoder2", "bert"])
def model(request: pytest.FixtureRequest) -> MoseModel:
    """Four blocks, exits 0, 1, 2 and 4, mlp heads on the first kind."""
    changes = {} if request.param == "starcoder2" else TINY_BERT
    return randomized(MoseConfig.preset("tiny", exits=(0, 1, 2, 4), table_width=16, **changes))


@pytest.fixture(scope="session")
def model_folder(model: MoseModel, tokenizer_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    (tokenizer_file.parent / "LICENSE-words").write_text("free")
    save_model(model, folder, companions=tokenizer_file.parent, card="# tiny\n")
    return folder


@pytest.fixture
def batch() -> TextBatch:
    """Three texts of 9, 5 and 1 tokens, padded right, with words."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([9, 5, 1])
    keep = torch.arange(9)[None] < lengths[:, None]
    token_ids = torch.randint(5, 100, (3, 9), generator=generator).where(keep, 0)
    return TextBatch(
        token_ids_BT=token_ids,
        keep_BT=keep,
        word_ids_N=torch.randint(5, 100, (8,), generator=generator),
        word_offsets_B=torch.tensor([0, 4, 8]),
    )
