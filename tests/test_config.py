from __future__ import annotations

from pathlib import Path

import pytest

from mose.config import (
    ClonesConfig,
    FinetuneConfig,
    OptimizerConfig,
    PretrainConfig,
    from_values,
    read_stored,
    read_toml,
    write_toml,
)
from mose.data.mine.history import HistoryConfig
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

KINDS: dict[str, type] = {
    "clones": ClonesConfig,
    "bigclonebench": ClonesConfig,
    "histories": HistoryConfig,
    "mine": MineConfig,
    "mine-more": MineConfig,
    "pretrain-tiny": PretrainConfig,
    "pretrain-1b": PretrainConfig,
    "pretrain-minilm": PretrainConfig,
    "pretrain-minilm-gpu": PretrainConfig,
    "pretrain-objectives": PretrainConfig,
    "muon": PretrainConfig,
}
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


def test_unknown_key_inside_a_list_is_named_with_its_position(tmp_path: Path) -> None:
    file = written(tmp_path, MINIMAL.replace('languages = ["go"]', "weigth = 2"))
    with pytest.raises(ConfigError, match=r"data\.sources\[0\]\.weigth(.|\n)*weight\?"):
        read_toml(file, FinetuneConfig)


def test_missing_required_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch\.pairs is missing.*\n.*--set batch\.pairs=VALUE"):
        read_toml(written(tmp_path, MINIMAL.replace("pairs = 4", "")), FinetuneConfig)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch.pairs", "many", "a whole number"),
        ("batch.pairs", True, "a whole number"),
        ("batch.mixed", 1, "true or false"),
        ("run.device", "tpu", "auto, cpu, cuda"),
        ("data.rename", 1.5, "0 to 1"),
        ("loss.scale_start", 40.0, "0 to limit"),
        ("optimizer.betas", [0.9], "2 values"),
        ("batch.mini_batch_tokens", 9, "longest input"),
        ("loss", 3, "a table"),
        ("run.log_every", 0, "1 or more"),
        ("run.threads", -1, "0 or more"),
        ("run.seed", -1, "0 to 4294967295"),
        ("run.checkpoint_minutes", -1, "0 or more"),
        ("optimizer.betas", [0.9, 1.0], "0 up to, not including, 1"),
        ("run.device", 3, "auto, cpu, cuda"),
        ("run.folder", 3, "a text in quotes"),
        ("optimizer.rate", "fast", "a number"),
        *(
            (key, value, "a finite number below 2")
            for key in ("optimizer.rate", "run.steps")
            for value in (float("nan"), float("inf"), 10**400, -(2**63))
        ),
        ("optimizer.betas", [float("nan"), 0.9], "a finite number"),
        ("optimizer.weight_decay", -0.1, "0 or more"),
        ("validation.every", -1, "0 or more"),
        ("data.sources", [{"name": "a", "file": "a", "max_rows": -1}], "0 or more"),
        ("heads.fit", -1, "0 or more"),
        ("batch.pairs.x", 1, r"batch\.pairs is not a table: got 4"),
        ("batch.pairs.x.y", 1, r"batch\.pairs is not a table"),
        ("data.sources.weight", 1, r"data\.sources is not a table"),
    ],
)
def test_value_out_of_range_or_type_is_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_toml(written(tmp_path, MINIMAL), FinetuneConfig, overrides={key: value})


def test_repeated_source_name_is_refused(tmp_path: Path) -> None:
    source = {"name": "a", "file": "a.jsonl"}
    with pytest.raises(ConfigError, match="duplicate names"):
        read_toml(written(tmp_path, MINIMAL), FinetuneConfig, overrides={"data.sources": [source, source]})


def test_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no settings file .*absent\.toml"):
        read_toml(tmp_path / "absent.toml", FinetuneConfig)
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML"):
        read_toml(written(tmp_path, "steps ="), FinetuneConfig)


def test_file_without_end_is_refused_before_it_is_all_read(tmp_path: Path) -> None:
    with (tmp_path / "run.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML: more than"):
        read_toml(tmp_path / "run.toml", FinetuneConfig)


def test_stage_holds_only_what_differs_from_the_file_that_it_extends(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL.replace('languages = ["go"]}', 'languages = ["go"]}, {name = "b", file = "b.jsonl"}'))
    stage, last = tmp_path / "sub" / "stage.toml", tmp_path / "last.toml"
    stage.parent.mkdir()
    stage.write_text(
        'extends = "../run.toml"\n[data]\nsources = [{name = "b", weight = 3}, {name = "c", file = "c"}]\n[run]\nsteps = 5'
    )
    last.write_text('extends = "sub/stage.toml"\n[start]\nexits = [0, 2]\n')
    config = read_toml(last, FinetuneConfig, overrides={"run.seed": 4})
    assert [(source.name, source.file, source.weight) for source in config.data.sources] == [
        ("c", "c", 1.0), ("a", "a.jsonl", 1.0), ("b", "b.jsonl", 3.0),
    ]  # fmt: skip
    assert (config.run.folder, config.run.steps, config.run.seed) == ("runs/a", 5, 4)
    assert config.start.exits == (0, 2) and config.data.sources[1].languages == ("go",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "run.toml"', r"run\.toml: extends: got 'run\.toml', allowed: .* does not extend this one"),
        ("extends = 3", r"run\.toml: extends: got 3"),
        ('extends = "absent.toml"', r"no settings file .*absent\.toml"),
        ('extends = "base.toml"\n[run]\nstep = 1', r"run\.toml \(extends .*base\.toml\): unknown key run\.step"),
        (
            'extends = "base.toml"\n[data]\nsources = [{name = "x", file = "x"}, {name = "x", file = "x"}]',
            "duplicate names",
        ),
    ],
)
def test_faulty_stage_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "base.toml").write_text(MINIMAL)
    with pytest.raises(ConfigError, match=message):
        read_toml(written(tmp_path, text), FinetuneConfig)


def test_key_of_an_older_version_is_refused_in_a_config_and_read_in_a_stored_run(tmp_path: Path) -> None:
    file = written(tmp_path, MINIMAL.replace("steps = 10", "steps = 10\nfit_heads = 7"))
    with pytest.raises(ConfigError, match=r"run\.toml: run\.fit_heads is now heads\.fit"):
        read_toml(file, FinetuneConfig)
    assert read_stored(file, FinetuneConfig).heads.fit == 7
    file = written(tmp_path, MINIMAL.replace('languages = ["go"]', "place = 0.25"))
    with pytest.raises(ConfigError, match=r"data\.sources\.place is now data\.sources\.frame"):
        read_toml(file, FinetuneConfig)
    assert read_stored(file, FinetuneConfig).data.sources[0].frame == 0.25


def test_whole_number_is_accepted_for_a_float() -> None:
    assert from_values({"rate": 1}, OptimizerConfig).rate == 1.0


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[1] / "configs").glob("*.toml")), ids=lambda f: f.name)
def test_shipped_config_is_valid(file: Path) -> None:
    read_toml(file, KINDS.get(file.stem, FinetuneConfig))
