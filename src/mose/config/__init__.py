"""Settings as frozen dataclasses, one file per stage, and the strict TOML reader that fills them."""

from mose.config.clones import (
    ClassifierConfig,
    CloneFiles,
    ClonesBatchConfig,
    ClonesConfig,
    ClonesDataConfig,
    ClonesLossConfig,
    ClonesValidationConfig,
)
from mose.config.retrieval import (
    BatchConfig,
    DataConfig,
    FinetuneConfig,
    HeadsConfig,
    LossConfig,
    SourceConfig,
    ValidationConfig,
    ValidationTask,
)
from mose.config.run import OptimizerConfig, RunConfig, StartConfig
from mose.config.toml import from_values, parse_overrides, read_stored, read_toml, write_toml

__all__ = [
    "BatchConfig",
    "ClassifierConfig",
    "CloneFiles",
    "ClonesBatchConfig",
    "ClonesConfig",
    "ClonesDataConfig",
    "ClonesLossConfig",
    "ClonesValidationConfig",
    "DataConfig",
    "FinetuneConfig",
    "HeadsConfig",
    "LossConfig",
    "OptimizerConfig",
    "RunConfig",
    "SourceConfig",
    "StartConfig",
    "ValidationConfig",
    "ValidationTask",
    "from_values",
    "parse_overrides",
    "read_stored",
    "read_toml",
    "write_toml",
]
