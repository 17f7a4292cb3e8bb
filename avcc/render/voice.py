"""Vocoder: log-mel frames -> waveform, by two sources and a network that gives their filters.

In outline Vocos (Siuzdak 2023, "Vocos: Closing the gap between time-domain and Fourier-based neural
vocoders"): ConvNeXt blocks, never at the sample rate, and one overlap-add makes the waveform. But
where Vocos makes up the phase of every bin, which takes long adversarial training, here pulses at
the voice's pitch and noise are filtered (harmonic plus noise, as in neural source-filter models:
Wang et al. 2019; "Ultra-lightweight neural differential DSP vocoder", Agrawal et al. 2024): phases
are right from the start. Mel frames come every 20 ms; filters change every 10.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import ConvNext
from avcc.pitch import Pitch
from avcc.render.source import minimum_phase, pulses
from avcc.stages import BANDS

WINDOW, HOP = 640, 160
BINS = WINDOW // 2 + 1


class Filters(NamedTuple):
    """What shapes the sources, each float32 (B, 321, 2 T)."""

    pulses: Tensor  # log gain of the harmonics
    noise: Tensor  # log gain of the noise
    phase: Tensor  # of the harmonics, beside the least that their gain allows; radians


class Vocoder(nn.Module):
    """Normalised log-mel (B, T, 80) at 50 a second -> waveform (B, 320 T) at 16 kHz."""

    def __init__(self, width: int = 256, before: int = 1, after: int = 5) -> None:
        super().__init__()
        depth = before + after
        self.pitch = Pitch()
        self.entry = nn.Conv1d(BANDS, width, 7, padding=3)
        self.entry_norm = nn.LayerNorm(width)
        self.before = nn.Sequential(*[ConvNext(width, depth) for _ in range(before)])
        self.twice = nn.Conv1d(width, 2 * width, 3, padding=1)
        self.after = nn.Sequential(*[ConvNext(width, depth) for _ in range(after)])
        self.exit_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * BINS)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.window: Tensor

    def filters(self, mel: Tensor) -> Filters:
        """The filters of mel frames (B, T, 80)."""
        x = self.entry(mel.transpose(1, 2))
        x = self.entry_norm(x.transpose(1, 2)).transpose(1, 2)
        x = self.twice(self.before(x))
        b, c, t = x.shape
        x = x.view(b, c // 2, 2, t).transpose(2, 3).reshape(b, c // 2, 2 * t)
        x = self.head(self.exit_norm(self.after(x).transpose(1, 2)))
        gain, noise, phase = x.float().transpose(1, 2).chunk(3, dim=1)
        return Filters(gain.clamp(max=3.0), noise.clamp(max=3.0), phase)

    def forward(self, mel: Tensor, pitch: Tensor, noise: Tensor) -> Tensor:
        """``pitch`` (B, T) in Hz, of the mel frames; ``noise`` (B, 320 T), white, unit power."""
        return filtered(self.filters(mel), pitch, noise, self.window)


def filtered(filters: Filters, pitch: Tensor, noise: Tensor, window: Tensor) -> Tensor:
    """Pulses at ``pitch`` (B, T) Hz and ``noise`` (B, 320 T) filtered -> (B, 320 T)."""
    phase = minimum_phase(filters.pulses) + filters.phase
    # polar() of the exponential: phase needs no unwrapping, its gradient is smooth
    voiced = stft(pulses(pitch), window) * torch.polar(filters.pulses.exp(), phase)
    return inverse_stft(voiced + stft(noise, window) * filters.noise.exp(), window)


def stft(wave: Tensor, window: Tensor) -> Tensor:
    """Waveform (B, 160 T) -> complex frames (B, 321, T), centred on samples 160 j + 80."""
    edge = (WINDOW - HOP) // 2
    padded = F.pad(wave, (edge, edge))
    return torch.stft(padded, WINDOW, HOP, window=window, center=False, return_complex=True)


def inverse_stft(spectrum: Tensor, window: Tensor) -> Tensor:
    """Overlap-add of complex frames (B, 321, T), centred on samples 160 j + 80 -> (B, 160 T)."""
    frames = torch.fft.irfft(spectrum, WINDOW, dim=1) * window[:, None]
    length = (frames.shape[-1] - 1) * HOP + WINDOW
    envelope = window.square()[:, None].expand(-1, frames.shape[-1])[None]
    fold = {"output_size": (1, length), "kernel_size": (1, WINDOW), "stride": (1, HOP)}
    wave = F.fold(frames, **fold)[:, 0, 0]
    weight = F.fold(envelope, **fold)[:, 0, 0]
    edge = (WINDOW - HOP) // 2
    return (wave / weight.clamp(min=1e-3))[:, edge : length - edge]
