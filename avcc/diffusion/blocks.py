"""Blocks of AVDiff: adaLN-zero attention, itself and cross-modal, MLP, rotary positions in seconds.

After DiT (Peebles and Xie 2023); the modulation is one projection shared by all blocks of a branch
plus a table a block (PixArt-alpha, Chen et al. 2023), which saves a third of the parameters.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import rotary

SHIFTS = 9  # shift, scale, gate of self-attention, cross-modal attention and MLP


class Attention(nn.Module):
    """Multi-head attention of x (B, T, D) over y (B, S, D), positions in seconds."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, y: Tensor, seconds: Tensor) -> Tensor:
        q = rearrange(self.q(x), "b t (h d) -> b h t d", h=self.heads)
        k, v = rearrange(self.kv(y), "b t (n h d) -> n b h t d", n=2, h=self.heads)
        z = F.scaled_dot_product_attention(rotary(q, seconds), rotary(k, seconds), v)
        return self.out(rearrange(z, "b h t d -> b t (h d)"))


class BranchBlock(nn.Module):
    """Self-attention, then (in chosen blocks) attention over the other modality, then an MLP."""

    def __init__(self, width: int, heads: int, crossed: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.itself = Attention(width, heads)
        self.other = Attention(width, heads) if crossed else None
        self.other_norm = nn.LayerNorm(width) if crossed else None
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.table = nn.Parameter(torch.zeros(SHIFTS, width))

    def forward(self, x: Tensor, other: Tensor, shifts: Tensor, seconds: Tensor) -> Tensor:
        m = (shifts + self.table)[:, None].unbind(2)  # nine of (B, 1, D)
        y = self.norms[0](x) * (1 + m[1]) + m[0]
        x = x + m[2] * self.itself(y, y, seconds)
        if self.other is not None and self.other_norm is not None:
            y = self.norms[1](x) * (1 + m[4]) + m[3]
            x = x + m[5] * self.other(y, self.other_norm(other), seconds)
        y = self.norms[2](x) * (1 + m[7]) + m[6]
        return x + m[8] * self.mlp(y)


class NoiseLevel(nn.Module):
    """Noise levels of both modalities and a global condition -> modulation (B, 9, D)."""

    def __init__(self, width: int, condition: int, bands: int = 32) -> None:
        super().__init__()
        self.width = width
        rate = 2.0 ** torch.linspace(0, 8, bands)
        self.register_buffer("rate", rate, persistent=False)
        self.entry = nn.Linear(4 * bands + condition, width)
        self.exit = nn.Linear(width, SHIFTS * width)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)
        self.rate: Tensor

    def forward(self, own: Tensor, other: Tensor, condition: Tensor) -> Tensor:
        angle = torch.stack([own, other], 1)[..., None] * self.rate
        waves = torch.cat([angle.cos(), angle.sin()], -1).flatten(1)
        x = F.silu(self.entry(torch.cat([waves, condition], 1)))
        return self.exit(x).view(-1, SHIFTS, self.width)
