"""Settings of pre-training: masked tokens and "from the same repository?" at every exit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mose.config.run import ExitsLossConfig, OptimizerConfig, RunConfig, StartConfig
from mose.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainStart(StartConfig):
    """The model to train: a fresh one (``mose new``) or any ladder of exits."""

    freeze_embeddings: bool = False
    """Leave token and position embeddings unchanged."""
    preset: str = ""
    """Preset that ``folder`` will be made from; read by ``mose plan`` alone, as long as the folder does not exist."""
    dropout: float = 0.1
    """Dropout in attention, after each sub-layer and of the embeddings."""
    decoder: Literal["new", "embeddings"] = "new"
    """How the decoder of masked tokens starts where the folder has no pre-training heads: random, or as the token
    embeddings, which a trained encoder knows already. It is not tied to them in either case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """Repositories to read. What is left out is counted by reason in the log.

    ``folder`` may be a corpus that ``mose corpus build`` wrote: it is mapped, not read, and holds what it was built to
    hold: ``sources``, ``exclude``, ``languages`` and ``max_files`` stay as they are.
    """

    sources: tuple[str, ...] = (".",)
    """Folders whose sub-folders and archives (.tar.*, .tgz, .zip, .whl) are one repository each, or single archives."""
    folder: str = "."
    """Folder that ``sources`` are relative to, or a corpus."""
    exclude: tuple[str, ...] = ()
    """Repositories to leave out, those of test data say: names of folders, and of archives without their ending."""
    skip_benchmarks: bool = True
    """Leave out repositories of the held-out benchmarks, by name, as mining does."""
    languages: tuple[str, ...] = ()
    """Keep files of these languages; empty keeps all but plain text and prose."""
    max_files: int = 0
    """Files kept of each repository, chosen by seed, so that none dominates; 0 keeps all."""
    snippet_chars: int = 2000
    """Files are cut at line ends into snippets of about this many characters."""
    valid_share: float = 0.1
    """Share of the repositories that are held out for validation, at least two."""

    def __post_init__(self) -> None:
        require(len(self.sources) > 0, "data.sources", 0, "at least one folder or archive")
        require(self.max_files >= 0, "data.max_files", self.max_files, "0 or more")
        require(self.snippet_chars >= 16, "data.snippet_chars", self.snippet_chars, "16 or more")
        require(0 < self.valid_share < 1, "data.valid_share", self.valid_share, "above 0, below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """What is learned of a pair of snippets."""

    pairs: Literal["icc", "nsp", "none"] = "icc"
    """icc: do the snippets come from one repository (in-context classification, the paper)? nsp: does the second follow
    the first in its file, or come from another repository? none: masked tokens alone, in the pairs of icc."""
    same_share: float = 0.5
    """Share of pairs from one repository (nsp: of consecutive snippets)."""
    same_label: Literal[0, 1] = 1
    """Label of those pairs; the paper does not say which (guess)."""
    pair_weight: float = 1.0
    """Weight of the pair's term beside that of the masked tokens; the paper's is 1."""
    template: str | None = None
    """Literal text and the markers {cls} {sep} {first} {second}. None is "{sep}{first}{sep}{second}{cls}" (its details
    are a guess), and the block's own form for a bert block."""
    max_tokens: int = 2048
    """Tokens of a pair, template included; the longer snippet is cut first."""
    mask_rate: float = 0.15
    """Share of the tokens to predict (guess: the precursor's)."""
    masking: Literal["bert", "full"] = "bert"
    """bert: of the tokens to predict 80 % become the mask token, 10 % a random one, 10 % stay (guess: the precursor's).
    full: all become the mask token."""

    def __post_init__(self) -> None:
        require(0 < self.same_share < 1, "objective.same_share", self.same_share, "above 0, below 1")
        require(self.pair_weight > 0, "objective.pair_weight", self.pair_weight, "above 0")
        require(self.max_tokens >= 8, "objective.max_tokens", self.max_tokens, "8 or more")
        require(0 < self.mask_rate <= 1, "objective.mask_rate", self.mask_rate, "above 0, at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainBatchConfig:
    """Pairs of one step."""

    pairs: int
    """Pairs a step, over all processes."""
    mini_batch_tokens: int = 8192
    """Tokens run through the encoder at once, padding included."""
    decode_tokens: int = 1024
    """Tokens to predict whose logits over the vocabulary exist at once."""
    pack: bool = True
    """Put the pairs of a mini-batch one behind the other in one row without padding, where none sees another. Such
    attention has no dropout: the kernel for it has none. False: a padded row for each pair."""
    workers: int = 0
    """Processes that make and mask batches in advance; 0 makes them between the steps. The batches are the same,
    whatever the number, and a run may go on with another."""

    def __post_init__(self) -> None:
        require(self.workers >= 0, "batch.workers", self.workers, "0 or more")
        for key in ("pairs", "decode_tokens"):
            require(getattr(self, key) >= 1, f"batch.{key}", getattr(self, key), "1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainValidationConfig:
    """What is measured on held-out repositories: both losses and accuracies of every exit."""

    every: int = 0
    """Steps between two validations; 0 validates at the end only."""
    pairs: int = 256
    """Pairs, the same at every validation."""

    def __post_init__(self) -> None:
        require(self.every >= 0, "validation.every", self.every, "0 or more")
        require(self.pairs >= 1, "validation.pairs", self.pairs, "1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRun(RunConfig):
    """Length, folder and devices of the run."""

    max_skipped: int = 10
    """Steps in a row that may be skipped, with a line in the log, because a loss or gradient is not finite or
    ``spike`` says so; one more ends the run."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes share the run. ddp: each holds the whole model. fsdp: each holds a part of weights,
    gradients and moments."""
    checkpoint_activations: bool = False
    """Keep of each block its input alone and compute the block again in the backward pass: a fraction of the memory,
    a third more computing."""
    compile: bool = False
    """Compile the blocks with ``torch.compile``: the first steps take minutes, the others less than before."""
    peak_tflops: float = 0.0
    """Peak of one device in bfloat16, for the MFU in the log (an A100 has 312, an H100 989); 0 leaves it out."""

    def __post_init__(self) -> None:
        super(PretrainRun, self).__post_init__()
        require(self.peak_tflops >= 0, "run.peak_tflops", self.peak_tflops, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """Everything about one pre-training run."""

    start: PretrainStart
    data: CorpusConfig
    batch: PretrainBatchConfig
    run: PretrainRun
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    loss: ExitsLossConfig = field(default_factory=ExitsLossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    validation: PretrainValidationConfig = field(default_factory=PretrainValidationConfig)

    def __post_init__(self) -> None:
        longest = self.objective.max_tokens
        require(self.batch.mini_batch_tokens >= longest, "batch.mini_batch_tokens", self.batch.mini_batch_tokens,
                f"objective.max_tokens {longest} or more")  # fmt: skip
