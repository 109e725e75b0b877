"""Parameter groups with their learning rates, the schedule, and the state of the optimizers as plain tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mose.config import OptimizerConfig


def learning_rate_share(step: float, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step (from 0), relative to the peak: linear up, then linear down to ``final_share``.

    With ``config.decay_share`` below 1 the rate stays at the peak in between. With ``config.drops`` it stays there to
    the end, times ``drop_factor`` for each of them that is passed.

    Example:
        >>> rates = OptimizerConfig(warmup_share=0.25, final_share=0.0)
        >>> [round(learning_rate_share(step, 4, rates), 2) for step in range(4)]
        [1.0, 1.0, 0.67, 0.33]
        >>> stable = OptimizerConfig(warmup_share=0.2, decay_share=0.4, final_share=0.0)
        >>> [learning_rate_share(step, 5, stable) for step in range(5)]
        [1.0, 1.0, 1.0, 1.0, 0.5]
        >>> dropping = OptimizerConfig(warmup_share=0.2, drops=(3, 4), drop_factor=0.5)
        >>> [learning_rate_share(step, 5, dropping) for step in range(5)]
        [1.0, 1.0, 1.0, 0.5, 0.25]
    """
    warmup = max(1, round(steps * config.warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    if config.drops:
        return config.drop_factor ** sum(step >= drop for drop in config.drops)
    decay = max(1, min(steps - warmup, round(steps * config.decay_share)))
    left = (steps - step) / decay
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


class Optimizers:
    """One optimizer, or two that share the parameters, as one.

    Args:
        members: Each with a "peak" in its parameter groups.
    """

    def __init__(self, *members: torch.optim.Optimizer) -> None:
        self._members = members

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for member in self._members:
            member.zero_grad()

    def step(self) -> None:
        """Update the parameters."""
        for member in self._members:
            member.step()

    def set_rate(self, share: float) -> None:
        """Set every group's rate to ``share`` of its peak."""
        for member in self._members:
            for group in member.param_groups:
                group["lr"] = group["peak"] * share

    def begin(self) -> None:
        """Remember zeros for every parameter, as before the first step."""
        for member, parameter in self._numbered():
            if isinstance(member, torch.optim.AdamW):
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                member.state[parameter] = {"step": torch.tensor(0.0), **moments}
            else:
                member.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}

    def tensors(self) -> dict[str, Tensor]:
        """What the optimizers remember, by parameter number and name; the optimizers' own tensors."""
        return {
            f"optimizer.{number}.{key}": torch.as_tensor(value)
            for number, (member, parameter) in enumerate(self._numbered())
            for key, value in member.state[parameter].items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``tensors`` returned; other names are left alone."""
        for number, (member, parameter) in enumerate(self._numbered()):
            prefix = f"optimizer.{number}."
            stored = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            # Steps stay where AdamW counts them: on the CPU.
            member.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device) for key, value in stored.items()
            }

    def _numbered(self) -> Iterator[tuple[torch.optim.Optimizer, Tensor]]:
        """Parameters in a fixed order, each with its optimizer."""
        for member in self._members:
            for group in member.param_groups:
                for parameter in group["params"]:
                    yield member, parameter


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig, *, num_layers: int
) -> Optimizers:
    """AdamW, or Muon for the blocks' matrices; those of blocks and heads of all kinds decay, nothing else does.

    Args:
        parameters: Name and parameter of what is trained.
        config: Rates and decay.
        num_layers: Blocks of the model.
    """
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        decays = parameter.ndim == 2 and name.startswith(("layers.", "heads.", "classifiers.", "pretraining_heads."))
        by_muon = config.kind == "muon" and parameter.ndim == 2 and name.startswith("layers.")
        key = (by_muon, peak_rate(name, config, num_layers=num_layers), config.weight_decay if decays else 0.0)
        groups.setdefault(key, []).append(parameter)

    def settings(by_muon: bool) -> list[dict[str, Any]]:
        return [
            {"params": members, "lr": rate, "peak": rate, "weight_decay": decay}
            for (muon, rate, decay), members in groups.items()
            if muon == by_muon
        ]

    adamw = torch.optim.AdamW(settings(False), betas=config.betas, eps=config.eps)
    if not settings(True):
        return Optimizers(adamw)
    # The rates of AdamW serve: updates are scaled to the size that AdamW's have (Liu et al., 2025, section 2.2).
    return Optimizers(torch.optim.Muon(settings(True), adjust_lr_fn="match_rms_adamw"), adamw)
