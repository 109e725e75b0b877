"""Known-good models: the paper's, one that a CPU can train, and a tiny one for tests and first steps."""

from __future__ import annotations

from typing import Any

from mose.errors import ConfigError
from mose.model.instructions import CODE_PROMPT, QUERY_PROMPT
from mose.model.settings import ModelSettings

_PAPER: dict[str, Any] = {
    "block": "starcoder2",
    "activation": "gelu_tanh",
    "norm_eps": 1e-5,
    "head": "mlp",
    "pooling": "cls",
    "code_template": "{sep}" + CODE_PROMPT + "{sep}{text}{cls}",
    "query_template": "{sep}" + QUERY_PROMPT + "{sep}{text}{cls}",
    # The spelling of the first three is a guess; the pad token is inferred from the released files.
    "cls_token": "<cls>",
    "sep_token": "<sep>",
    "mask_token": "<mask>",
    "pad_token": "<|endoftext|>",
    "padding_side": "left",
}
PRESETS: dict[str, dict[str, Any]] = {
    "1b": _PAPER
    | {
        "vocab_size": 49156,
        "hidden_size": 1024,
        "intermediate_size": 12288,
        "num_layers": 36,
        "num_heads": 16,
        "num_kv_heads": 4,
        "max_positions": 2048,
        "max_tokens": 2048,
        "rope_theta": 999999.4420358813,
        "init_std": 0.018042,
        "exits": (4, 9, 18, 27, 36),
    },
    "small": _PAPER
    | {
        "vocab_size": 49156,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_layers": 6,
        "num_heads": 6,
        "num_kv_heads": 2,
        "max_positions": 2048,
        "max_tokens": 512,
        "rope_theta": 999999.4420358813,
        "exits": (2, 3, 4, 6),
    },
    "tiny": _PAPER
    | {
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_layers": 4,
        "num_heads": 4,
        "num_kv_heads": 2,
        "max_positions": 128,
        "max_tokens": 128,
        "exits": (1, 2, 4),
    },
}
"""Keys of ``ModelSettings`` by preset."""


def preset(name: str, **changes: Any) -> ModelSettings:
    """Settings of a preset, with single keys changed.

    Raises:
        ConfigError: No such preset, or the changes contradict it.

    Example:
        >>> preset("1b").exits
        (4, 9, 18, 27, 36)
        >>> preset("tiny", pooling="mean").pooling
        'mean'
    """
    if name not in PRESETS:
        raise ConfigError("preset", got=name, allowed=", ".join(PRESETS))
    return ModelSettings.from_json({**PRESETS[name], **changes}, where=f"preset {name!r}")
