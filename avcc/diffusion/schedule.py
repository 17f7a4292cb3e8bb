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
GAP = 6  # frames without motion, more than lie between sent ones: something was lost, or not sent
# Frames in which a face forgets where it was, and around a gap that say where it mostly is
# (docs/avdiff.md, "Damage").
FORGETS, AROUND = 25.0, 250
DRIVEN_OFF = 0.1  # of motion that follows from the voice: AVDiff is to leave it nearly as it is


def mel_off(layers: np.ndarray | int) -> np.ndarray:
    """Spread of the mel residual at a number of acoustic layers, float32 of the same shape."""
    return MEL_OFF[np.minimum(layers, len(MEL_OFF) - 1)]


def between(motion: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sent coefficients with gaps -> a value for every frame, and how far off each may be.

    ``motion`` float32 (T, K) and quantiser ``step``, (K,) or (T, K), both in units of a
    coefficient's spread; NaN rows where nothing was sent: linear between sent frames, held before
    the first and after the last, in gaps of more than ``GAP`` frames ``eased``. Returns two float32
    (T, K).
    """
    frames = np.arange(len(motion))
    sent = ~np.isnan(motion[:, 0])
    if not sent.any():
        return np.zeros_like(motion), np.ones_like(motion)
    known = frames[sent]
    full = np.stack([np.interp(frames, known, column[sent]) for column in motion.T], 1)
    for first, last in gaps(sent):
        full[first:last] = eased(motion, sent, first, last)
    after = np.searchsorted(known, frames)
    before = frames - known[np.maximum(after - 1, 0)]
    gap = np.minimum(np.abs(before), np.abs(known[np.minimum(after, len(known) - 1)] - frames))
    off = np.sqrt(np.square(step) / 12 + np.square(MOTION_BETWEEN * gap[:, None]))
    return full.astype(np.float32), np.clip(off, 0.02, 1).astype(np.float32)


def gaps(sent: np.ndarray) -> list[tuple[int, int]]:
    """Runs of more than ``GAP`` frames that aren't ``sent`` (bool (T,)): (first, behind the
    last)."""
    ends = np.flatnonzero(np.diff(np.concatenate([[1], sent, [1]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in ends.reshape(-1, 2) if b - a > GAP]


def eased(motion: np.ndarray, sent: np.ndarray, first: int, last: int) -> np.ndarray:
    """Motion (last - first, K) for a gap: from what was sent before it towards the mean of what was
    sent around, and on to what comes after it.

    The conditional mean of a stationary Gauss-Markov process whose correlation falls to 1 / e in
    ``FORGETS`` frames: heads and lips come back to where they mostly are.
    """
    near = slice(max(0, first - AROUND), last + AROUND)
    mean = motion[near][sent[near]].mean(0)
    after = (np.arange(first, last) - first + 1)[:, None] / FORGETS
    ahead = (last - np.arange(first, last))[:, None] / FORGETS
    if first == 0:
        return mean + (motion[last] - mean) * np.exp(-ahead)
    if last == len(motion):
        return mean + (motion[first - 1] - mean) * np.exp(-after)
    past, future = motion[first - 1] - mean, motion[last] - mean
    # sinh(a) / sinh(a + b), without its overflow in gaps of minutes
    from_past, from_future = (
        np.exp(-far) * np.expm1(-2 * left) / np.expm1(-2 * (left + far))
        for left, far in ((ahead, after), (after, ahead))
    )
    return mean + past * from_past + future * from_future


def times(steps: int) -> np.ndarray:
    """Noise levels from 1 to 0, evenly spaced, float32 (steps + 1,)."""
    return np.linspace(1, 0, steps + 1, dtype=np.float32)
