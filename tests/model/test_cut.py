"""Cut models: the same numbers from fewer bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mose.errors import ModelError, OutputError
from mose.export.export import export
from mose.model.batch import TextBatch
from mose.model.checkpoint import load_model
from mose.model.cut import cut
from mose.model.encoder import MoseModel
from mose.model.settings import ModelSettings

from .conftest import randomized


@pytest.mark.parametrize("exit_layer", [0, 1, 2, 4])
def test_cut_model_equals_full_model_at_every_exit_left_bit_for_bit(
    model: MoseModel, model_folder: Path, batch: TextBatch, tmp_path: Path, exit_layer: int
) -> None:
    cut(model_folder, exit_layer, tmp_path / "cut")
    shorter = load_model(tmp_path / "cut")
    assert len(shorter.layers) == exit_layer
    embeddings = shorter.embed(batch)
    assert list(embeddings) == [other for other in (0, 1, 2, 4) if other <= exit_layer]
    full = model.embed(batch)
    assert all(torch.equal(rows, full[other]) for other, rows in embeddings.items())


def test_cut_model_keeps_final_norm_at_every_exit_if_it_was_there(
    model_folder: Path, batch: TextBatch, tmp_path: Path
) -> None:
    settings = ModelSettings.read(model_folder)
    if settings.block == "bert":
        pytest.skip("bert has no final norm")
    full = load_model(model_folder)
    every = randomized(type(full.config)(**{**settings.to_json(), "final_norm": "every"}))
    from mose.model.checkpoint import save_model

    save_model(every, tmp_path / "every", companions=model_folder)
    cut(tmp_path / "every", 2, tmp_path / "cut")
    assert torch.equal(load_model(tmp_path / "cut").embed(batch)[2], every.embed(batch)[2])


@pytest.mark.parametrize("write", [lambda model, out: cut(model, 1, out), export], ids=["cut", "export"])
@pytest.mark.parametrize("out", ["model", "link", "link/../model"])
def test_a_model_is_not_replaced_by_what_is_made_of_it(
    model_folder: Path, tmp_path: Path, write: Callable[[Path, Path], None], out: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)  # a folder that mose wrote, and would replace
    (tmp_path / "link").symlink_to(model)
    before = {path: path.read_bytes() for path in model.rglob("*")}
    with pytest.raises(OutputError, match="would replace"):
        write(model, tmp_path / out)
    assert {path: path.read_bytes() for path in model.rglob("*")} == before


def test_cut_keeps_bytes_tokenizer_card_licences_and_training_weights(model_folder: Path, tmp_path: Path) -> None:
    cut(model_folder, 2, tmp_path / "cut")
    full, shorter = (
        load_file(model_folder / "model.safetensors"),
        load_file(tmp_path / "cut" / "model.safetensors"),
    )
    assert all(torch.equal(tensor, full[name]) for name, tensor in shorter.items())
    assert {name.split(".")[1] for name in shorter if name.startswith("layers.")} == {"0", "1"}
    for name in ("tokenizer.json", "README.md", "LICENSE-words"):
        assert (tmp_path / "cut" / name).read_bytes() == (model_folder / name).read_bytes()
    before, after = ModelSettings.read(model_folder), ModelSettings.read(tmp_path / "cut")
    assert after.weight_of == {exit_layer: before.weight_of[exit_layer] for exit_layer in (0, 1, 2)}


@pytest.mark.parametrize("name", ["README.md", "LICENSE-words", "tokenizer.json"])
def test_a_file_of_another_folder_is_not_copied(model_folder: Path, tmp_path: Path, name: str) -> None:
    model = Path(shutil.copytree(model_folder, tmp_path / "model"))
    (model / name).rename(tmp_path / "private")
    (model / name).symlink_to(tmp_path / "private")
    with pytest.raises(ModelError, match="a link to a file of another folder"):
        cut(model, 2, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


def test_a_repository_in_the_cache_of_the_hub_is_copied(model_folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "0a1b", tmp_path / "hub" / "blobs"
    shutil.copytree(model_folder, blobs)
    snapshot.mkdir(parents=True)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    cut(snapshot, 2, tmp_path / "cut")
    assert (tmp_path / "cut" / "README.md").read_bytes() == (model_folder / "README.md").read_bytes()


def test_cut_passes_bfloat16_through(model_folder: Path, tmp_path: Path) -> None:
    from mose.model.checkpoint import save_model

    half = load_model(model_folder, dtype=torch.bfloat16)
    save_model(half, tmp_path / "half", companions=model_folder)
    cut(tmp_path / "half", 1, tmp_path / "cut")
    shorter = load_model(tmp_path / "cut")
    assert torch.equal(shorter.layers[0].mlp.up.weight, half.layers[0].mlp.up.weight)
    assert shorter.layers[0].mlp.up.weight.dtype == torch.bfloat16


def test_cut_of_a_cut_names_the_exits_left(model_folder: Path, tmp_path: Path) -> None:
    cut(model_folder, 2, tmp_path / "cut")
    with pytest.raises(ModelError, match=r"has no weights for exit 4\.\n  It was cut after exit 2\. Use --exit 0, "):
        cut(tmp_path / "cut", 4, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_cut_and_info_need_neither_torch_nor_transformers() -> None:
    code = "import sys, mose.model.cut, mose.model.info, mose.model.presets, mose.tokenizer\n"
    code += "print(sorted({'torch', 'transformers', 'tokenizers', 'safetensors'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
