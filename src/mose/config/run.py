"""Settings that every training shares: start model, optimizer, length and folder of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mose.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class StartConfig:
    """The start model, and which of its weights do not change."""

    folder: str
    """Model folder to start from (``mose convert`` makes one)."""
    exits: tuple[int, ...] | None = None
    """Exits that the folder must have; None accepts whatever it has."""
    freeze_embeddings: bool = True
    """Leave token and position embeddings (and the norm after them) unchanged."""
    freeze_layers: int = 0
    """Leave this many lowest blocks, and the heads of the exits at or below them, unchanged."""
    dropout: float = 0.0
    """Dropout in attention and after each sub-layer during training."""

    def __post_init__(self) -> None:
        require(self.freeze_layers >= 0, "start.freeze_layers", self.freeze_layers, "0 or more")
        require(0 <= self.dropout < 1, "start.dropout", self.dropout, "0 up to, not including, 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and its schedule: linear warm-up, then linear decay to ``final_share``, or drops at given steps."""

    kind: Literal["adamw", "muon"] = "adamw"
    """muon: matrices of the blocks by Muon, all else by AdamW. Updates of both are of one size (Liu et al., 2025), so
    that the same rates serve."""
    rate: float = 1e-4
    """Peak learning rate of the blocks."""
    embedding_rate: float | None = None
    """Peak learning rate of token and position embeddings, if they are trained; None is that of the lowest block."""
    head_rate: float = 5e-4
    """Peak learning rate of the heads and of the similarity factor."""
    table_rate: float = 1e-3
    """Peak learning rate of exit 0."""
    layer_decay: float = 1.0
    """Rate of a block relative to the block above it."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of the two moments."""
    eps: float = 1e-6
    """Added to the root of the second moment."""
    weight_decay: float = 0.01
    """Decay of matrices; biases, norms and the table have none."""
    warmup_share: float = 0.1
    """Share of the steps with a rising rate."""
    final_share: float = 0.05
    """Rate of the last step, relative to the peak."""
    decay_share: float = 1.0
    """Share of the steps, the last ones, in which the rate falls; before them it stays at the peak (warm-up, stable,
    decay). 1 decays from the warm-up on."""
    drops: tuple[int, ...] = ()
    """Steps from which on the rate is multiplied by ``drop_factor`` once more (the paper's pre-training); empty decays
    linearly."""
    drop_factor: float = 0.5
    """See ``drops``; the paper does not say how far the rate drops (guess)."""
    clip: float = 1.0
    """Largest gradient norm."""

    def __post_init__(self) -> None:
        for key in ("rate", "head_rate", "table_rate", "eps", "clip", "layer_decay", "decay_share"):
            require(getattr(self, key) > 0, f"optimizer.{key}", getattr(self, key), "above 0")
        require(self.embedding_rate is None or self.embedding_rate > 0, "optimizer.embedding_rate",
                 self.embedding_rate, "above 0")  # fmt: skip
        require(list(self.drops) == sorted(set(self.drops)), "optimizer.drops", list(self.drops), "rising steps")
        for key in ("warmup_share", "final_share", "decay_share", "drop_factor"):
            require(0 <= getattr(self, key) <= 1, f"optimizer.{key}", getattr(self, key), "0 to 1")
        require(all(0 <= beta < 1 for beta in self.betas), "optimizer.betas", self.betas, "0 up to, not including, 1")
        require(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Length, folder and device of the run."""

    folder: str
    """Folder for the log, the checkpoints and the finished model; a run found there is continued."""
    steps: int
    """Optimizer steps in all; an upper bound where ``minutes`` is set."""
    minutes: float = 0.0
    """Minutes of training after which the run ends; the schedule is scaled to them. Not reproducible, and for one
    process only. 0 counts steps alone."""
    seed: int = 0
    """Seed of batches, dropout and renaming."""
    checkpoint_minutes: float = 5.0
    """Time between two checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept, newest first."""
    log_every: int = 1
    """Steps between two lines of the log."""
    threads: int = 0
    """Threads of torch; 0 leaves its default."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU if there is one."""
    max_skipped: int = 0
    """Steps in a row that may be skipped, with a line in the log, because a loss or gradient is not finite or
    ``spike`` says so; one more ends the run. 0 ends it at the first."""
    spike: float = 0.0
    """Skip a step whose gradient norm is more than this many times its running mean; 0 skips none."""
    tensorboard: bool = False
    """Write the numbers of the log for TensorBoard, too, into ``tensorboard/`` of the folder."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the encoder; weights and loss stay float32. Auto is bfloat16 on a GPU and float32 on a CPU;
    a CPU with AVX512-BF16 or AMX is several times faster in bfloat16."""

    def __post_init__(self) -> None:
        require(self.steps >= 1, "run.steps", self.steps, "1 or more")
        require(0 <= self.minutes < math.inf, "run.minutes", self.minutes, "0 or more")
        for key in ("keep_checkpoints", "log_every"):
            require(getattr(self, key) >= 1, f"run.{key}", getattr(self, key), "1 or more")
        require(0 <= self.seed < 2**32, "run.seed", self.seed, "0 to 4294967295")
        require(self.spike == 0 or self.spike > 1, "run.spike", self.spike, "0, or above 1")
        for key in ("checkpoint_minutes", "threads", "max_skipped"):
            require(getattr(self, key) >= 0, f"run.{key}", getattr(self, key), "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitsLossConfig:
    """A loss at every exit above 0, and their weighted sum: pre-training and clone detection."""

    exit_weights: tuple[float, ...] | None = None
    """Weight of each exit above 0, shallowest first. None takes the model's: depth / layers, as in the paper's losses.
    That its clone detection weighs the exits in this way is a guess: it only reports results at all of them."""

    def __post_init__(self) -> None:
        require_exit_weights(self.exit_weights)


def require_exit_weights(weights: tuple[float, ...] | None) -> None:
    """Raise `ConfigError` unless ``loss.exit_weights`` is None, or has no negative number and one above 0."""
    fits = weights is None or (all(weight >= 0 for weight in weights) and any(weight > 0 for weight in weights))
    require(fits, "loss.exit_weights", weights, "numbers from 0, at least one above 0")
