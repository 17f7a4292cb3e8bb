"""Decoded voices disguised: another speaker, room and level that say the same."""

from __future__ import annotations

import numpy as np

from avcc.analysis.mel import SCALE, SILENCE
from avcc.stages import BANDS

KNOTS = np.linspace(0, BANDS - 1, 6)


def disguised(rng: np.random.Generator, mel: np.ndarray) -> np.ndarray:
    """Mel (T, 160) of another speaker, room and level: formants moved, coloured, at times with
    noise under it or without some bands."""
    x = mel.reshape(len(mel), 2, BANDS)
    at = np.arange(BANDS) * np.exp(0.12 * rng.normal()) + 0.5 * rng.normal()
    low = np.clip(at.astype(int), 0, BANDS - 2)
    part = np.clip(at - low, 0, 1).astype(np.float32)
    x = x[:, :, low] * (1 - part) + x[:, :, low + 1] * part
    x = x + _curve(0.15 * rng.normal(size=len(KNOTS)) + 0.1 * rng.normal())
    if rng.random() < 0.3:
        noise = _curve(rng.uniform(-1.6, -0.3) + 0.3 * rng.normal(size=len(KNOTS)))
        noise = noise + 0.2 * rng.normal(size=x.shape)
        x = np.logaddexp(SCALE * x, SCALE * noise) / SCALE
    x = np.maximum(x, SILENCE)
    if rng.random() < 0.5:
        first = rng.integers(0, BANDS - 10)
        x[:, :, first : first + rng.integers(2, 14)] = 0
    return x.reshape(mel.shape).astype(np.float32)


def _curve(knots: np.ndarray) -> np.ndarray:
    return np.interp(np.arange(BANDS), KNOTS, knots)
