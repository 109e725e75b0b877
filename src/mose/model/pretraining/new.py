"""An untrained model: settings and a tokenizer in, a model folder out."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mose.errors import ConfigError, ModelError, OutputError, require
from mose.model.checkpoint import save_model
from mose.model.convert.source import special_tokens
from mose.model.encoder import MoseModel
from mose.model.presets import PRESETS, preset
from mose.model.settings import ModelSettings
from mose.model.transformers_config import MoseConfig
from mose.tokenizer import CodeTokenizer

_TOKENS = ("cls_token", "sep_token", "mask_token", "pad_token")
_TOKEN_FILES = ("special_tokens_map.json", "tokenizer_config.json", "mose.json", "config.json")
"""Files beside a tokenizer.json that may spell its special tokens; later ones win."""


def new_model(
    settings: str | Path,
    out: str | Path,
    tokenizer: str | Path,
    *,
    changes: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> ModelSettings:
    """Write the folder of an untrained model; the same seed gives the same weights.

    The special tokens are named in the tokenizer's folder, else in the settings. A preset comes without
    projection heads: pre-training does not train them, and fine-tuning adds them (``heads.add``).

    Args:
        settings: Name of a preset, or a TOML file with the keys of ``config.json``.
        out: The folder; it must not exist.
        tokenizer: Folder with ``tokenizer.json``.
        changes: Keys that replace those of the settings.
        seed: Fixes the weights.

    Returns:
        The model's settings.

    Raises:
        OutputError: ``out`` exists.
        ConfigError: No such preset or file, the settings contradict each other, or the tokenizer is too large.
        ModelError: The tokenizer is missing or damaged, or lacks the special tokens.
    """
    require(0 <= seed < 2**32, "seed", seed, "0 to 4294967295")
    out, tokenizer = Path(out), Path(tokenizer)
    if os.path.lexists(out):
        raise OutputError(f"{out} exists", remedy="Name a new folder, or delete this one first.")
    if not (tokenizer / "tokenizer.json").is_file():
        raise ModelError(f"{tokenizer} has no tokenizer.json", remedy="Name the folder of a model, or of a tokenizer.")
    named = special_tokens(tokenizer, _TOKEN_FILES)
    tokens = {key: named[key] for key in _TOKENS if key in named}
    found = read_settings(settings, tokens | dict(changes or {}))
    num_tokens = CodeTokenizer.build(tokenizer / "tokenizer.json", found.tokenizer_settings()).vocab_size
    if num_tokens > found.vocab_size:
        raise ConfigError(
            f"vocab_size of {settings} is too small for {tokenizer / 'tokenizer.json'}", got=found.vocab_size,
            allowed=f"{num_tokens:,} (the tokenizer's) or more", remedy=f"Pass --set vocab_size={num_tokens}.",
        )  # fmt: skip
    torch.manual_seed(seed)
    model = MoseModel(MoseConfig.from_settings(found))
    exits = ", ".join(map(str, found.exits))
    card = f"# Ladder of exits {exits}, not trained\n\nMade by `mose new` from {settings}, seed {seed}.\n"
    save_model(model, out, companions=tokenizer, card=card)
    return found


def read_settings(source: str | Path, changes: Mapping[str, Any]) -> ModelSettings:
    """Settings of a preset without heads, or of a TOML file, with single keys changed.

    Raises:
        ConfigError: No such preset or file, or the settings contradict each other.

    Example:
        >>> read_settings("tiny", {"vocab_size": 1000}).vocab_size
        1000
    """
    if str(source) in PRESETS:
        return preset(str(source), **{"head": "none", **changes})
    file = Path(source)
    if not file.is_file():
        raise ConfigError("preset", got=str(source), allowed=f"{', '.join(PRESETS)}, or a TOML file")
    try:
        values = tomllib.loads(file.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not TOML: {error}", remedy="Correct it, or name a preset.") from error
    return ModelSettings.from_json({**values, **changes}, where=str(file))
