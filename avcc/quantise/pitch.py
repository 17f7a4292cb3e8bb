"""Likelihoods of pitches -> the contour that is sent, and back to Hz."""

from __future__ import annotations

import numpy as np

from avcc.likeliest import likeliest
from avcc.stages import PITCH_LEAST, PITCH_MOST, PITCHES

MOVE = 1.5  # log likelihood that a move by d sixteenths of an octave has to earn: MOVE log2(1 + d)


def path(likely: np.ndarray) -> np.ndarray:
    """Log likelihoods float32 (T, 49) of ``PITCHES`` -> int64 (T,), sixteenths of an octave from
    120 Hz: the likeliest path when moves cost what they cost to code, about.

    Where nothing is voiced it stands still, which is nearly free.
    """
    places = np.arange(likely.shape[1])
    cost = MOVE * np.log2(1 + np.abs(places[:, None] - places))
    return likeliest(likely, cost.astype(np.float32)) + PITCH_LEAST


def hertz(codes: np.ndarray) -> np.ndarray:
    """The way back, float32 (T,); what no voice has is brought to ``PITCHES``."""
    return PITCHES[np.clip(codes, PITCH_LEAST, PITCH_MOST) - PITCH_LEAST].astype(np.float32)
