"""Model folders: round trips, and errors that name the fault."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from shutil import copytree

import pytest
import torch
from safetensors.torch import load_file, save_file

from mose.errors import ModelError, OutputError
from mose.model.batch import TextBatch, text_batch
from mose.model.checkpoint import load_model, save_model
from mose.model.encoder import MoseModel
from mose.tokenizer import CodeTokenizer

from .conftest import TEXTS


def test_saved_model_is_read_back_bit_for_bit(model: MoseModel, model_folder: Path, batch: TextBatch) -> None:
    loaded = load_model(model_folder)
    assert loaded.settings == model.settings
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    for exit_layer, rows in loaded.embed(batch).items():
        assert torch.equal(rows, model.embed(batch)[exit_layer])


def test_loaded_weights_are_aligned_whatever_their_position_in_the_file(model_folder: Path, tmp_path: Path) -> None:
    """Kernels round differently at another alignment, and a resumed run would differ from the uninterrupted one."""
    for padding in range(0, 64, 8):
        folder = tmp_path / str(padding)
        copytree(model_folder, folder)
        stored = (folder / "model.safetensors").read_bytes()
        length = int.from_bytes(stored[:8], "little")
        header = stored[8 : 8 + length] + b" " * padding
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + stored[8 + length :])
        addresses = {name: tensor.data_ptr() % 64 for name, tensor in load_model(folder).state_dict().items()}
        assert set(addresses.values()) == {0}, (padding, addresses)


def test_folder_holds_config_weights_tokenizer_card_and_licences(model_folder: Path) -> None:
    names = sorted(file.name for file in model_folder.iterdir())
    assert names == [
        ".mose-folder.json",
        "LICENSE-words",
        "README.md",
        "config.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
    ]
    assert sorted(model_folder.parent.iterdir()) == [model_folder]  # no temporary sibling is left


def test_transformers_reads_the_folder_too(model: MoseModel, model_folder: Path) -> None:
    loaded = MoseModel.from_pretrained(model_folder)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_weights_above_the_last_exit_are_not_read(model: MoseModel, model_folder: Path, batch: TextBatch) -> None:
    loaded = load_model(model_folder, last_exit=2)
    assert len(loaded.layers) == 2
    for exit_layer, rows in loaded.embed(batch).items():
        assert torch.equal(rows, model.embed(batch)[exit_layer])


def test_dtype_can_be_chosen(model_folder: Path) -> None:
    assert {tensor.dtype for tensor in load_model(model_folder, dtype=torch.bfloat16).parameters()} == {torch.bfloat16}


def test_absent_exit_is_refused_with_what_to_do(model_folder: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(model_folder, last_exit=18)
    assert str(caught.value) == (
        f"{model_folder / 'model.safetensors'} has no weights for exit 18.\n"
        "  It was cut after exit 4. Use --exit 0, --exit 1, --exit 2 or --exit 4, or load the uncut checkpoint."
    )


def damaged(model_folder: Path, tmp_path: Path, **changes: torch.Tensor | None) -> Path:
    folder = tmp_path / "damaged"
    copytree(model_folder, folder)
    tensors = {**load_file(folder / "model.safetensors"), **changes}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / "model.safetensors")
    return folder


def test_missing_tensor_is_named(model_folder: Path, tmp_path: Path) -> None:
    folder = damaged(model_folder, tmp_path, **{"layers.1.mlp.up.weight": None})
    with pytest.raises(ModelError, match=r"has no tensor layers\.1\.mlp\.up\.weight"):
        load_model(folder)


def test_extra_tensor_is_named(model_folder: Path, tmp_path: Path) -> None:
    folder = damaged(model_folder, tmp_path, **{"layers.4.mlp.up.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"unknown to its config: layers\.4\.mlp\.up\.weight"):
        load_model(folder)


def test_misshapen_tensor_is_named(model_folder: Path, tmp_path: Path) -> None:
    folder = damaged(model_folder, tmp_path, **{"embeddings.tokens.weight": torch.zeros(5, 32)})
    with pytest.raises(ModelError, match=r"shape of embeddings\.tokens\.weight: got \(5, 32\), allowed: \(512, 32\)"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"pickle", struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 4) + b"null"])
def test_foreign_weights_are_refused(model_folder: Path, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "foreign"
    copytree(model_folder, folder)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="is damaged or not safetensors"):
        load_model(folder)


def test_truncated_weights_are_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    copytree(model_folder, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is damaged or not safetensors"):
        load_model(folder)


def test_missing_weights_are_refused(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        load_model(tmp_path)


def test_saving_over_a_model_replaces_it(model: MoseModel, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for card in ("first", "second"):
        save_model(model, out, companions=model_folder, card=card)
    assert (out / "README.md").read_text() == "second"
    assert list(tmp_path.iterdir()) == [out]


def test_saving_over_something_else_is_refused(model: MoseModel, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="is not a folder that mose wrote"):
        save_model(model, tmp_path, companions=model_folder)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_failed_save_leaves_the_old_model_and_nothing_else(
    model: MoseModel, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    save_model(model, out, companions=model_folder, card="first")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("mose.model.checkpoint.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(model, out, companions=model_folder, card="second")
    assert (out / "README.md").read_text() == "first"
    assert list(tmp_path.iterdir()) == [out]


def test_saving_without_tokenizer_is_refused(model: MoseModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        save_model(model, tmp_path / "out", companions=tmp_path)


def test_folder_embeds_texts(model_folder: Path) -> None:
    model, tokenizer = load_model(model_folder), CodeTokenizer.load(model_folder)
    batch = text_batch(tokenizer, TEXTS, kind="code", language="python", words=True)
    assert {exit_layer: len(rows) for exit_layer, rows in model.embed(batch).items()} == {
        0: 4,
        1: 4,
        2: 4,
        4: 4,
    }


def test_config_names_the_model_type(model_folder: Path) -> None:
    assert json.loads((model_folder / "config.json").read_text())["model_type"] == "mose"
