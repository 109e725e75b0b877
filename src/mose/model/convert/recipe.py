"""What a conversion is asked for, and what it says afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mose.model.convert.distill_table import TableRecipe
from mose.model.settings import ModelSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRecipe:
    """Settings of a conversion."""

    exits: tuple[int, ...] | None = None
    """Depths at which embeddings may leave; blocks above the deepest are dropped. 0 adds a token table. None: those
    that the source's config lists, as the released ModularStarEncoders' does."""
    pooling: Literal["mean"] | None = None
    """"mean" also converts a BERT that pools on its first token, for further training; None refuses it."""
    max_tokens: int | None = None
    """If None, the value of the folder's ``sentence_bert_config.json``; all positions without that file."""
    split_identifiers: bool = False
    """Split identifiers into words before tokenisation, for a tokenizer of natural language."""
    table: TableRecipe = field(default_factory=TableRecipe)
    """How exit 0 is made."""
    table_share: float = 0.0
    """Share of exit 0 in the cosine at every other exit."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Keys of our config, put over what is found in the source; not asked of a probe."""
    key_map: Mapping[str, str] = field(default_factory=dict)
    """Foreign tensor name -> ours, where the patterns fail; "" leaves a tensor out. Not for BERT's family."""
    ignore_unknown: bool = False
    """Leave unknown tensors out instead of refusing the source. Not for BERT's family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertReport:
    """Settings of a converted model, and the tensors that it does not use."""

    settings: ModelSettings
    unused_tensors: tuple[str, ...]
    """Foreign tensors that the ladder does not need: poolers, word heads, blocks above the last exit."""
    guessed: tuple[str, ...] = ()
    """Settings that neither the source nor the recipe says."""
    notes: tuple[str, ...] = ()
    """What the user should know."""
