"""AVDiff: one diffusion transformer with an audio branch and a motion branch.

Both branches run at 25 tokens a second and line up one to one; chosen blocks attend across
(arXiv 2512.15262). A noise level per modality makes joint decoding, voice -> motion, motion ->
voice and in-painting one network (after UniDiffuser, Bao et al. 2023).

The network works on the *residual* from the deterministic estimate of the decoded symbols, in
units of how far that estimate is expected to be off (``schedule.py``): pure noise where nothing
was sent, almost nothing to do where much was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avcc.diffusion.blocks import BranchBlock, NoiseLevel
from avcc.stages import BANDS, MOTION, SHAPE, VOICE

MEL = 2 * BANDS  # two mel frames a token
CROSSED = (1, 3)


@dataclass(frozen=True)
class Condition:
    """What the decoded symbols say, for a batch of windows of T tokens.

    ``mel``: (B, T, 160) deterministic estimate; ``motion``: (B, T, 20) interpolated coefficients in
    units of their spread; ``mel_off`` (B, T, 1), ``motion_off`` (B, T, 20): how far off they are
    expected to be; ``voice``: (B, 24); ``shape``: (B, 24) shape of the key face.
    """

    mel: Tensor
    motion: Tensor
    mel_off: Tensor
    motion_off: Tensor
    voice: Tensor
    shape: Tensor


class AVDiff(nn.Module):
    """Velocity of the residuals of both modalities (rectified flow)."""

    def __init__(self, width: int = 128, depth: int = 4, heads: int = 4, cross: bool = True):
        super().__init__()
        self.cross = cross
        crossed = CROSSED if cross else ()
        self.mel_in = nn.Linear(2 * MEL + 1, width)
        self.motion_in = nn.Linear(3 * MOTION, width)
        self.mel_level = NoiseLevel(width, VOICE + SHAPE)
        self.motion_level = NoiseLevel(width, VOICE + SHAPE)
        self.mel_blocks = nn.ModuleList(
            BranchBlock(width, heads, i in crossed) for i in range(depth)
        )
        self.motion_blocks = nn.ModuleList(
            BranchBlock(width, heads, i in crossed) for i in range(depth)
        )
        self.mel_norm, self.motion_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mel_out, self.motion_out = nn.Linear(width, MEL), nn.Linear(width, MOTION)
        for last in (self.mel_out, self.motion_out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, mel: Tensor, motion: Tensor, mel_time: Tensor, motion_time: Tensor, c: Condition
    ) -> tuple[Tensor, Tensor]:
        """Residuals (B, T, 160), (B, T, 20) at noise levels (B,), 1 = noise -> velocities."""
        seconds = torch.arange(mel.shape[1], device=mel.device) / 25
        about = torch.cat([c.voice, c.shape], 1)
        mel_shift = self.mel_level(mel_time, motion_time, about)
        motion_shift = self.motion_level(motion_time, mel_time, about)
        a = self.mel_in(torch.cat([mel, c.mel, c.mel_off], -1))
        b = self.motion_in(torch.cat([motion, c.motion, c.motion_off], -1))
        for block_a, block_b in zip(self.mel_blocks, self.motion_blocks, strict=True):
            # both from the same depth, so that neither modality is one block ahead
            a, b = block_a(a, b, mel_shift, seconds), block_b(b, a, motion_shift, seconds)
        return self.mel_out(self.mel_norm(a)), self.motion_out(self.motion_norm(b))


def fitting(tensors: Mapping[str, Tensor]) -> AVDiff:
    """An AVDiff that tensors named ``avdiff.*`` fit, with or without cross-modal attention."""
    return AVDiff(cross=any(".other." in name for name in tensors))
