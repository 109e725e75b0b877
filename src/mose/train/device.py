"""Device and precision of training."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mose.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of this process; on a GPU, float32 products may use TF32.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("run.device", got=name, allowed="auto or cpu; torch sees no GPU")
        torch.backends.cuda.matmul.allow_tf32 = True
        local = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(local)
        return local
    return torch.device("cpu")


def choose_precision(precision: str, device: torch.device) -> str:
    """What ``run.precision`` means on a device.

    Example:
        >>> choose_precision("auto", torch.device("cpu"))
        'float32'
    """
    if precision == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return precision


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Run the encoder in ``run.precision``; weights, the result of pooling and the loss stay float32."""
    if choose_precision(precision, device) == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def attention_for_training(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Plain attention on a CPU: its backward pass takes a fraction of the fused one's time."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()


def emulates_bfloat16(capabilities: Mapping[str, object]) -> bool:
    """True if the processor only emulates bfloat16, at a fraction of float32's speed.

    Args:
        capabilities: As ``torch.cpu.get_capabilities()`` returns them; empty if unknown.

    Example:
        >>> emulates_bfloat16({"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False})
        True
    """
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return capabilities.get("architecture") == "x86_64" and not native
