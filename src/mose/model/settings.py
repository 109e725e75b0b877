"""Settings of a model: shapes, exits, pooling, heads, templates.

Plain Python, so that a checkpoint can be described and cut without torch; ``mose.model.transformers_config`` wraps it
for transformers. Values marked "guess" are open in the publications on ModularStarEncoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mose.errors import ConfigError, ModelError
from mose.json_reading import read_json
from mose.storage import recover
from mose.tokenizer import TokenizerSettings

_CHOICES = {
    "block": ("starcoder2", "bert", "llama"),
    "activation": ("gelu_tanh", "gelu", "silu"),
    "pooling": ("cls", "mean", "mask_sum"),
    "norm_rule": ("unit", "unit_ball"),
    "final_norm": ("last", "every", "none"),
    "head": ("none", "linear", "mlp"),
    "head_activation": ("leaky_relu", "gelu"),
    "padding_side": ("left", "right"),
}
_POSITIVE = ("vocab_size", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "max_positions",
             "max_tokens")  # fmt: skip

_LARGEST = {"num_layers": 1_000, "hidden_size": 1 << 17, "num_heads": 1 << 12, "num_kv_heads": 1 << 12}
"""Larger values mean a damaged file; loops and lists would grow with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The keys of a model folder's ``config.json``."""

    block: Literal["starcoder2", "bert", "llama"] = "starcoder2"
    """starcoder2: pre-norm, rotary positions. bert: post-norm, learned positions. llama: as starcoder2, with RMS norms
    and a gated MLP."""
    causal: bool = False
    """True if a token attends to itself and those before it alone, as in a decoder; else attention is bidirectional."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    """Inner width of the MLP."""
    num_layers: int
    """Number of blocks; 0 for the token table alone."""
    num_heads: int
    num_kv_heads: int
    """Key/value heads; each serves ``num_heads / num_kv_heads`` query heads."""
    max_positions: int
    """Longest sequence the model was made for; a hard limit with learned positions."""
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    """Base of the rotary positions (not in bert)."""
    activation: Literal["gelu_tanh", "gelu", "silu"] = "gelu_tanh"
    use_bias: bool = True
    """Biases in the attention and MLP matrices."""
    attention_dropout: float = 0.1
    residual_dropout: float = 0.1
    embedding_dropout: float = 0.1
    init_std: float = 0.02
    exits: tuple[int, ...]
    """Depths at which an embedding may leave, counted in executed blocks: the last block is always one of
    them, 0 is the token table."""
    exit_weights: tuple[float, ...] | None = None
    """Share of each exit in the training loss (alpha in the paper); exit / num_layers if null."""
    pooling: Literal["cls", "mean", "mask_sum"] = "cls"
    """cls: last real token (guess). mean: over real tokens. mask_sum: position "number of real tokens - 1"
    of the padded row, the precursor's literal rule, which a left-padded batch turns into another token."""
    norm_rule: Literal["unit", "unit_ball"] = "unit"
    """unit: length 1. unit_ball: divide only what is longer than 1 (the precursor's rule; guess for MoSE)."""
    final_norm: Literal["last", "every", "none"] = "last"
    """Where the final norm acts (not in bert): last block only, as released; every exit; nowhere, as in
    a model cut below its last block."""
    head: Literal["none", "linear", "mlp"] = "none"
    """Projection of the pooled vector, one for each exit above 0. mlp: Linear, activation, Linear."""
    head_activation: Literal["leaky_relu", "gelu"] = "leaky_relu"
    """Inside an mlp head (guess: the precursor's)."""
    head_width: int | None = None
    """Width of a head's output; ``hidden_size`` if null."""
    table_width: int | None = None
    """Width of exit 0; null without exit 0."""
    table_share: float = 0.0
    """Share of exit 0 in the cosine at every other exit, 0 up to, not including, 1 (not in the paper): such an
    embedding is what leaves the head and that of exit 0 as one vector, each as long as the root of its share."""
    max_tokens: int
    """Default length of a tokenised text, template included."""
    query_template: str
    code_template: str
    """Literal text and the markers {cls} {sep} {text} {language}."""
    cls_token: str
    sep_token: str
    pad_token: str
    mask_token: str | None = None
    """Special tokens as spelled in tokenizer.json."""
    padding_side: Literal["left", "right"] = "right"
    split_identifiers: bool = False
    """Put spaces between the words of an identifier before the sub-word tokenizer sees it (not in the paper)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exits", tuple(self.exits))
        if self.exit_weights is not None:
            object.__setattr__(self, "exit_weights", tuple(self.exit_weights))
        for name, allowed in _CHOICES.items():
            _require(name, getattr(self, name), getattr(self, name) in allowed, ", ".join(allowed))
        for name in (*_POSITIVE, "num_layers"):
            value, least = getattr(self, name), int(name in _POSITIVE)
            holds = type(value) is int and least <= value <= _LARGEST.get(name, 1 << 24)
            _require(name, value, holds, f"{least} to {_LARGEST.get(name, 1 << 24)}")
        for name in ("causal", "use_bias", "split_identifiers"):
            _require(name, getattr(self, name), type(getattr(self, name)) is bool, "true, false")
        for name in ("norm_eps", "rope_theta", "init_std", "table_share"):
            value = getattr(self, name)
            _require(name, value, type(value) in (int, float) and 0 <= value < 1e12, "a number, 0 or more")
        for name in ("attention_dropout", "residual_dropout", "embedding_dropout"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "0 up to, not including, 1")
        self._check_shapes()
        self._check_exits()
        self.tokenizer_settings()

    def _check_shapes(self) -> None:
        heads, kv_heads = self.num_heads, self.num_kv_heads
        _require("num_heads", heads, self.hidden_size % heads == 0, f"a divisor of hidden_size {self.hidden_size}")
        _require("num_kv_heads", kv_heads, heads % kv_heads == 0, f"a divisor of num_heads {heads}")
        if self.pre_norm:
            _require("head size", self.head_size, self.head_size % 2 == 0, "an even number, for rotary positions")
        _require("max_tokens", self.max_tokens, self.max_tokens <= self.max_positions,
                 f"at most max_positions {self.max_positions}")  # fmt: skip
        for name in ("head_width", "table_width"):
            value = getattr(self, name)
            holds = value is None or (type(value) is int and 1 <= value <= _LARGEST["hidden_size"])
            _require(name, value, holds, "1 or more, or null")

    def _check_exits(self) -> None:
        _require("exits", list(self.exits), all(type(depth) is int for depth in self.exits), "whole numbers")
        in_order = list(self.exits) == sorted(set(self.exits)) and len(self.exits) > 0
        in_range = in_order and self.exits[0] >= 0 and self.exits[-1] == self.num_layers
        allowed = f"different depths, shallowest first, the last one num_layers {self.num_layers}"
        _require("exits", list(self.exits), in_range, allowed)
        share = self.table_share
        _require("table_share", share, 0 <= share < 1, "0 up to, not including, 1")
        _require("table_share", share, share == 0 or (0 in self.exits and self.norm_rule == "unit"),
                 "0 without exit 0 or with another norm_rule than unit")  # fmt: skip
        agrees = (self.table_width is not None) == (0 in self.exits)
        _require("table_width", self.table_width, agrees, "a number with exit 0, null without")
        weights = self.exit_weights
        holds = weights is None or (len(weights) == len(self.exits) and all(weight >= 0 for weight in weights))
        _require("exit_weights", weights, holds, f"null, or {len(self.exits)} numbers from 0, one for each exit")

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def pre_norm(self) -> bool:
        """True if blocks norm their input, with rotary positions and a final norm; False for BERT's."""
        return self.block != "bert"

    @property
    def weight_of(self) -> dict[int, float]:
        """Share of each exit in the training loss: ``alpha_i = i / L`` (the paper) unless configured."""
        weights = self.exit_weights or [exit_layer / max(1, self.num_layers) for exit_layer in self.exits]
        return dict(zip(self.exits, weights, strict=True))

    @property
    def own_width(self) -> int:
        """Width of an exit above 0, without the part of exit 0."""
        return self.hidden_size if self.head == "none" else self.head_width or self.hidden_size

    def width_of(self, exit_layer: int) -> int:
        """Width of the embedding that leaves at an exit."""
        table_width = self.table_width or 0
        if exit_layer == 0:
            return table_width
        return self.own_width + (table_width if self.table_share else 0)

    def reads_words(self, exits: Iterable[int]) -> bool:
        """True if one of the exits reads the words of a text: exit 0, and all others with a share of it."""
        return any(exit_layer == 0 or self.table_share > 0 for exit_layer in exits)

    def norm_at(self, exit_layer: int) -> bool:
        """True if the final norm acts on the hidden states that leave at an exit."""
        if not self.pre_norm or self.final_norm == "none" or exit_layer == 0:
            return False
        return self.final_norm == "every" or exit_layer == self.num_layers

    def tokenizer_settings(self) -> TokenizerSettings:
        """Settings of the tokenizer."""
        return TokenizerSettings.read(dataclasses.asdict(self), where="the config")

    def to_json(self) -> dict[str, Any]:
        """The keys as ``config.json`` holds them."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def check_exit(self, exit_layer: int, *, where: str = "The model") -> None:
        """Raise `ModelError`, which names the existing exits, unless the model has this one."""
        if exit_layer in self.exits:
            return
        names = [f"--exit {other}" for other in self.exits]
        use = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
        deepest = self.exits[-1]
        if exit_layer > deepest:
            raise ModelError(
                f"{where} has no weights for exit {exit_layer}.",
                remedy=f"It was cut after exit {deepest}. Use {use}, or load the uncut checkpoint.",
            )
        raise ModelError(f"{where} has no exit {exit_layer}.", remedy=f"Use {use}.")

    def wanted_exits(self, exits: Sequence[int] | None, last_exit: int | None) -> tuple[int, ...]:
        """The exits asked for, shallowest first: ``exits``, or all, up to ``last_exit``.

        Raises:
            ModelError: The model has no such exit.
        """
        wanted = self.exits if exits is None else tuple(sorted(set(exits)))
        for exit_layer in (*wanted, *(() if last_exit is None else (last_exit,))):
            self.check_exit(exit_layer)
        return tuple(exit_layer for exit_layer in wanted if last_exit is None or exit_layer <= last_exit)

    def cut_after(self, exit_layer: int, *, where: str = "The model") -> ModelSettings:
        """Settings of the model without the blocks above an exit; the rest computes the same bit for bit.

        Raises:
            ModelError: The model has no such exit.
        """
        self.check_exit(exit_layer, where=where)
        if exit_layer == self.num_layers:
            return self
        exits = tuple(other for other in self.exits if other <= exit_layer)
        return dataclasses.replace(
            self,
            num_layers=exit_layer,
            exits=exits,
            exit_weights=tuple(self.weight_of[other] for other in exits),
            final_norm="none" if self.final_norm == "last" else self.final_norm,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, where: str = "the config") -> ModelSettings:
        """Settings from the keys of ``config.json``.

        Raises:
            ConfigError: A key is unknown, missing, or contradicts another.
        """
        names = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise ConfigError(f"unknown key in {where}", got=", ".join(unknown), allowed=", ".join(names))
        required = [name for name, field in names.items() if field.default is dataclasses.MISSING]
        missing = [name for name in required if name not in values]
        if missing:
            raise ConfigError(f"{where} has no {', '.join(missing)}", remedy="Add what is missing.")
        for name, value in values.items():
            if "tuple" in str(names[name].type) and value is not None and not isinstance(value, list | tuple):
                raise ConfigError(f"{name} of {where}", got=value, allowed="a list of numbers")
        try:
            return cls(**values)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{where} has a value of the wrong kind ({error})", remedy="Correct the value."
            ) from error

    @classmethod
    def read(cls, folder: str | Path) -> ModelSettings:
        """Settings of a model folder.

        Raises:
            ModelError: No such folder, or no model in it.
            ConfigError: A key is unknown, missing, or contradicts another.
        """
        recover(Path(folder))
        file = Path(folder) / "config.json"
        if not file.is_file():
            raise ModelError(
                f"{folder} is not a model folder: it has no config.json",
                remedy="Name a folder that `mose new`, `mose convert` or a training wrote.",
            )
        try:
            values = read_json(file)
        except (OSError, ValueError) as error:
            raise ModelError(f"{file} is damaged ({error})", remedy="Copy or make the folder again.") from error
        if not isinstance(values, dict) or values.get("model_type") != "mose":
            found = values.get("model_type") if isinstance(values, dict) else None
            raise ModelError(f"{file} is not a MoSE model's: model_type", got=found, allowed="mose",
                             remedy="mose convert makes one from a folder of another library.")  # fmt: skip
        own = {name: value for name, value in values.items() if name not in FOREIGN_KEYS}
        return cls.from_json(own, where=str(file))


FOREIGN_KEYS = frozenset({"model_type", "architectures", "transformers_version", "dtype", "torch_dtype"})
"""Keys that transformers writes into ``config.json`` beside ours."""


def _require(name: str, got: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ConfigError(name, got="null" if got is None else got, allowed=allowed)
