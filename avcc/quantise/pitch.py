"""Likelihoods of pitches -> the contour that is sent, and back to Hz."""

from __future__ import annotations

import numpy as np

from avcc.likeliest import likeliest
from avcc.stages import PITCH_LEAST, PITCH_MOST, PITCHES

MOVE = 1.0  # log likelihood that a move by a sixteenth of an octave has to earn


def path(likely: np.ndarray) -> np.ndarray:
    """Log likelihoods float32 (2 T, 49) of ``PITCHES`` -> int64 (2 T,), sixteenths of an octave
    from 120 Hz: the likeliest path when moves cost what they cost to code, about.

    Where nothing is voiced it stands still, which is nearly free.
    """
    places = np.arange(likely.shape[1])
    cost = MOVE * np.abs(places[:, None] - places)
    return likeliest(likely, cost.astype(np.float32)) + PITCH_LEAST


def hertz(codes: np.ndarray) -> np.ndarray:
    """The way back, float32 (T,); what no voice has is brought to ``PITCHES``."""
    return PITCHES[np.clip(codes, PITCH_LEAST, PITCH_MOST) - PITCH_LEAST].astype(np.float32)


def between(pitch: np.ndarray) -> np.ndarray:
    """Pitch (T,) in Hz at the beginning of every frame, NaN where unknown -> of all mel frames,
    float32 (2 T,): half-way, in octaves, to the next frame's where that is known."""
    after = np.append(pitch[1:], pitch[-1:])
    middle = np.sqrt(pitch * after)
    both = np.stack([pitch, np.where(np.isnan(middle), pitch, middle)], 1)
    return both.reshape(-1).astype(np.float32)


def sixteenths(pitch: np.ndarray) -> np.ndarray:
    """Pitch in Hz as it is sent, int64: the inverse of ``hertz``."""
    return np.rint(16 * np.log2(pitch / 120.0)).astype(np.int64)
