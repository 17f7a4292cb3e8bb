"""Likelihoods of pitches -> the contour that is sent, and back to Hz."""

from __future__ import annotations

import numpy as np

from avcc.stages import PITCH_LEAST, PITCH_MOST, PITCHES

MOVE = 1.5  # log likelihood that a move by d sixteenths of an octave has to earn: MOVE log2(1 + d)


def path(likely: np.ndarray) -> np.ndarray:
    """Log likelihoods float32 (T, 49) of ``PITCHES`` -> int64 (T,), sixteenths of an octave from
    120 Hz: the likeliest path when moves cost what they cost to code, about.

    Viterbi (1967). Where nothing is voiced it stands still, which is nearly free.
    """
    count, size = likely.shape
    places = np.arange(size)
    cost = (MOVE * np.log2(1 + np.abs(places[:, None] - places))).astype(np.float32)
    back = np.zeros((count, size), np.uint8)
    best = np.zeros(size, np.float32)
    for t in range(count):
        reach = best - cost  # to the place of the row
        back[t] = reach.argmax(1)
        best = reach[places, back[t]] + likely[t]
        best -= best.max()  # of hours the sum would lose its decimals
    out = np.empty(count, np.int64)
    at = int(best.argmax())
    for t in range(count - 1, -1, -1):
        out[t] = at
        at = int(back[t, at])
    return out + PITCH_LEAST


def hertz(codes: np.ndarray) -> np.ndarray:
    """The way back, float32 (T,); what no voice has is brought to ``PITCHES``."""
    return PITCHES[np.clip(codes, PITCH_LEAST, PITCH_MOST) - PITCH_LEAST].astype(np.float32)
