"""Log-mel spectrogram: two frames of 80 bands a picture frame, 50 a second."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.stages import BANDS, SAMPLES_PER_FRAME

LEVEL = 10 ** (-26 / 20)  # RMS of active speech that every voice is brought to before analysis
HOP = 320  # samples: 20 ms at 16 kHz
WINDOW = 1024  # 64 ms: resolves the lower harmonics of a low voice, so that pitch survives
FLOOR = 1e-4  # magnitude below which everything is silence (about -80 dB of full scale speech)
MEAN, SCALE = -5.5, 2.0  # of natural log-mel over the training speech: roughly unit variance


def powers(wave: np.ndarray) -> np.ndarray:
    """Mean square of every whole picture frame of a voice, (T,).

    Some frames at a time: hours of a voice shall not stand in memory twice.
    """
    n = len(wave) // SAMPLES_PER_FRAME
    frames = wave[: n * SAMPLES_PER_FRAME].reshape(n, SAMPLES_PER_FRAME)
    parts = [np.square(frames[a : a + 1000]).mean(1) for a in range(0, n, 1000)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def active_level(wave: np.ndarray) -> float:
    """RMS of the loud part of a voice: frames within 25 dB of the 95th percentile."""
    return loud_level(powers(wave))


def loud_level(power: np.ndarray) -> float:
    """The same of a voice whose ``powers`` are known already."""
    if not len(power):
        return 0.0
    loud = power[power > np.quantile(power, 0.95) * 10**-2.5]
    return float(np.sqrt(loud.mean())) if loud.size else 0.0


def mel_bank(bins: int, low: float = 20.0, high: float = 8000.0) -> Tensor:
    """Slaney-style mel filters of unit area, float32 (bins, BANDS), for a spectrum of 16 kHz.

    Slaney, "Auditory Toolbox" (1998): linear below 1 kHz, logarithmic above. Written out because
    torchaudio's wheels are linked against CUDA and don't load beside a CPU build of torch.
    """
    knee, step = 1000.0, np.log(6.4) / 27

    def to_mel(hz: float) -> float:
        return hz * 3 / 200 if hz < knee else 15 + np.log(hz / knee) / step

    mels = np.linspace(to_mel(low), to_mel(high), BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, knee * np.exp(step * (mels - 15)))
    hz = np.linspace(0, 8000, bins)[:, None]
    rise = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0, np.minimum(rise, fall)) * 2 / (edges[2:] - edges[:-2])
    return torch.from_numpy(bank.astype(np.float32))


class LogMel(nn.Module):
    """Waveform (B, S) at 16 kHz, S a multiple of 320 -> normalised log-mel (B, S / 320, 80).

    Frame ``j`` is centred on sample ``320 j + 160``, so frames ``2 k`` and ``2 k + 1`` lie inside
    picture frame ``k``. Values are ``(ln(mel magnitude) - MEAN) / SCALE``; silence is ``SILENCE``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bank", mel_bank(WINDOW // 2 + 1), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.bank: Tensor
        self.window: Tensor

    def forward(self, wave: Tensor) -> Tensor:
        side = (WINDOW - HOP) // 2
        mode = "reflect" if wave.shape[-1] > side else "constant"
        padded = F.pad(wave[:, None], (side, side), mode=mode)[:, 0]
        spectrum = torch.stft(
            padded, WINDOW, HOP, window=self.window, center=False, return_complex=True
        ).abs()
        mel = spectrum.transpose(1, 2) @ self.bank
        return (mel.clamp(min=FLOOR).log() - MEAN) / SCALE


SILENCE = float((torch.tensor(FLOOR).log() - MEAN) / SCALE)
