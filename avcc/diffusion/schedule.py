"""How far a deterministic estimate is expected to be off, and the steps from noise to none."""

from __future__ import annotations

import numpy as np

# Standard deviations of (truth - estimate), near what ``python -m avcc.training measure`` finds on
# validation clips (AVDiff was trained with these): mel in normalised log-mel units by number of
# acoustic layers, motion in units of a coefficient's spread, for each frame of distance to the
# nearest frame that was sent.
MEL_OFF = np.array(
    [0.465, 0.363, 0.311, 0.282, 0.263, 0.248, 0.237, 0.229, 0.223, 0.218, 0.214, 0.211, 0.209],
    np.float32,
)
MEL_UNSENT = 1.0
MOTION_BETWEEN = 0.20
DRIVEN_OFF = 0.1  # of motion that follows from the voice: AVDiff is to leave it nearly as it is


def mel_off(layers: int, sent: bool) -> float:
    """Spread of the mel residual at a number of acoustic layers."""
    return float(MEL_OFF[min(layers, len(MEL_OFF) - 1)]) if sent else MEL_UNSENT


def between(motion: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sent coefficients with gaps -> a value for every frame, and how far off each may be.

    ``motion`` float32 (T, K) and quantiser ``step`` (K,), both in units of a coefficient's spread;
    NaN rows where nothing was sent: linear between sent frames, held before the first and after the
    last. Returns two float32 (T, K).
    """
    frames = np.arange(len(motion))
    sent = ~np.isnan(motion[:, 0])
    if not sent.any():
        return np.zeros_like(motion), np.ones_like(motion)
    known = frames[sent]
    full = np.stack([np.interp(frames, known, column[sent]) for column in motion.T], 1)
    after = np.searchsorted(known, frames)
    before = frames - known[np.maximum(after - 1, 0)]
    gap = np.minimum(np.abs(before), np.abs(known[np.minimum(after, len(known) - 1)] - frames))
    off = np.sqrt(np.square(step) / 12 + np.square(MOTION_BETWEEN * gap[:, None]))
    return full.astype(np.float32), np.clip(off, 0.02, 1).astype(np.float32)


def times(steps: int) -> np.ndarray:
    """Noise levels from 1 to 0, evenly spaced, float32 (steps + 1,)."""
    return np.linspace(1, 0, steps + 1, dtype=np.float32)
