"""Uniform scalar quantisers of motion coefficients, face shape, voice code and level."""

from __future__ import annotations

import math

import numpy as np

from avcc.stages import SHAPE

# Steps of the motion coefficients (units of analysis/motion.py); an orthonormal bank wants one
# step for all of them.
STEPS = np.array([0.1, 0.2, 0.4, 0.8], np.float32)

# Shape vector: place (units of the side), ln size, coefficients (units of the face's size).
SHAPE_STEPS = np.array([1 / 256, 1 / 256, 1 / 64] + [0.15] * SHAPE, np.float32)

VOICE_LEVELS = 8  # of each number of a voice code, evenly over -1..1
GAIN_STEP = 2.0  # dB, of a voice's level
GAIN_LEVELS = 32  # 0..31: -62 to 0 dB re full scale, RMS of active speech

HOLD = 0.65  # of a step: how far a value must move before its index follows


def rounded(values: np.ndarray, step: np.ndarray | float) -> np.ndarray:
    """Nearest multiples of ``step`` as int64; NaN becomes 0."""
    return np.rint(np.nan_to_num(values) / step).astype(np.int64)


def steady(values: np.ndarray, step: float) -> np.ndarray:
    """Values (T, K) in time order -> indices int64 (T, K) that ignore jitter.

    An index stays while the value is within ``HOLD`` steps of it. Face meshes tremble by a fraction
    of a step from frame to frame; following that costs bits and makes the picture tremble too.
    """
    scaled = np.nan_to_num(values) / step
    nearest = np.rint(scaled)
    out = nearest.copy()
    for t in range(1, len(out)):
        out[t] = np.where(np.abs(scaled[t] - out[t - 1]) <= HOLD, out[t - 1], nearest[t])
    return out.astype(np.int64)


def voice_levels(code: np.ndarray) -> np.ndarray:
    """Voice code in -1..1 -> int64 levels (finite scalar quantisation, Mentzer et al. 2023)."""
    scaled = (np.asarray(code) + 1) / 2 * (VOICE_LEVELS - 1)
    return np.clip(np.rint(scaled), 0, VOICE_LEVELS - 1).astype(np.int64)


def voice_values(levels: np.ndarray) -> np.ndarray:
    """The way back: levels -> float32 in -1..1; levels beyond the last count as the last."""
    kept = np.minimum(levels, VOICE_LEVELS - 1)
    return (kept / (VOICE_LEVELS - 1) * 2 - 1).astype(np.float32)


def gain_index(level: float) -> int:
    """RMS of active speech -> 0..31."""
    decibels = 20 * math.log10(max(level, 1e-6))
    return min(max(round(decibels / GAIN_STEP) + GAIN_LEVELS - 1, 0), GAIN_LEVELS - 1)


def gain_value(index: int) -> float:
    """The way back: 0..31 -> RMS of active speech."""
    return 10 ** ((min(index, GAIN_LEVELS - 1) - GAIN_LEVELS + 1) * GAIN_STEP / 20)
