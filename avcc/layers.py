"""Layers that several networks are built of, and how networks get their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.stages import BANDS


class ConvNext(nn.Module):
    """One block of Liu et al. 2022 in one dimension: depthwise 7, pointwise x 3, GELU, scale."""

    def __init__(self, width: int, depth: int, kernel: int = 7) -> None:
        super().__init__()
        self.mix = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1 / depth))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.mix(x).transpose(1, 2))
        return x + (self.scale * self.down(F.gelu(self.up(y)))).transpose(1, 2)


def rotary(x: Tensor, seconds: Tensor) -> Tensor:
    """Rotary position (Su et al. 2021) in seconds: x (B, H, T, D), seconds (T,) or (B, 1, T)."""
    half = x.shape[-1] // 2
    # periods from 0.25 s to 250 s
    rate = 2 * torch.pi / (0.25 * 1000 ** (torch.arange(half, device=x.device) / half))
    angle = seconds[..., None] * rate
    a, b = x.float().chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


def halve(mel: Tensor) -> Tensor:
    """Mel (B, 2 T, 80) -> both frames of a token side by side (B, T, 160)."""
    return mel.reshape(mel.shape[0], -1, 2 * BANDS)


_Net = TypeVar("_Net", bound=nn.Module)


def loaded(
    net: _Net,
    tensors: dict[str, Tensor],
    prefix: str,
    device: str,
    numbers: torch.dtype = torch.float32,
) -> _Net:
    """``net`` with the tensors whose names start with ``prefix``, for inference on ``device``;
    ``numbers``: what it holds and multiplies."""
    start = len(prefix)
    net.load_state_dict({k[start:]: v for k, v in tensors.items() if k.startswith(prefix)})
    return net.to(device, numbers).eval().requires_grad_(False)


def if_there(
    kind: Callable[[], _Net], tensors: dict[str, Tensor], prefix: str, device: str
) -> _Net | None:
    """``loaded``, of a network that not all models have."""
    if not any(name.startswith(prefix) for name in tensors):
        return None
    return loaded(kind(), tensors, prefix, device)
