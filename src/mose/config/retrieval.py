"""Settings of retrieval fine-tuning: heads, data, batches, loss and validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from mose.config.run import OptimizerConfig, RunConfig, StartConfig, require_exit_weights
from mose.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsConfig:
    """Changes of the heads before and after training, and the share of exit 0."""

    add: Literal["keep", "linear", "mlp"] = "keep"
    """Heads to add where the start model has none: linear starts as the identity, mlp at random."""
    width: int | None = None
    """Leading outputs to keep of every head; None keeps all. Rotated heads lose little."""
    table_share: float | None = None
    """Share of exit 0 in the cosine at every other exit; None keeps the start model's."""
    fit: int = 0
    """Number of texts on which the heads are first fitted to the deepest exit by least squares; 0 fits none."""
    rotate: int = 0
    """Number of texts by whose vectors the heads are rotated at the end, so that the leading dimensions keep most
    variance; 0 rotates none."""

    def __post_init__(self) -> None:
        for key in ("fit", "rotate"):
            require(getattr(self, key) >= 0, f"heads.{key}", getattr(self, key), "0 or more")


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
    """Probability that the frequent identifiers of a code are renamed; None takes ``data.rename``."""
    hide_name: float | None = None
    """Probability that the defined name is replaced by a neutral one; None takes ``data.hide_name``."""
    describe: float | None = None
    """Probability that a code gets a comment of some words of its text; None takes ``data.describe``."""
    frame: float | None = None
    """Probability that a code is framed by the names of its file and folder; None takes ``data.frame``."""
    max_rows: int = 0
    """Keep at most this many rows, chosen by seed; 0 keeps all."""

    def __post_init__(self) -> None:
        require(self.weight > 0, f"weight of source {self.name}", self.weight, "above 0")
        require(self.max_rows >= 0, f"max_rows of source {self.name}", self.max_rows, "0 or more")
        for key in ("rename", "hide_name", "describe", "frame"):
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
    """Probability that the frequent identifiers of a code are renamed consistently (the paper's 0.3)."""
    hide_name: float = 0.5
    """Probability that the name of the function which the code defines is replaced by a neutral one."""
    skip_imports: float = 0.0
    """Probability that the lines of a code that only import are left out."""
    describe: float = 0.0
    """Probability that a code gets a comment of half the words of its text, as documented code has."""
    frame: float = 0.0
    """Probability that a code is framed by the names of its file and folder, as every chunk is in a search.
    A row names them in the field ``path`` or in a GitHub ``url``."""
    hard_negatives: int = 0
    """Hard negatives of each pair that are encoded with it, from the field ``negatives`` of its row."""
    cross_language: bool = True
    """Code to code: the two codes must be of different languages."""

    def __post_init__(self) -> None:
        require(len(self.sources) > 0, "data.sources", 0, "at least one source")
        names = [source.name for source in self.sources]
        repeated = {name for name in names if names.count(name) > 1}
        require(not repeated, "duplicate names in data.sources", sorted(repeated), "unique names")
        require(self.hard_negatives >= 0, "data.hard_negatives", self.hard_negatives, "0 or more")
        for key in ("rename", "hide_name", "skip_imports", "describe", "frame"):
            require(0 <= getattr(self, key) <= 1, f"data.{key}", getattr(self, key), "0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """How pairs become batches."""

    pairs: int
    """Pairs a step, over all processes."""
    mixed: bool = False
    """Draw a source for each pair instead of one for each batch."""
    neighbours: int = 1
    """Rows in a group of similar codes (at exit 0 of ``start.folder``) that come in one batch: cheap hard negatives.
    1 draws every row at random."""
    text_tokens: int = 48
    """Tokens of a text, longer ones are cut."""
    code_tokens: int = 128
    """Tokens of a code, longer ones are cut."""
    mini_batch_tokens: int = 8192
    """Padded tokens run through the encoder at once."""
    workers: int = 0
    """Processes that prepare and tokenise batches in advance; their number changes nothing in the batches. 0 prepares
    them between the steps: fast enough for a CPU, too slow for a GPU."""
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
    """Weight of each exit's contrastive term, shallowest first; None takes the model's (depth / layers, the paper)."""
    table_weight: float = 0.3
    """Weight of exit 0 if ``exit_weights`` is None and the model gives it weight 0, as its depth does."""
    scale_start: float = 10.0
    """Initial factor on the cosine similarities."""
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
    """Leave out the negatives that the start model's deepest exit ranks above the row's own code: among similar rows
    most of them answer the query, too. Costs one more forward pass."""
    widths: tuple[int, ...] = ()
    """Leading dimensions that get a contrastive term of their own at every exit."""
    width_weight: float = 1.0
    """Weight of each of those terms, relative to the full width."""
    queue: int = 0
    """Codes of earlier batches kept as extra negatives; 0 keeps none."""
    queue_momentum: float = 0.99
    """Share of the old weights in the slow copy that fills the queue; 0 queues the batch's own vectors, which is much
    worse at the rates of a short run (docs/log.md)."""

    def __post_init__(self) -> None:
        require_exit_weights(self.exit_weights)
        require(self.scale_limit >= self.scale_start > 0, "loss.scale_start", self.scale_start, "0 to limit")
        for key in ("table_weight", "distill_rows", "distill_vectors", "aligned", "width_weight"):
            require(getattr(self, key) >= 0, f"loss.{key}", getattr(self, key), "0 or more")
        require(self.queue >= 0, "loss.queue", self.queue, "0 or more")
        require(0 <= self.queue_momentum < 1, "loss.queue_momentum", self.queue_momentum, "0 to below 1")


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
    frame: bool = False
    """Text to code: frame each code by the names of its file and folder, as a search does."""
    max_queries: int = 0
    """Use at most this many queries; 0 uses all. Candidates are cut to their codes and no others."""

    def __post_init__(self) -> None:
        require(self.max_queries >= 0, f"max_queries of validation task {self.name}", self.max_queries, "0 or more")


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

    def __post_init__(self) -> None:
        require(self.every >= 0, "validation.every", self.every, "0 or more")
        for key in ("code_tokens", "text_tokens"):
            require(getattr(self, key) >= 8, f"validation.{key}", getattr(self, key), "8 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """Everything about one retrieval fine-tuning run."""

    moved_keys: ClassVar[Mapping[str, str]] = {
        "start.head": "heads.add",
        "start.head_width": "heads.width",
        "start.table_share": "heads.table_share",
        "run.fit_heads": "heads.fit",
        "run.rotate_heads": "heads.rotate",
        "data.place": "data.frame",
        "data.sources.place": "data.sources.frame",
        "validation.tasks.place": "validation.tasks.frame",
    }
    """Key of an older version -> its key now."""

    start: StartConfig
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    data: DataConfig
    batch: BatchConfig
    run: RunConfig
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
