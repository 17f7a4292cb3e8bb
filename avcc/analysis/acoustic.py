"""What semantic tokens leave out: acoustic latents a frame and a voice code a file.

Trained together with the estimator that turns them back (``diffusion/estimate.py``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avcc.layers import ConvNext, halve
from avcc.stages import BANDS, LATENT, VOICE


class AcousticEncoder(nn.Module):
    """Mel (B, 2 T, 80) -> latents (B, T, 32).

    ``skip`` starts as principal components of mel, which are good latents before any learning; the
    network's part starts at nothing.
    """

    def __init__(self, width: int = 192, depth: int = 3) -> None:
        super().__init__()
        self.entry = nn.Conv1d(2 * BANDS, width, 3, padding=1)
        self.blocks = nn.Sequential(*[ConvNext(width, depth, 5) for _ in range(depth)])
        self.exit = nn.Linear(width, LATENT)
        self.skip = nn.Linear(2 * BANDS, LATENT, bias=False)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.blocks(self.entry(halve(mel).transpose(1, 2)))
        return self.exit(x.transpose(1, 2)) + self.skip(halve(mel))


class VoiceEncoder(nn.Module):
    """Mel (B, 2 T, 80) and which tokens sound (B, T) -> voice code (B, 24) in -1..1."""

    def __init__(self, width: int = 192, depth: int = 2) -> None:
        super().__init__()
        self.entry = nn.Conv1d(2 * BANDS, width, 3, padding=1)
        self.blocks = nn.Sequential(*[ConvNext(width, depth, 5) for _ in range(depth)])
        self.exit = nn.Linear(2 * width, VOICE)

    def forward(self, mel: Tensor, sounding: Tensor) -> Tensor:
        x = self.blocks(self.entry(halve(mel).transpose(1, 2)))
        weight = sounding.to(x.dtype)[:, None]
        total = weight.sum(-1).clamp(min=1)
        mean = (x * weight).sum(-1) / total
        spread = ((x - mean[..., None]).square() * weight).sum(-1) / total
        return torch.tanh(self.exit(torch.cat([mean, (spread + 1e-4).sqrt()], 1)))
