"""Parameter groups with their learning rates, the schedule, and the optimizer's state as plain tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mose.config import OptimizerConfig


def learning_rate_share(step: float, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step (from 0), relative to the peak: linear up, then linear down to ``final_share``.

    With ``config.drops`` the rate stays at the peak instead, times ``drop_factor`` for each of them that is passed.

    Example:
        >>> rates = OptimizerConfig(warmup_share=0.25, final_share=0.0)
        >>> [round(learning_rate_share(step, 4, rates), 2) for step in range(4)]
        [1.0, 1.0, 0.67, 0.33]
        >>> dropping = OptimizerConfig(warmup_share=0.2, drops=(3, 4), drop_factor=0.5)
        >>> [learning_rate_share(step, 5, dropping) for step in range(5)]
        [1.0, 1.0, 1.0, 0.5, 0.25]
    """
    warmup = max(1, round(steps * config.warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    if config.drops:
        return config.drop_factor ** sum(step >= drop for drop in config.drops)
    left = (steps - step) / max(1, steps - warmup)
    return config.final_share + (1 - config.final_share) * max(0.0, min(1.0, left))


def peak_rate(name: str, config: OptimizerConfig, *, num_layers: int) -> float:
    """Peak learning rate of one parameter of the model (or of the similarity factor)."""
    parts = name.split(".")
    if parts[0] == "table":
        return config.table_rate
    if parts[0] in ("heads", "classifiers", "log_scale"):
        return config.head_rate
    if parts[0] == "embeddings" and config.embedding_rate is not None:
        return config.embedding_rate
    depth = int(parts[1]) + 1 if parts[0] == "layers" else (0 if parts[0] == "embeddings" else num_layers)
    return config.rate * config.layer_decay ** (num_layers - depth)


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig, *, num_layers: int
) -> torch.optim.AdamW:
    """AdamW over the parameters that are trained; weight decay applies to the matrices of blocks and heads only.

    Args:
        parameters: Name and parameter of what is trained.
        config: Rates and decay.
        num_layers: Blocks of the model.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        decays = parameter.ndim == 2 and name.startswith(("layers.", "heads.", "classifiers.", "pretraining_heads."))
        key = (peak_rate(name, config, num_layers=num_layers), config.weight_decay if decays else 0.0)
        groups.setdefault(key, []).append(parameter)
    settings: list[dict[str, Any]] = [
        {"params": members, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]
    return torch.optim.AdamW(settings, betas=config.betas, eps=config.eps)


def set_learning_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set every group's rate to ``share`` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments by parameter number and name, for safetensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{key}": torch.as_tensor(value).detach().cpu().contiguous()
        for number, values in state.items()
        for key, value in values.items()
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the moments that `optimizer_tensors` returned."""
    stored: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            stored.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": stored, "param_groups": optimizer.state_dict()["param_groups"]})
