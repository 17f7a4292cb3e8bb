"""Where networks run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from avcc.errors import AvccError


def device_named(name: str) -> str:
    """``auto`` becomes the fastest device there is. Raises ``AvccError`` for one that is absent."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name.partition(":")[0]):
        raise AvccError(f"there is no device {name} here, or this torch can't use it")
    return name


def drawing(device: str) -> torch.dtype:
    """The numbers that pictures are drawn with: bfloat16 on CPUs that multiply them, at twice the
    speed of float32 (on others it is far slower); what is drawn differs by a level or two of 255.
    ``ATEN_CPU_CAPABILITY=avx2`` in the environment, which is PyTorch's, keeps to float32.
    """
    # not every PyTorch tells
    told: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    used = torch.backends.cpu.get_cpu_capability() == "AVX512"
    quick = device == "cpu" and used and told().get("avx512_bf16")
    return torch.bfloat16 if quick else torch.float32
