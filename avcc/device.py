"""Where networks run."""

from __future__ import annotations

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
