"""Speech-like sound made by formula: vowels of a voice with pitch, formants and pauses."""

from __future__ import annotations

import numpy as np

RATE = 16_000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))  # Hz


def vowels(seconds: float, pitch: float = 120.0, pause: tuple[float, float] = (0, 0)) -> np.ndarray:
    """float32 (samples,): vowels of a quarter of a second each; silent in ``pause`` (seconds)."""
    t = np.arange(round(seconds * RATE)) / RATE
    hertz = pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    which = (t / 0.25).astype(int) % len(VOWELS)
    out = np.zeros(len(t))
    for harmonic in range(1, 40):
        at = harmonic * hertz
        gain = np.zeros(len(t))
        for i, formants in enumerate(VOWELS):
            peaks = (np.exp(-np.square((at - f) / 120)) for f in formants)
            shape = sum(peak / (j + 1) for j, peak in enumerate(peaks))
            gain = np.where(which == i, shape, gain)
        out += gain * np.sin(harmonic * phase) * (at < 7000)
    out *= 0.6 + 0.4 * np.cos(2 * np.pi * 4 * t)
    out[(t >= pause[0]) & (t < pause[1])] = 0
    return (0.25 * out / np.abs(out).max()).astype(np.float32)
