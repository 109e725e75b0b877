"""Settings of clone detection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from mose.config.run import ExitsLossConfig, OptimizerConfig, RunConfig, StartConfig
from mose.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneFiles:
    """Pairs of one split, and the codes that they name."""

    pairs: str
    """JSON lines {a, b, label}, plain, .xz or .gz; or lines "a TAB b TAB label" (.txt, .tsv). Label 1 is a clone."""
    codes: tuple[str, ...]
    """JSON lines with the codes. Ids must differ over all of them."""

    def __post_init__(self) -> None:
        require(len(self.codes) > 0, f"codes of {self.pairs}", 0, "at least one file")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonesDataConfig:
    """Pairs to train on, to choose thresholds on, and to report on."""

    folder: str = "."
    """Folder that holds the files."""
    train: CloneFiles
    """Trained on."""
    valid: CloneFiles
    """Chooses temperatures, thresholds and the adaptive exit; never trained on."""
    test: CloneFiles | None = None
    """Read by ``benchmarks/clones.py`` alone, never in training."""
    id_field: str = "id"
    """Field of a code's id."""
    code_field: str = "code"
    """Field of a code's text."""
    swap: float = 0.5
    """Probability that the two codes of a pair are swapped."""
    rename: float = 0.0
    """Probability that the frequent identifiers of a code are renamed consistently."""
    hide_name: float = 0.0
    """Probability that the name of the function which a code defines is replaced by a neutral one."""

    def __post_init__(self) -> None:
        for key in ("swap", "rename", "hide_name"):
            require(0 <= getattr(self, key) <= 1, f"data.{key}", getattr(self, key), "0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """Input and features of the classifier."""

    max_tokens: int = 256
    """Tokens of a pair, template included; the longer code is cut first."""
    template: str | None = None
    """Literal text and the markers {cls} {sep} {first} {second}. None is "{cls}{first}{sep}{second}{sep}" for a bert
    block (its native form) and the paper's "{sep}{first}{sep}{second}{cls}" for all others."""
    features: Literal["pooled", "sides"] = "pooled"
    """pooled: the pooled state of the whole pair (the paper reads the final CLS). sides: that, and how the mean
    states of the two codes differ, which is learned in far fewer steps."""

    def __post_init__(self) -> None:
        require(self.max_tokens >= 8, "classifier.max_tokens", self.max_tokens, "8 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonesBatchConfig:
    """How pairs become batches."""

    pairs: int
    """Pairs a step, over all processes."""
    mini_batch_tokens: int = 8192
    """Padded tokens run through the encoder at once."""

    def __post_init__(self) -> None:
        require(self.pairs >= 1, "batch.pairs", self.pairs, "1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonesValidationConfig:
    """What is measured while training: the best F1 of every exit on the validation pairs."""

    every: int = 0
    """Steps between two validations; 0 validates at the end only."""
    max_pairs: int = 0
    """Use at most this many pairs, chosen by seed; 0 uses all."""
    keep: float = 0.99
    """Share of the deepest exit's F1 that the adaptive exit must keep."""

    def __post_init__(self) -> None:
        for key in ("every", "max_pairs"):
            require(getattr(self, key) >= 0, f"validation.{key}", getattr(self, key), "0 or more")
        require(0 < self.keep <= 1, "validation.keep", self.keep, "above 0, at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonesConfig:
    """Everything about one clone detection run."""

    moved_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("start.head", "start.head_width", "start.table_share", "run.fit_heads", "run.rotate_heads"), ""
    )
    """Keys of an older version that clone detection never used."""

    start: StartConfig
    data: ClonesDataConfig
    batch: ClonesBatchConfig
    run: RunConfig
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    loss: ExitsLossConfig = field(default_factory=ExitsLossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    validation: ClonesValidationConfig = field(default_factory=ClonesValidationConfig)

    def __post_init__(self) -> None:
        longest = self.classifier.max_tokens
        require(
            self.batch.mini_batch_tokens >= longest,
            "batch.mini_batch_tokens",
            self.batch.mini_batch_tokens,
            f"classifier.max_tokens {longest} or more",
        )
