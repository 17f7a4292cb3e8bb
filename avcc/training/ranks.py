"""Several processes that train one network, as ``torchrun`` starts them; alone, nothing happens.

Every process makes batches of its own; gradients are averaged before each step of an optimiser, and
what learns without gradients (codebooks) is process 0's. Process 0 validates and writes.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import distributed as dist
from torch import nn


def join(device: str) -> str:
    """Meet the other processes, if there are any; the device of this one."""
    if "WORLD_SIZE" not in os.environ or not dist.is_available():
        return device
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def leave() -> None:
    """The end of it."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Which process this is."""
    return dist.get_rank() if _many() else 0


def shared(values: list[float], device: str) -> list[float]:
    """Process 0's numbers, in all of them."""
    if not _many():
        return values
    told = torch.tensor(values, dtype=torch.float64, device=device)
    dist.broadcast(told, 0)
    return told.tolist()


@torch.no_grad()
def share(net: nn.Module, parameters: bool = False) -> None:
    """Buffers, and ``parameters`` too if asked, become process 0's."""
    if not _many():
        return
    for tensor in [*net.buffers(), *(net.parameters() if parameters else ())]:
        dist.broadcast(tensor, 0)


@torch.no_grad()
def average_gradients(optim: torch.optim.Optimizer, *_: Any) -> None:
    """Before a step (``Optimizer.register_step_pre_hook``)."""
    if not _many():
        return
    for group in optim.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
