"""What the picture networks are built of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip, with channel gains from the motion code if given."""

    def __init__(self, width: int, film: int = 0) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(film, 2 * width) if film else None
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        y = self.a(F.silu(x))
        if self.film is not None and code is not None:
            gain, shift = self.film(code)[:, :, None, None].chunk(2, 1)
            y = torch.addcmul(shift, y, 1 + gain)
        return plus(self.b(silu(y)), x)


def plus(x: Tensor, y: Tensor) -> Tensor:
    """x + y. In the place of x where nobody learns: on a CPU what is read and written takes nearly
    as long as the convolutions."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def silu(x: Tensor) -> Tensor:
    """SiLU of x, in its place where nobody learns."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def double(x: Tensor) -> Tensor:
    """Twice as large, (B, C, H, W) -> (B, C, 2 H, 2 W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
