"""Vocoder: log-mel frames -> waveform, by ConvNeXt blocks and an inverse STFT.

After Vocos (Siuzdak 2023, "Vocos: Closing the gap between time-domain and Fourier-based neural
vocoders"): the network never works at the sample rate, it gives magnitude and phase of every STFT
bin and one overlap-add makes the waveform. Mel frames come every 20 ms, which is coarse for phase,
so the network doubles them and runs at 100 frames a second.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import ConvNext
from avcc.stages import BANDS

WINDOW, HOP = 640, 160


class Vocoder(nn.Module):
    """Normalised log-mel (B, T, 80) at 50 a second -> waveform (B, 320 T) at 16 kHz."""

    def __init__(self, width: int = 256, before: int = 1, after: int = 5) -> None:
        super().__init__()
        depth = before + after
        self.entry = nn.Conv1d(BANDS, width, 7, padding=3)
        self.entry_norm = nn.LayerNorm(width)
        self.before = nn.Sequential(*[ConvNext(width, depth) for _ in range(before)])
        self.twice = nn.Conv1d(width, 2 * width, 3, padding=1)
        self.after = nn.Sequential(*[ConvNext(width, depth) for _ in range(after)])
        self.exit_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * (WINDOW // 2 + 1))
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.window: Tensor

    def spectrum(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Log magnitude and phase, each float32 (B, 321, 2 T)."""
        x = self.entry(mel.transpose(1, 2))
        x = self.entry_norm(x.transpose(1, 2)).transpose(1, 2)
        x = self.twice(self.before(x))
        b, c, t = x.shape
        x = x.view(b, c // 2, 2, t).transpose(2, 3).reshape(b, c // 2, 2 * t)
        x = self.head(self.exit_norm(self.after(x).transpose(1, 2)))
        log_magnitude, phase = x.float().transpose(1, 2).chunk(2, dim=1)
        return log_magnitude.clamp(max=5.0), phase

    def forward(self, mel: Tensor) -> Tensor:
        log_magnitude, phase = self.spectrum(mel)
        # polar() of the exponential: phase needs no unwrapping, its gradient is smooth
        return inverse_stft(torch.polar(log_magnitude.exp(), phase), self.window)


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
