"""Which source picture is on screen at each tick of 25 a second."""

from __future__ import annotations

import numpy as np

from avcc.stages import FRAME_RATE

EARLY = 0.0015  # seconds: a timestamp rounded to milliseconds may come this much late


def repeats_of(times: np.ndarray, duration: float) -> np.ndarray:
    """int64 (source frames,): how many frames at 25 a second show each; sums to the clip's count.

    ``times``: seconds from the first picture, never falling.
    """
    count = max(1, round(duration * FRAME_RATE))
    wanted = np.arange(count) / float(FRAME_RATE) + EARLY
    shown = np.searchsorted(times, wanted, side="right") - 1
    return np.bincount(np.maximum(shown, 0), minlength=len(times))
