from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mose.errors import ConfigError, ModelError, OutputError
from mose.model.checkpoint import load_model
from mose.model.encoder import MoseModel
from mose.model.presets import preset
from mose.model.pretraining.heads import PretrainingHeads
from mose.model.pretraining.new import new_model
from mose.model.transformers_config import MoseConfig

Run = Callable[..., tuple[int, str, str]]


def test_a_fresh_model_is_fixed_by_its_seed(tokenizer_file: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        new_model("tiny", tmp_path / name, tokenizer_file.parent, seed=seed)
    one, same, other = (load_model(tmp_path / name).state_dict() for name in ("one", "same", "other"))
    assert all(torch.equal(weights, same[name]) for name, weights in one.items())
    assert not torch.equal(one["layers.0.mlp.up.weight"], other["layers.0.mlp.up.weight"])
    assert not any(name.startswith("heads.") for name in one), "fine-tuning adds them"


def test_a_file_of_settings_and_changes(mose: Run, tokenizer_file: Path, tmp_path: Path) -> None:
    values = {**preset("tiny").to_json(), "num_layers": 2, "exits": [1, 2]}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]
    (tmp_path / "mine.toml").write_text("\n".join(lines))
    status, out, _ = mose(
        "new", tmp_path / "mine.toml", tmp_path / "out", "--tokenizer", tokenizer_file.parent, "--set", "init_std=0.5"
    )
    assert (status, "2 layers of width 32, exits 1, 2" in out) == (0, True)
    assert load_model(tmp_path / "out").layers[0].mlp.up.weight.std() > 0.4


def test_special_tokens_are_those_of_the_tokenizers_folder(tokenizer_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "named"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes(tokenizer_file.read_bytes())
    (folder / "special_tokens_map.json").write_text(json.dumps({"mask_token": {"content": "[UNK]"}}))
    settings = new_model("tiny", tmp_path / "out", folder)
    assert (settings.mask_token, settings.cls_token) == ("[UNK]", "<cls>")


def test_what_is_there_stays(tokenizer_file: Path, tmp_path: Path) -> None:
    new_model("tiny", tmp_path / "out", tokenizer_file.parent)
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="exists"):
        new_model("tiny", tmp_path / "out", tokenizer_file.parent, seed=1)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_a_tokenizer_that_does_not_fit_is_refused(mose: Run, tokenizer_file: Path, tmp_path: Path) -> None:
    command = ("new", "tiny", tmp_path / "out", "--tokenizer", tokenizer_file.parent, "--set", "vocab_size=50")
    status, _, err = mose(*command)
    assert status == 2
    assert "vocab_size of tiny is too small" in err and "got 50, allowed: " in err and "Pass --set vocab_size=" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "changes", "error", "match"),
    [
        ("huge", {}, ConfigError, "preset: got 'huge', allowed: 1b, small, tiny, or a TOML file"),
        ("tiny", {"depth": 3}, ConfigError, "unknown key .*depth"),
        ("tiny", {"mask_token": "<gap>"}, ModelError, "mask_token is not in tokenizer.json: got '<gap>'"),
    ],
)
def test_settings_that_cannot_be(
    settings: str, changes: dict[str, object], error: type[Exception], match: str, tokenizer_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=match):
        new_model(settings, tmp_path / "out", tokenizer_file.parent, changes=changes)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_cannot_be_is_refused(mose: Run, seed: int, tokenizer_file: Path, tmp_path: Path) -> None:
    status, _, err = mose("new", "tiny", tmp_path / "out", "--tokenizer", tokenizer_file.parent, "--seed", seed)
    assert (status, f"seed: got {seed}, allowed: 0 to 4294967295" in err) == (2, True)


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        new_model("tiny", tmp_path / "out", tmp_path)


def test_the_paper_model_with_its_heads_is_as_large_as_the_released_one() -> None:
    with torch.device("meta"):
        model = MoseModel(MoseConfig.from_settings(preset("1b", head="none")))
        parts = (model, PretrainingHeads(model.settings))
    count = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert count == 1_102_840_866  # the released pre-trained file: 2.21 GB in bfloat16
