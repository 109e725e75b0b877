"""The weight of each exit in a loss: alpha_i in the paper's ``L = sum of alpha_i L_i``."""

from __future__ import annotations

from collections.abc import Sequence

from mose.errors import ConfigError
from mose.model.settings import ModelSettings


def exit_weights(
    settings: ModelSettings, exits: Sequence[int], given: Sequence[float] | None, *, table_weight: float = 0.0
) -> dict[int, float]:
    """Weight of each exit's term: the config's, else the model's own (depth / layers unless its settings differ).

    Args:
        settings: The model's.
        exits: Exits that take part, shallowest first.
        given: ``loss.exit_weights``.
        table_weight: Weight of exit 0 if neither sets it.

    Raises:
        ConfigError: ``given`` has another number of weights.
    """
    if given is None:
        return {layer: settings.weight_of[layer] or (0.0 if layer else table_weight) for layer in exits}
    if len(given) != len(exits):
        allowed = f"{len(exits)} numbers, for exits {tuple(exits)}"
        raise ConfigError("loss.exit_weights", got=list(given), allowed=allowed)
    return dict(zip(exits, given, strict=True))
