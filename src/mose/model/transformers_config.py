"""The model's settings as a transformers configuration.

``ModelSettings`` owns the fields and their checks; this class lets transformers read and write them.
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from mose.model.presets import preset
from mose.model.settings import FOREIGN_KEYS, ModelSettings


class MoseConfig(PretrainedConfig):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """The keys of ``ModelSettings`` as attributes; unknown keys are refused.

    Lists stay lists here, as transformers expects of JSON values. ``settings`` is the checked, frozen view.

    Raises:
        ConfigError: A key is unknown, missing, or contradicts another.

    Example:
        >>> MoseConfig.preset("tiny").num_layers
        4
    """

    model_type = "mose"
    attribute_map = {  # noqa: RUF012  # transformers declares it so
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "num_key_value_heads": "num_kv_heads",
        "max_position_embeddings": "max_positions",
    }
    """Names by which other libraries look for our keys."""

    def __init__(self, **values: Any) -> None:
        # transformers asks for a default object when it compares configurations.
        own = {name: value for name, value in values.items() if name in ModelSettings.__slots__}
        settings = ModelSettings.from_json(own) if own else preset("tiny")
        theirs = {name: value for name, value in values.items() if name not in own}
        unknown = [name for name in theirs if name not in FOREIGN_KEYS and not _known_to_transformers(name)]
        if unknown:
            ModelSettings.from_json({**own, **{name: None for name in unknown}})
        for name, value in settings.to_json().items():
            setattr(self, name, value)
        super().__init__(**theirs)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> MoseConfig:
        """A known-good configuration ("1b" or "tiny"), with single keys changed."""
        return cls(**preset(name, **changes).to_json())

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> MoseConfig:
        """The configuration of checked settings."""
        return cls(**settings.to_json())

    @property
    def settings(self) -> ModelSettings:
        """The same keys, checked and frozen."""
        return ModelSettings.from_json({name: getattr(self, name) for name in ModelSettings.__slots__})


def _known_to_transformers(name: str) -> bool:
    return name.startswith("_") or name in {
        "attn_implementation", "name_or_path", "output_hidden_states", "output_attentions", "return_dict",
        "chunk_size_feed_forward", "is_encoder_decoder", "id2label", "label2id", "problem_type", "num_labels",
    }  # fmt: skip
