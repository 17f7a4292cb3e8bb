"""Where another shot begins: a picture of one shot can't be drawn from a key frame of another."""

from __future__ import annotations

import numpy as np

LEAST = 16.0  # levels by which the pictures before and after a cut differ at least, on average
TIMES = 4.0  # and how often that is more than what happens around it
AROUND = 12  # frames before and after that it is compared with
SHORTEST = 5  # frames of a shot: what changes back sooner is a flash
_SIDE = 16  # of the small pictures that are compared


def small(picture: np.ndarray) -> np.ndarray:
    """uint8 (256, 256, 3) -> float32 (16, 16, 3), means of its squares."""
    each = picture.shape[0] // _SIDE
    # whole rows first, and in small integers: a tenth of the time of a mean over both
    rows = picture.reshape(_SIDE, each, -1).sum(1, dtype=np.uint16)
    sums = rows.reshape(_SIDE, _SIDE, each, 3).sum(2, dtype=np.uint32)
    return sums.astype(np.float32) / each**2


def cuts(changes: np.ndarray) -> tuple[int, ...]:
    """Mean distance of each frame's small picture from the one before (N,) -> the first frames of
    all shots but the first, rising."""
    found: list[int] = []
    for t in map(int, np.flatnonzero(changes > LEAST)):
        before, after = changes[max(1, t - AROUND) : t], changes[t + 1 : t + 1 + AROUND]
        others = np.concatenate([before, after])
        if t and changes[t] > TIMES * (np.median(others) if len(others) else 0):
            found.append(t)
    out: list[int] = []
    for t in found:
        if out and t - out[-1] < SHORTEST:
            out.pop()
        else:
            out.append(t)
    return tuple(out)
