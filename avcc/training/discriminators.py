"""Discriminators of the vocoder: periods of the waveform, and spectrograms at three resolutions.

After HiFi-GAN (Kong et al. 2020, multi-period) and UnivNet / EnCodec (multi-resolution), at half
and a quarter of their width: the generator here is small, and so is the compute.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = ((1024, 256), (512, 128), (256, 64))  # window, hop
# A voice has an RMS of 0.05. Beside the biases that layers begin with, and learn slowly, that is
# next to nothing: periods heard no difference in 2,000 steps (docs/training.md, after round 14).
LOUD = 10.0


class Period(nn.Module):
    """Waveform folded to (samples / period, period), convolved along time alone."""

    def __init__(self, period: int, width: int = 32) -> None:
        super().__init__()
        self.period = period
        sizes = [1, width, 2 * width, 4 * width, 8 * width]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv1d(a, b, 5, 3, 2)) for a, b in pairwise(sizes)
        )
        self.last = weight_norm(nn.Conv1d(sizes[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.pad(LOUD * x, (0, -x.shape[-1] % self.period))
        # every phase of the period as a signal of its own: a convolution in one dimension is many
        # times faster on a CPU than the same one in two
        x = (
            x.view(x.shape[0], -1, self.period)
            .transpose(1, 2)
            .reshape(-1, 1, x.shape[-1] // self.period)
        )
        return _through(self.layers, self.last, x)


class Resolution(nn.Module):
    """Complex spectrogram as two channels, convolved over time and frequency."""

    window: Tensor

    def __init__(self, window: int, hop: int, width: int = 16) -> None:
        super().__init__()
        self.size, self.hop = window, hop
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, width, (3, 9), (1, s), (1, 4)))
            for a, s in ((2, 1), (width, 2), (width, 2), (width, 2))
        )
        self.last = weight_norm(nn.Conv2d(width, 1, (3, 3), padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        z = torch.stft(x.float(), self.size, self.hop, window=self.window, return_complex=True)
        # square root compression: otherwise only the loudest partials are looked at
        z = z / z.abs().clamp(min=1e-4).sqrt()
        x = torch.view_as_real(z).permute(0, 3, 2, 1)  # B, 2, time, bins
        x = x.contiguous(memory_format=torch.channels_last)  # a third faster on CPUs
        return _through(self.layers, self.last, x)


def _through(layers: nn.ModuleList, last: nn.Module, x: Tensor) -> list[Tensor]:
    features = []
    for layer in layers:
        x = F.leaky_relu(layer(x), 0.1)
        features.append(x)
    return [*features, last(x)]


class VoiceJudges(nn.Module):
    """All of them: waveform (B, S) -> one list of feature maps a discriminator, score last."""

    def __init__(self) -> None:
        super().__init__()
        self.judges = nn.ModuleList(
            [Period(p) for p in PERIODS] + [Resolution(w, h) for w, h in RESOLUTIONS]
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        return [judge(x) for judge in self.judges]


def judge_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Hinge loss of the discriminators."""
    parts = [
        F.relu(1 - r[-1]).mean() + F.relu(1 + f[-1]).mean() for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(parts).mean()


def fooling_loss(fake: list[list[Tensor]]) -> Tensor:
    """What the generator pays for being found out."""
    return torch.stack([F.relu(1 - f[-1]).mean() for f in fake]).mean()


def matching_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Distance of inner feature maps, each relative to the real one's size."""
    parts = [
        (a - b).abs().mean() / a.abs().mean().clamp(min=1e-3)
        for r, f in zip(real, fake, strict=True)
        for a, b in zip([x.detach().float() for x in r[:-1]], f[:-1], strict=True)
    ]
    return torch.stack(parts).mean()
