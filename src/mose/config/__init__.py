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
    LossConfig,
    OptimizerConfig,
    RunConfig,
    SourceConfig,
    StartConfig,
    ValidationConfig,
    ValidationTask,
)
from mose.config.toml import from_values, read_toml, write_toml

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
    "LossConfig",
    "OptimizerConfig",
    "RunConfig",
    "SourceConfig",
    "StartConfig",
    "ValidationConfig",
    "ValidationTask",
    "from_values",
    "read_toml",
    "write_toml",
]
