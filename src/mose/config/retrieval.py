"""Settings of one training run, as frozen dataclasses; ``mose.config.toml`` fills them from a file.

A sentence stands under each field. Contradictions are refused when the object is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from mose.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class StartConfig:
    """Where the weights come from and which of them stay as they are."""

    folder: str
    """Model folder to start from (``mose convert`` makes one)."""
    exits: tuple[int, ...] | None = None
    """Exits that the folder must have; None accepts whatever it has."""
    head: Literal["keep", "linear", "mlp"] = "keep"
    """Heads to add where the folder has none: linear starts as the identity, mlp at random."""
    head_width: int | None = None
    """Leading outputs that are kept of every head; None keeps all. Heads that were rotated lose little."""
    table_share: float | None = None
    """Share of exit 0 in the cosine at every other exit; None keeps the folder's."""
    freeze_embeddings: bool = True
    """Keep token and position embeddings (and the norm after them) unchanged."""
    freeze_layers: int = 0
    """Keep this many lowest blocks, and the heads of the exits at or below them, unchanged."""
    dropout: float = 0.0
    """Dropout in attention and after each sub-layer during training."""

    def __post_init__(self) -> None:
        require(self.freeze_layers >= 0, "start.freeze_layers", self.freeze_layers, "0 or more")
        require(0 <= self.dropout < 1, "start.dropout", self.dropout, "0 up to, not including, 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One file of pairs and the share of batches drawn from it."""

    name: str
    """Short name, shown in the log."""
    file: str
    """JSON lines, plain or .xz or .gz, relative to ``data.folder``: {query, code, language, group?}."""
    task: Literal["text-code", "code-code"] = "text-code"
    """Text to code takes each row; code to code takes two rows of one group."""
    weight: float = 1.0
    """Share of batches, relative to the other sources."""
    languages: tuple[str, ...] = ()
    """Keep rows of these languages only; empty keeps all."""
    kinds: tuple[str, ...] = ()
    """Keep rows whose field ``kind`` is one of these (``mose pairs mine`` writes it); empty keeps all."""
    query_field: str = "query"
    """Field that holds the text."""
    rename: float | None = None
    """Chance that the frequent identifiers of a code are renamed; None takes ``data.rename``."""
    hide_name: float | None = None
    """Chance that the defined name is replaced by a neutral one; None takes ``data.hide_name``."""
    describe: float | None = None
    """Chance that a code gets a comment of some words of its text; None takes ``data.describe``."""
    place: float | None = None
    """Chance that the names of its file and folder stand around a code; None takes ``data.place``."""
    max_rows: int = 0
    """Keep at most this many rows, chosen by seed; 0 keeps all."""

    def __post_init__(self) -> None:
        require(self.weight > 0, f"weight of source {self.name}", self.weight, "above 0")
        for key in ("rename", "hide_name", "describe", "place"):
            chance = getattr(self, key)
            require(chance is None or 0 <= chance <= 1, f"{key} of source {self.name}", chance, "0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Pairs to train on."""

    sources: tuple[SourceConfig, ...]
    """At least one source."""
    folder: str = "."
    """Folder that holds the files."""
    skip_missing: bool = False
    """Leave out sources whose file is absent, with a line in the log, instead of stopping."""
    rename: float = 0.3
    """Chance that the frequent identifiers of a code are renamed consistently (the paper's 0.3)."""
    hide_name: float = 0.5
    """Chance that the name of the function which the code defines is replaced by a neutral one."""
    skip_imports: float = 0.0
    """Chance that the lines of a code that only import are left out."""
    describe: float = 0.0
    """Chance that a code gets a comment of half the words of its text, as documented code has one."""
    place: float = 0.0
    """Chance that the names of its file and folder stand around a code, as around every chunk in a search.
    A row tells its place in the field ``path`` or in a GitHub ``url``."""
    hard_negatives: int = 0
    """Hard negatives of each pair that are encoded with it, from the field ``negatives`` of its row."""
    cross_language: bool = True
    """Code to code: the two codes must be of different languages."""

    def __post_init__(self) -> None:
        require(len(self.sources) > 0, "data.sources", 0, "at least one source")
        names = [source.name for source in self.sources]
        repeated = {name for name in names if names.count(name) > 1}
        require(not repeated, "data.sources with one name twice", sorted(repeated), "a name each")
        require(self.hard_negatives >= 0, "data.hard_negatives", self.hard_negatives, "0 or more")
        for key in ("rename", "hide_name", "skip_imports", "describe", "place"):
            require(0 <= getattr(self, key) <= 1, f"data.{key}", getattr(self, key), "0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """How pairs become batches."""

    pairs: int
    """Pairs a step, over all processes."""
    mixed: bool = False
    """Draw each pair's source anew instead of one source per batch."""
    neighbours: int = 1
    """Rows of a source that come together because their codes are alike at exit 0 of ``start.folder``: hard negatives
    at no cost. 1 draws every row at random."""
    text_tokens: int = 48
    """Tokens of a text, longer ones are cut."""
    code_tokens: int = 128
    """Tokens of a code, longer ones are cut."""
    mini_batch_tokens: int = 8192
    """Padded tokens run through the encoder at once."""
    workers: int = 0
    """Processes that make and tokenise batches ahead of the step, each with an order of its own through the data.
    0 makes them between the steps: enough for a CPU, a fraction of what a GPU takes."""
    gradient_cache: bool = False
    """Keep activations of one mini-batch only and run each forward pass twice (exact)."""

    def __post_init__(self) -> None:
        require(self.pairs >= 2, "batch.pairs", self.pairs, "2 or more")
        require(1 <= self.neighbours <= self.pairs, "batch.neighbours", self.neighbours, "1 to batch.pairs")
        require(self.workers >= 0, "batch.workers", self.workers, "0 or more")
        for key in ("text_tokens", "code_tokens"):
            require(getattr(self, key) >= 8, f"batch.{key}", getattr(self, key), "8 or more")
        longest = max(self.text_tokens, self.code_tokens)
        require(
            self.mini_batch_tokens >= longest,
            "batch.mini_batch_tokens",
            self.mini_batch_tokens,
            f"{longest} (the longest input) or more",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Terms of the multi-exit loss. A term with weight 0 is not computed."""

    exit_weights: tuple[float, ...] | None = None
    """Weight of each exit's contrastive term, shallowest first; None is depth / layers (the paper)."""
    table_weight: float = 0.3
    """Weight of exit 0 where ``exit_weights`` is None (depth 0 would give none)."""
    scale_start: float = 10.0
    """Factor on the cosine similarities at the start."""
    scale_limit: float = 30.0
    """Largest factor."""
    learn_scale: bool = True
    """Train the factor."""
    distill_rows: float = 0.0
    """Weight of the divergence of each exit's similarity rows from those of the deepest (detached)."""
    distill_vectors: float = 0.0
    """Weight of 1 - cosine between each exit's vectors and those of the deepest (detached)."""
    aligned: float = 0.0
    """Weight of contrastive terms between the query at one exit and the code at another."""
    mask_answers: bool = False
    """Leave out the negatives that the start model's deepest exit puts above the row's own code: among like rows most
    of them answer the query too. Costs one more forward pass."""
    widths: tuple[int, ...] = ()
    """Leading dimensions that get a contrastive term of their own at every exit."""
    width_weight: float = 1.0
    """Weight of each of those terms, relative to the full width."""
    queue: int = 0
    """Codes of earlier batches kept as extra negatives; 0 keeps none."""
    queue_momentum: float = 0.99
    """Share of the old weights in the slow copy that fills the queue; 0 queues the batch's own vectors, which did much
    harm at the rates of a short run (docs/log.md)."""

    def __post_init__(self) -> None:
        require(self.scale_limit >= self.scale_start > 0, "loss.scale_start", self.scale_start, "0 to limit")
        for key in ("table_weight", "distill_rows", "distill_vectors", "aligned", "width_weight"):
            require(getattr(self, key) >= 0, f"loss.{key}", getattr(self, key), "0 or more")
        require(self.queue >= 0, "loss.queue", self.queue, "0 or more")
        require(0 <= self.queue_momentum < 1, "loss.queue_momentum", self.queue_momentum, "0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its schedule: linear warm-up, then linear decay to ``final_share``."""

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
    clip: float = 1.0
    """Largest gradient norm."""

    def __post_init__(self) -> None:
        for key in ("rate", "head_rate", "table_rate", "eps", "clip", "layer_decay"):
            require(getattr(self, key) > 0, f"optimizer.{key}", getattr(self, key), "above 0")
        require(self.embedding_rate is None or self.embedding_rate > 0, "optimizer.embedding_rate",
                 self.embedding_rate, "above 0")  # fmt: skip
        for key in ("warmup_share", "final_share"):
            require(0 <= getattr(self, key) <= 1, f"optimizer.{key}", getattr(self, key), "0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationTask:
    """One retrieval task: each query's code among all codes of the file."""

    name: str
    """Short name, shown in the log."""
    file: str
    """Pairs, or queries with ``positive`` where ``codebase`` is given; relative to ``data.folder``."""
    task: Literal["text-code", "code-code"] = "text-code"
    """Text to code, or code to code within groups across languages."""
    codebase: str = ""
    """File of candidate codes with ids that ``positive`` points at."""
    languages: tuple[str, ...] = ()
    """Code to code: language of the query, then of the candidates. Else: rows kept; empty keeps all."""
    hide_name: bool = False
    """Replace the defined name in the codes."""
    place: bool = False
    """Text to code: the names of its file and folder stand around each code, as in a search."""
    max_queries: int = 0
    """Use at most this many queries; 0 uses all. Candidates are cut to their codes and no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig:
    """What is measured while training. Test files do not belong here."""

    tasks: tuple[ValidationTask, ...] = ()
    """Tasks; none skips validation."""
    every: int = 0
    """Steps between two validations; 0 validates at the end only."""
    code_tokens: int = 128
    """Tokens of a code."""
    text_tokens: int = 48
    """Tokens of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Length and place of the run."""

    folder: str
    """Folder for the log, the checkpoints and the finished model; a run found there is continued."""
    steps: int
    """Optimizer steps in all; an upper bound where ``minutes`` is set."""
    minutes: float = 0.0
    """Minutes of training after which the run ends, its schedule stretched to them: for a machine that is lent for a
    while. Not reproducible, and for one process. 0 counts steps alone."""
    seed: int = 0
    """Fixes batches, dropout and renaming."""
    checkpoint_minutes: float = 5.0
    """Time between two checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept, newest first."""
    log_every: int = 1
    """Steps between two lines of the log."""
    fit_heads: int = 0
    """Texts on which the heads are first fitted to the deepest exit by least squares; 0 fits none."""
    rotate_heads: int = 0
    """Texts on whose vectors the heads are turned at the end, so that leading dimensions tell most; 0: none."""
    threads: int = 0
    """Threads of torch; 0 leaves its default."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU if there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the encoder; weights and loss stay float32. Auto is bfloat16 on a GPU and float32 on a CPU;
    a CPU with AVX512-BF16 or AMX is several times faster in bfloat16."""

    def __post_init__(self) -> None:
        require(self.steps >= 1, "run.steps", self.steps, "1 or more")
        require(0 <= self.minutes < math.inf, "run.minutes", self.minutes, "0 or more")
        require(self.keep_checkpoints >= 1, "run.keep_checkpoints", self.keep_checkpoints, "1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """Everything about one retrieval fine-tuning run."""

    start: StartConfig
    data: DataConfig
    batch: BatchConfig
    run: RunConfig
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
