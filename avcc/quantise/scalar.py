"""Uniform scalar quantisers of motion coefficients, face shape and voice code."""

from __future__ import annotations

import numpy as np

# Steps of the motion coefficients (units of analysis/motion.py); an orthonormal bank wants one
# step for all of them. Landmark error on validation clips: 0.9, 1.0, 1.2, 1.8 % of the eye distance.
STEPS = np.array([0.1, 0.2, 0.4, 0.8], np.float32)

# Shape vector: place (units of the side), ln size, coefficients (units of the face's size).
SHAPE_STEPS = np.array([1 / 256, 1 / 256, 1 / 64] + [0.15] * 24, np.float32)

VOICE_LEVELS = 8  # of each number of a voice code, evenly over -1..1
GAIN_STEP = 2.0  # dB, of a voice's level
GAIN_LEVELS = 32  # 0..31: -62 to 0 dB re full scale, RMS of active speech


def rounded(values: np.ndarray, step: np.ndarray | float) -> np.ndarray:
    """Nearest multiples of ``step`` as int64; NaN becomes 0."""
    return np.rint(np.nan_to_num(values) / step).astype(np.int64)
