"""Settings: presets, checks, and the way through transformers' configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mose.errors import ConfigError, ModelError
from mose.model.presets import preset
from mose.model.settings import ModelSettings
from mose.model.transformers_config import MoseConfig


def test_1b_is_the_papers_model() -> None:
    settings = preset("1b")
    assert (settings.num_layers, settings.hidden_size, settings.intermediate_size) == (36, 1024, 12288)
    assert (settings.num_heads, settings.num_kv_heads, settings.vocab_size) == (16, 4, 49156)
    assert settings.exits == (4, 9, 18, 27, 36)
    assert settings.rope_theta == 999999.4420358813
    assert settings.weight_of == pytest.approx({4: 1 / 9, 9: 0.25, 18: 0.5, 27: 0.75, 36: 1.0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "max"}, "pooling: got 'max', allowed: cls, mean, mask_sum"),
        ({"num_heads": 5}, "num_heads: got 5, allowed: a divisor of hidden_size 32"),
        ({"num_kv_heads": 3}, "num_kv_heads: got 3, allowed: a divisor of num_heads 4"),
        ({"num_heads": 32, "num_kv_heads": 1}, "head size: got 1, allowed: an even number"),
        ({"exits": (2, 1, 4)}, r"exits: got \[2, 1, 4\], allowed: different depths, shallowest first"),
        ({"exits": (1, 2)}, "the last one num_layers 4"),
        ({"exits": (0, 4)}, "table_width: got 'null', allowed: a number with exit 0"),
        ({"table_width": 8}, "table_width: got 8"),
        ({"table_share": 0.3}, "table_share: got 0.3, allowed: 0 without exit 0 or with another norm_rule than unit"),
        ({"exits": (0, 4), "table_width": 8, "table_share": 1.0}, "table_share: got 1.0, allowed: 0 up to"),
        ({"exit_weights": (1.0,)}, "allowed: null, or 3 numbers from 0, one for each exit"),
        ({"attention_dropout": 1.0}, "attention_dropout: got 1.0"),
        ({"max_tokens": 129}, "max_tokens: got 129, allowed: at most max_positions 128"),
        ({"code_template": "{cls}"}, "code_template: got '{cls}', allowed: literal text"),
        ({"query_template": "{text}{bos}"}, "query_template"),
        ({"padding_side": "top"}, "padding_side: got 'top', allowed: left, right"),
        ({"num_layer": 4}, "unknown key in preset 'tiny': got 'num_layer'"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset("tiny", **changes)


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="preset: got '2b', allowed: 1b, small, tiny"):
        preset("2b")


def test_configuration_survives_transformers(tmp_path: Path) -> None:
    config = MoseConfig.preset("tiny", exits=(0, 2, 4), table_width=8, exit_weights=(0.1, 0.2, 1.0))
    config.save_pretrained(tmp_path)
    assert MoseConfig.from_pretrained(tmp_path).settings == config.settings
    assert ModelSettings.read(tmp_path) == config.settings


def test_configuration_refuses_unknown_keys() -> None:
    with pytest.raises(ConfigError, match="unknown key in the config: got 'num_layer'"):
        MoseConfig(**{**preset("tiny").to_json(), "num_layer": 3})


def test_config_file_with_unknown_key_is_refused(tmp_path: Path) -> None:
    values = {"model_type": "mose", **preset("tiny").to_json(), "exit": [1]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"unknown key in .*config\.json: got 'exit'"):
        ModelSettings.read(tmp_path)


def test_config_file_with_missing_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mose"}')
    with pytest.raises(ConfigError, match=r"config\.json has no vocab_size, hidden_size"):
        ModelSettings.read(tmp_path)


@pytest.mark.parametrize("name", ["exits", "exit_weights"])
def test_a_number_where_a_list_belongs_is_named(name: str) -> None:
    values = {**preset("tiny").to_json(), name: 3}
    with pytest.raises(ConfigError, match=f"^{name} of config.json: got 3, allowed: a list of numbers"):
        ModelSettings.from_json(values, where="config.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "model_type, allowed: mose"),
        ('{"model_type": "bert"}', "got 'bert', allowed: mose.\n  mose convert makes one"),
    ],
)
def test_foreign_or_damaged_config_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        ModelSettings.read(tmp_path)


def test_folder_without_config_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model folder: it has no config"):
        ModelSettings.read(tmp_path / "nothing")
