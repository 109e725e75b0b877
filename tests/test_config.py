from __future__ import annotations

from pathlib import Path

import pytest

from mose.config import ClonesConfig, FinetuneConfig, OptimizerConfig, from_values, read_toml, write_toml
from mose.data.mine.manifest import MineConfig
from mose.errors import ConfigError

MINIMAL = """
[start]
folder = "ladder"
[data]
sources = [{name = "a", file = "a.jsonl", languages = ["go"]}]
[batch]
pairs = 4
[run]
folder = "runs/a"
steps = 10
"""

KINDS: dict[str, type] = {"clones": ClonesConfig, "bigclonebench": ClonesConfig, "mine": MineConfig}
"""Configs in ``configs/`` that are not of retrieval fine-tuning, by file."""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "run.toml"
    file.write_text(text)
    return file


def test_minimal_file_fills_defaults(tmp_path: Path) -> None:
    config = read_toml(written(tmp_path, MINIMAL), FinetuneConfig)
    assert config.batch.pairs == 4
    assert config.data.sources[0].languages == ("go",)
    assert config.optimizer == OptimizerConfig()


def test_written_settings_read_back_equal(tmp_path: Path) -> None:
    config = read_toml(
        written(tmp_path, MINIMAL), FinetuneConfig, overrides={"loss.widths": [8, 16], "start.exits": [0, 2]}
    )
    again = read_toml(written(tmp_path, write_toml(config)), FinetuneConfig)
    assert again == config
    assert again.loss.widths == (8, 16)


def test_unknown_key_names_file_key_and_nearest(tmp_path: Path) -> None:
    file = written(tmp_path, MINIMAL + "[optimizer]\nrat = 0.1\n")
    with pytest.raises(ConfigError, match=r"run\.toml: unknown key optimizer\.rat(.|\n)*optimizer\.rate\?"):
        read_toml(file, FinetuneConfig)


def test_unknown_key_inside_a_list_is_named_with_its_place(tmp_path: Path) -> None:
    file = written(tmp_path, MINIMAL.replace('languages = ["go"]', "weigth = 2"))
    with pytest.raises(ConfigError, match=r"data\.sources\[0\]\.weigth(.|\n)*weight\?"):
        read_toml(file, FinetuneConfig)


def test_missing_required_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch\.pairs is missing"):
        read_toml(written(tmp_path, MINIMAL.replace("pairs = 4", "")), FinetuneConfig)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch.pairs", "many", "type int"),
        ("batch.pairs", True, "type int"),
        ("batch.mixed", 1, "type bool"),
        ("run.device", "tpu", "auto, cpu, cuda"),
        ("data.rename", 1.5, "0 to 1"),
        ("loss.scale_start", 40.0, "0 to limit"),
        ("optimizer.betas", [0.9], "2 values"),
        ("batch.mini_batch_tokens", 9, "longest input"),
        ("loss", 3, "a table"),
    ],
)
def test_value_out_of_range_or_type_is_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_toml(written(tmp_path, MINIMAL), FinetuneConfig, overrides={key: value})


def test_repeated_source_name_is_refused(tmp_path: Path) -> None:
    source = {"name": "a", "file": "a.jsonl"}
    with pytest.raises(ConfigError, match="one name twice"):
        read_toml(written(tmp_path, MINIMAL), FinetuneConfig, overrides={"data.sources": [source, source]})


def test_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no settings file .*absent\.toml"):
        read_toml(tmp_path / "absent.toml", FinetuneConfig)
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML"):
        read_toml(written(tmp_path, "steps ="), FinetuneConfig)


def test_whole_number_is_accepted_where_a_float_stands() -> None:
    assert from_values({"rate": 1}, OptimizerConfig).rate == 1.0


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[1] / "configs").glob("*.toml")), ids=lambda f: f.name)
def test_shipped_config_is_valid(file: Path) -> None:
    read_toml(file, KINDS.get(file.stem, FinetuneConfig))
