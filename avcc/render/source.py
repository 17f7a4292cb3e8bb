"""What a voice is made of before the mouth shapes it: pulses of the vocal folds, and noise.

The source of the source-filter model (Fant 1960), as harmonic-plus-noise vocoders have it: a train
of pulses holds every harmonic of the pitch alike, white noise holds everything else. Filters do the
rest (``render.voice``).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avcc.stages import SAMPLE_RATE

TOP = 7800.0  # Hz: harmonics end below half the sample rate, or they would fold back


def pulses(pitch: Tensor, hop: int = 320) -> Tensor:
    """Pitch (B, T) in Hz, of frames centred on samples ``hop j + hop / 2`` -> float32 (B, hop T) of
    unit power: cosines at all multiples of the pitch, in phase, the first one at its peak at first.
    """
    # phases of minutes need float64, which Apple's GPUs don't have
    known = pitch.cpu() if pitch.device.type == "mps" else pitch
    smooth = F.interpolate(
        known.clamp(min=1.0).log()[:, None].double(),
        scale_factor=hop,
        mode="linear",
        align_corners=False,
    )[:, 0].exp()
    turns = (smooth / SAMPLE_RATE).cumsum(1)
    half = torch.pi * (turns - turns.floor()).float()  # of the phase, so in 0..pi
    count = (TOP / smooth).floor().float()
    # cos(p) + ... + cos(n p) in closed form (Dirichlet's kernel); both its ends are n
    sine = half.sin()
    flat = sine < 1e-3
    kernel = ((2 * count + 1) * half).sin() / (2 * sine.masked_fill(flat, 1.0)) - 0.5
    kernel = torch.where(flat, count, kernel)
    return (kernel * (2 / count).sqrt()).to(pitch.device)


def minimum_phase(log_magnitude: Tensor) -> Tensor:
    """Log magnitudes (B, N / 2 + 1, T) -> the phases in radians of the filters that answer soonest.

    Oppenheim and Schafer, "Discrete-Time Signal Processing": the cepstrum folded to the right.
    """
    cepstrum = torch.fft.irfft(log_magnitude, dim=1)
    size = cepstrum.shape[1]
    fold = torch.zeros(size, device=cepstrum.device)
    fold[1 : size // 2] = 2
    fold[0] = fold[size // 2] = 1
    return torch.fft.rfft(cepstrum * fold[:, None], dim=1).imag
