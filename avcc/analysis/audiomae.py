"""AudioMAE: a masked autoencoder on mel patches, whose features become semantic tokens.

After Huang et al. 2022 ("Masked Autoencoders that Listen"), much smaller and with patches that fit
the codec: a patch is one picture frame (two mel frames, 40 ms) by 16 of the 80 bands, so that five
patches stand side by side and their mean is one feature at 25 Hz.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import rotary
from avcc.stages import BANDS

ROWS = 5  # patches side by side in a frame
PATCH = 2 * BANDS // ROWS  # values in one


class Block(nn.Module):
    """Pre-norm transformer block with rotary positions in seconds."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, seconds: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm1(x)), "b t (n h d) -> n b h t d", n=3, h=self.heads)
        y = F.scaled_dot_product_attention(rotary(q, seconds), rotary(k, seconds), v)
        x = x + self.out(rearrange(y, "b h t d -> b t (h d)"))
        return x + self.mlp(self.norm2(x))


def patches(mel: Tensor) -> Tensor:
    """Log-mel (B, 2 T, 80) -> patches (B, 5 T, 32), the five rows of a frame together."""
    return rearrange(mel, "b (t f) (r c) -> b (t r) (f c)", f=2, r=ROWS)


class AudioMAE(nn.Module):
    """Encoder: mel (B, 2 T, 80) -> features (B, T, width) at 25 Hz, from block ``layer``."""

    def __init__(self, width: int = 192, depth: int = 4, heads: int = 4, layer: int = 3) -> None:
        super().__init__()
        self.layer = layer
        self.entry = nn.Linear(PATCH, width)
        self.row = nn.Parameter(torch.randn(ROWS, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))

    def embed(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """All patches embedded, and their times in seconds (5 T,)."""
        x = self.entry(patches(mel))
        steps = x.shape[1] // ROWS
        x = x + self.row.repeat(steps, 1)
        return x, (torch.arange(steps, device=x.device) / 25).repeat_interleave(ROWS)

    def forward(self, mel: Tensor) -> Tensor:
        x, seconds = self.embed(mel)
        for block in self.blocks[: self.layer]:
            x = block(x, seconds)
        return rearrange(x, "b (t r) d -> b t r d", r=ROWS).mean(2)
