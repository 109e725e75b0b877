"""Codes of earlier batches as extra negatives (MoCo: He et al., 2020), with one queue per exit."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from mose.model.encoder import MoseModel


class NegativeQueue:
    """Vectors and keys of the newest codes.

    Args:
        model: Copied, if the queue is filled by a slow copy of it.
        size: Codes kept.
        momentum: Share of the slow copy's weights that stays at each step; 0 keeps no copy.
        num_keys: Keys of a pair.
        device: Where the vectors are.
    """

    def __init__(self, model: MoseModel, *, size: int, momentum: float, num_keys: int, device: torch.device) -> None:
        self._size = size
        self._momentum = momentum
        self._device = device
        self.slow = copy.deepcopy(model).requires_grad_(False) if momentum else None
        self.vectors: dict[int, Tensor] = {}
        self.keys = torch.empty(0, num_keys, dtype=torch.int64, device=device)

    def __len__(self) -> int:
        return len(self.keys)

    def push(self, codes: Mapping[int, Tensor], keys_NK: Tensor) -> None:
        """Add the newest codes and drop the oldest."""
        for exit_layer, rows_ND in codes.items():
            earlier = self.vectors.get(exit_layer, rows_ND[:0])
            self.vectors[exit_layer] = torch.cat([rows_ND, earlier])[: self._size]
        self.keys = torch.cat([keys_NK, self.keys])[: self._size]

    @torch.no_grad()
    def follow(self, model: MoseModel) -> None:
        """Move the slow copy towards the model, by one minus the momentum."""
        if self.slow is not None:
            for slow, fast in zip(self.slow.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 1 - self._momentum)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold."""
        tensors = {"queue_keys": self.keys} | {f"queue.{exit_layer}": rows for exit_layer, rows in self.vectors.items()}
        if self.slow is not None:
            tensors |= {f"slow.{name}": value for name, value in self.slow.state_dict().items()}
        return tensors

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``tensors`` returned."""
        self.keys = tensors["queue_keys"].to(self._device)
        self.vectors = {
            int(name.removeprefix("queue.")): rows.to(self._device)
            for name, rows in tensors.items()
            if name.startswith("queue.")
        }
        if self.slow is not None:
            stored = {n.removeprefix("slow."): rows for n, rows in tensors.items() if n.startswith("slow.")}
            self.slow.load_state_dict(stored)
