"""One objective on several processes: replicated (DDP) or sharded (FSDP2)."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from mose.config import PretrainRun
from mose.train.device import choose_precision
from mose.train.distributed import World
from mose.train.pretrain.objective import PretrainingObjective


def distribute(objective: PretrainingObjective, run: PretrainRun, device: torch.device, world: World) -> nn.Module:
    """The module to call in place of the objective; its backward pass averages gradients over the processes.

    Sharding replaces the parameters by their parts, in place: a block is whole while it runs, embeddings, norms and
    heads during the whole forward and backward pass.
    """
    if world.size == 1:
        return objective
    if run.parallel == "ddp":
        on_gpu = device.type == "cuda"
        return DistributedDataParallel(objective, device_ids=[device] if on_gpu else None, gradient_as_bucket_view=True)
    policy = MixedPrecisionPolicy()
    if choose_precision(run.precision, device) == "bfloat16":  # as autocast has it, with half the traffic
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for block in objective.encoder.layers:
        fully_shard(block, mp_policy=policy)
    # Also after a forward pass: one that no backward pass follows must not leave whole parameters in the module.
    fully_shard(objective, reshard_after_forward=True)
    return objective


def gradients_stay(module: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[None]:
    """Leave out the averaging of a backward pass of replicas, unless it is the last of a step; sums are exact."""
    if isinstance(module, DistributedDataParallel) and not last:
        return module.no_sync()
    return contextlib.nullcontext()


def gather_state(module: nn.Module) -> dict[str, Tensor]:
    """The whole tensors of a module, sharded or not. Every process must call it."""
    return {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        for name, tensor in module.state_dict().items()
    }
