"""Estimator: decoded symbols -> the mean of what may have been said, where AVDiff starts from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import ConvNext
from avcc.stages import BANDS, LATENT, PITCHES, TOKENS, VOICE


class Estimator(nn.Module):
    """Decoded symbols -> mel (B, 2 T, 80): the mean of what may have been said.

    ``semantic`` int64 (B, T) (``SILENT``, ``UNSENT`` allowed), ``acoustic`` float32 (B, T, 32)
    (zero where no layer was sent), ``voice`` float32 (B, 24), ``pitch`` float32 (B, T) in Hz, NaN
    where none was sent. ``pitched``: whether it can make use of one; those of early models can't.
    """

    def __init__(self, width: int = 256, depth: int = 6, pitched: bool = True) -> None:
        super().__init__()
        self.semantic = nn.Embedding(TOKENS + 2, width)
        self.acoustic = nn.Linear(LATENT, width)
        self.voice = nn.Linear(VOICE, width)
        self.blocks = nn.Sequential(*[ConvNext(width, depth) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, 2 * BANDS)
        self.skip = nn.Linear(LATENT, 2 * BANDS, bias=False)
        self.pitch = nn.Linear(len(PITCHES), width, bias=False) if pitched else None

    def forward(
        self, semantic: Tensor, acoustic: Tensor, voice: Tensor, pitch: Tensor | None = None
    ) -> Tensor:
        x = self.semantic(semantic) + self.acoustic(acoustic) + self.voice(voice)[:, None]
        if self.pitch is not None and pitch is not None:
            x = x + self.pitch(shares(pitch))
        x = self.blocks(x.transpose(1, 2)).transpose(1, 2)
        y = self.exit(self.norm(F.gelu(x))) + self.skip(acoustic)
        return y.reshape(y.shape[0], -1, BANDS)


def fitting(tensors: Mapping[str, Tensor]) -> Estimator:
    """An estimator that tensors named ``estimator.*`` fit, with or without pitch."""
    return Estimator(pitched="estimator.pitch.weight" in tensors)


def shares(pitch: Tensor) -> Tensor:
    """Pitch (B, T) in Hz -> how much of it each of ``PITCHES`` is, float32 (B, T, 49): one, or two
    neighbours; nothing where it is NaN."""
    octaves = torch.from_numpy(PITCHES).float().log2().to(pitch.device)
    away = (pitch.log2()[..., None] - octaves).abs() / (octaves[1] - octaves[0])
    return (1 - away).clamp(min=0).nan_to_num(0)
