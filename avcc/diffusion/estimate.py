"""Estimator: decoded symbols -> the mean of what may have been said, where AVDiff starts from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import ConvNext, halve
from avcc.stages import BANDS, LATENT, PITCHES, TOKENS, VOICE

COMBS = 2 * len(PITCHES) - 1  # between two pitches that can be sent there is one more
AN_OCTAVE = 32  # of them


class Estimator(nn.Module):
    """Decoded symbols -> mel (B, 2 T, 80): the mean of what may have been said.

    ``semantic`` int64 (B, T) (``SILENT``, ``UNSENT`` allowed), ``acoustic`` float32 (B, T, 32)
    (zero where no layer was sent), ``voice`` float32 (B, 24), ``pitch`` float32 (B, 2 T) in Hz,
    NaN where none was sent. ``pitched``: whether it can make use of one; early models' can't.

    What a pitch makes of a mel, peaks and valleys at its harmonics, is looked up (``combs``); the
    network says how much of it there is in each band.
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
        self.comb: Comb | None = Comb(width) if pitched else None

    def forward(
        self, semantic: Tensor, acoustic: Tensor, voice: Tensor, pitch: Tensor | None = None
    ) -> Tensor:
        x = self.semantic(semantic) + self.acoustic(acoustic) + self.voice(voice)[:, None]
        comb = None if self.comb is None or pitch is None else self.comb(pitch)
        if self.comb is not None and comb is not None:
            x = x + self.comb.entry(comb)
        x = self.blocks(x.transpose(1, 2)).transpose(1, 2)
        x = self.norm(F.gelu(x))
        y = self.exit(x) + self.skip(acoustic)
        if self.comb is not None and comb is not None:
            y = y + self.comb.gate(x) * comb
        return y.reshape(y.shape[0], -1, BANDS)


class Comb(nn.Module):
    """Pitch (B, 2 T) in Hz, of mel frames -> its comb (B, T, 160): what pulses at that pitch look
    like in a mel, without their envelope. Zeros where it is NaN."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("combs", torch.zeros(COMBS, BANDS))
        self.combs: Tensor
        self.entry = nn.Linear(2 * BANDS, width, bias=False)
        self.gate = nn.Linear(width, 2 * BANDS)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, pitch: Tensor) -> Tensor:
        octaves = (pitch / float(PITCHES[0])).log2()
        which = (octaves * AN_OCTAVE).nan_to_num(0).round().long().clamp(0, COMBS - 1)
        return halve(self.combs[which] * ~pitch.isnan()[..., None])


def fitting(tensors: Mapping[str, Tensor]) -> Estimator:
    """An estimator that tensors named ``estimator.*`` fit, with or without pitch."""
    return Estimator(pitched="estimator.comb.combs" in tensors)
