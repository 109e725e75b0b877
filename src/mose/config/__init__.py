"""Settings as frozen dataclasses, one module for each stage, and the strict TOML reader."""

from mose.config.clones import (
    ClassifierConfig,
    CloneFiles,
    ClonesBatchConfig,
    ClonesConfig,
    ClonesDataConfig,
    ClonesValidationConfig,
)
from mose.config.pretrain import (
    CorpusConfig,
    ObjectiveConfig,
    PretrainBatchConfig,
    PretrainConfig,
    PretrainRun,
    PretrainStart,
    PretrainValidationConfig,
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
from mose.config.run import ExitsLossConfig, OptimizerConfig, RunConfig, StartConfig
from mose.config.toml import from_values, parse_overrides, read_stored, read_toml, write_toml

__all__ = [
    "BatchConfig",
    "ClassifierConfig",
    "CloneFiles",
    "ClonesBatchConfig",
    "ClonesConfig",
    "ClonesDataConfig",
    "ClonesValidationConfig",
    "CorpusConfig",
    "DataConfig",
    "ExitsLossConfig",
    "FinetuneConfig",
    "HeadsConfig",
    "LossConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "PretrainBatchConfig",
    "PretrainConfig",
    "PretrainRun",
    "PretrainStart",
    "PretrainValidationConfig",
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
