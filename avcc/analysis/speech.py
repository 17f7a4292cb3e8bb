"""Waveform -> speech features: level, mel, silence, AudioMAE features, acoustic latents, voice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avcc.analysis.audiomae import AudioMAE
from avcc.stages import SAMPLES_PER_FRAME

LEVEL = 10 ** (-26 / 20)  # RMS of active speech that every voice is brought to before analysis
QUIET = 10 ** (-61 / 20)  # a frame below this, 35 dB under the level of speech, is silence
WINDOW_FRAMES = 500  # 20 s: long voices are analysed in windows of this with overlap
OVERLAP = 25


def active_level(wave: np.ndarray) -> float:
    """RMS of the loud part of a voice: frames within 25 dB of the 95th percentile."""
    n = len(wave) // SAMPLES_PER_FRAME
    if n == 0:
        return 0.0
    power = np.square(wave[: n * SAMPLES_PER_FRAME].reshape(n, -1)).mean(1)
    loud = power[power > np.quantile(power, 0.95) * 10**-2.5]
    return float(np.sqrt(loud.mean())) if loud.size else 0.0


def silent_frames(wave: np.ndarray) -> np.ndarray:
    """Which frames of a voice at ``LEVEL`` are silence: float32 (640 T,) -> bool (T,).

    A frame beside a sounding one is never silence: onsets and decays are quiet but heard.
    """
    power = np.square(wave.reshape(-1, SAMPLES_PER_FRAME)).mean(1)
    sounds = power > QUIET**2
    near = sounds.copy()
    near[1:] |= sounds[:-1]
    near[:-1] |= sounds[1:]
    return ~near


def windows(frames: int) -> list[tuple[int, int, int, int]]:
    """Overlapping windows: (start, end, first kept, last kept) in frames."""
    out = []
    for a in range(0, frames, WINDOW_FRAMES - 2 * OVERLAP):
        start, end = max(0, a - OVERLAP), min(frames, a + WINDOW_FRAMES - OVERLAP)
        out.append((start, end, a, min(frames, a + WINDOW_FRAMES - 2 * OVERLAP)))
    return out


def mae_features(mel: Tensor, mae: AudioMAE) -> np.ndarray:
    """Mel (1, 2 T, 80) -> AudioMAE features float32 (T, D), in windows of bounded size."""
    frames = mel.shape[1] // 2
    parts = []
    for start, end, first, last in windows(frames):
        x = mae(mel[:, 2 * start : 2 * end])[0]
        parts.append(x[first - start : last - start].float().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def centred(features: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """Features without the mean of the sounding frames: much of the speaker goes with it."""
    sounding = features[~silent]
    return features - (sounding.mean(0) if len(sounding) else 0)
