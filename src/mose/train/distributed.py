"""Training in several processes: ranks, gathering rows with their gradients, averaging gradients.

Each process computes its own rows against the columns of all. The backward of ``gather`` sums the
gradients of all processes for a row, so the averaged gradient is exactly that of one process with all pairs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """This process's number and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True for the process that writes the log and the checkpoints."""
        return self.rank == 0


def join_world(device: torch.device) -> World:
    """The world that ``torchrun`` describes in the environment; a single process without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not distributed.is_initialized():
        # Numbers for the log and checkpoints travel between CPUs.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return World(rank=distributed.get_rank(), size=size)


def seed_step(seed: int, step: int, world: World) -> None:
    """Seed the dropout of one step by run, step and process, so that a resumed run repeats it."""
    torch.manual_seed((seed * 1_000_003 + step) * 1_009 + world.rank)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_BD: Tensor) -> Tensor:
        ctx.rows = len(rows_BD)
        parts = [torch.empty_like(rows_BD) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows_BD.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        first = distributed.get_rank() * ctx.rows
        return total[first : first + ctx.rows]


def gather(rows_BD: Tensor, world: World) -> Tensor:
    """Rows of all processes, by rank, with gradient; every process must pass the same number of rows.

    The backward sums over processes; ``average_gradients`` then divides by their number.
    """
    if world.size == 1:
        return rows_BD
    gathered: Tensor = _Gather.apply(rows_BD)  # type: ignore[no-untyped-call]
    return gathered


def average_gradients(trained: Sequence[Tensor], world: World) -> None:
    """Replace each gradient by its mean over the processes, in one message.

    Not DDP: a step has several backward passes, and ``gather`` communicates inside them (docs/log.md, 2026-11-26).
    """
    if world.size == 1:
        return
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world.size
    for gradient, mean in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def share_first(tensors: Iterable[Tensor], world: World) -> None:
    """Overwrite every process's tensors with those of the first."""
    if world.size == 1:
        return
    for tensor in tensors:
        distributed.broadcast(tensor.data, src=0)


def merge(values: dict[str, float], world: World) -> dict[str, float]:
    """The values of all processes together, on every process."""
    if world.size == 1:
        return values
    parts: list[dict[str, float]] = [{} for _ in range(world.size)]
    distributed.all_gather_object(parts, values)
    return {name: value for part in parts for name, value in part.items()}


def mean_of_all(values: Mapping[str, float], world: World) -> dict[str, float]:
    """Mean of each value over the processes, on every process; all must pass the same names."""
    if world.size == 1:
        return dict(values)
    sums = _sum(list(values.values()))
    return {name: total / world.size for name, total in zip(values, sums, strict=True)}


def any_of_all(flags: Sequence[bool], world: World) -> list[bool]:
    """Each flag, true on every process if it is true on any."""
    if world.size == 1:
        return list(flags)
    return [count > 0 for count in _sum(flags)]


def largest_of_all(count: int, world: World) -> int:
    """The largest count of any process, on every process."""
    if world.size == 1:
        return count
    largest = torch.tensor(count)
    distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    return int(largest)


def _sum(values: Sequence[float]) -> list[float]:
    total = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(total)
    found: list[float] = total.tolist()
    return found


def wait_for_all(world: World) -> None:
    """Wait until every process has called this."""
    if world.size > 1:
        distributed.barrier()


def leave_world(world: World) -> None:
    """Close the connection between processes."""
    if world.size > 1:
        distributed.destroy_process_group()
