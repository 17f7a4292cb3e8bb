"""Waveform and mel -> how likely each pitch is: its autocorrelation, and a network's opinion.

The autocorrelation is exact where the voice is clear, the network (``avcc.pitch``) knows octaves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from avcc.analysis.mel import HOP, LEVEL
from avcc.pitch import Pitch, place
from avcc.stages import PITCHES, SAMPLE_RATE

WINDOW = 800  # samples that are compared with later ones: 50 ms
SPECTRUM = 2048  # at least WINDOW and the longest lag
SHARP = 8.0  # log likelihood of a correlation of 1, the network's weight beside it
TRUST = 2.0
DOUBT = 0.02  # probability that a pitch keeps, however sure of others the network is
SOFT, LOUD = -40.0, -10.0  # dB re the level of speech: a pitch counts for nothing below, all above
BLOCK = 500  # mel frames correlated at a time


def likelihood(wave: Tensor, mel: Tensor, net: Pitch) -> np.ndarray:
    """A voice at ``LEVEL``, float32 (1, 640 T), and its mel (1, 2 T, 80) -> log likelihood of each
    of ``PITCHES`` at every mel frame, weighted by loudness: float32 (2 T, 49)."""
    at = place(torch.from_numpy(PITCHES).to(mel.device)).float()
    low = at.long()  # the highest of them is below the network's highest
    known = net(mel)[0]
    thought = torch.lerp(known[:, low], known[:, low + 1], at - low)
    thought = (thought.exp() + DOUBT).log()
    likely = (SHARP * periodicity(wave[0]) + TRUST * thought).log_softmax(-1)
    power = wave[0].view(-1, HOP).square().mean(1)
    loud = 10 * (power / LEVEL**2 + 1e-10).log10()
    likely = likely * ((loud - SOFT) / (LOUD - SOFT)).clamp(0, 1)[:, None]
    return likely.float().cpu().numpy()


def periodicity(wave: Tensor) -> Tensor:
    """Normalised correlation of a voice (320 T,) with itself, one period of each of ``PITCHES``
    later, around the middle of every mel frame: float32 (T, 49) in -1..1.

    As in RAPT (Talkin 1995): both stretches have their own energy.
    """
    lags = torch.from_numpy(SAMPLE_RATE / PITCHES).to(wave)
    low, longest = lags.long(), int(lags.max()) + 1
    count, length = len(wave) // HOP, WINDOW + longest
    edge = (length - HOP) // 2
    padded = pad(wave, (edge, length))
    out = []
    for a in range(0, count, BLOCK):
        frames = padded.unfold(0, length, HOP)[a : min(count, a + BLOCK)]
        frames = frames - frames.mean(1, keepdim=True)
        early = torch.fft.rfft(frames[:, :WINDOW], SPECTRUM)
        cross = torch.fft.irfft(early.conj() * torch.fft.rfft(frames, SPECTRUM), SPECTRUM)
        sums = pad(frames.square().cumsum(1), (1, 0))
        energy = sums[:, WINDOW:] - sums[:, : longest + 1]
        scale = (energy[:, :1] * energy).clamp(min=0).sqrt() + 1e-2  # quiet ones don't count
        all_lags = cross[:, : longest + 1] / scale
        out.append(torch.lerp(all_lags[:, low], all_lags[:, low + 1], lags - low))
    return torch.cat(out) if out else wave.new_zeros(0, len(PITCHES))
