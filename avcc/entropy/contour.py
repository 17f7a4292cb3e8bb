"""The traversals of a part of the pitch, with one pitch a frame or two (docs/format.md)."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from avcc.entropy import glide
from avcc.entropy.primitive import Walk
from avcc.entropy.signed import escaped, signed
from avcc.entropy.tables import BOUNDS
from avcc.errors import FormatError

START = 64  # the mean that rows go by, for a part's first pitch


def pitch_walk(frames: int, given: np.ndarray | None) -> Walk[np.ndarray]:
    """Walk through the pitches int64 (frames,) of a part; ``None`` where they are to be read.

    Differences from frame to frame (the first from 0), by the rows that a coefficient of motion
    would have if it were alone. ``FormatError`` on values that can't be coded.
    """
    yield "pitch"
    if given is not None and given.shape != (frames,):
        raise FormatError(f"The pitch has {given.shape} values where {frames} are due.")
    wanted = None if given is None else given.tolist()
    out = np.zeros(frames, np.int64)
    mean, last = START, 0
    for t in range(frames):
        row = bisect_right(BOUNDS, mean) * 3 + 1
        wish = None if wanted is None else wanted[t] - last
        change = yield from signed("motion", row, wish)
        last += change
        out[t] = last
        mean += (16 * abs(change) - mean) >> 2
    return out


def finer_walk(frames: int, given: np.ndarray | None) -> Walk[np.ndarray]:
    """Walk through the pitches int64 (2 frames,) of a part, at the beginning of each frame and
    half-way to the next; ``None`` where they are to be read.

    The first as in ``pitch_walk``, then moves by the table ``glide`` (``glide.py``), after the two
    moves before. ``FormatError`` on values that can't be coded.
    """
    yield "pitch"
    if given is not None and given.shape != (2 * frames,):
        raise FormatError(f"The pitch has {given.shape} values where {2 * frames} are due.")
    wanted = None if given is None else given.tolist()
    out = np.zeros(2 * frames, np.int64)
    start = bisect_right(BOUNDS, START) * 3 + 1
    last = yield from signed("motion", start, None if wanted is None else wanted[0])
    out[0] = last
    move = before = still = 0
    for t in range(1, 2 * frames):
        row, turned = glide.row(move, before, still)
        wish = None if wanted is None else wanted[t] - last
        moved = yield from _glided(row, -wish if turned and wish is not None else wish)
        before, move = move, -moved if turned else moved
        still = 0 if move else still + 1
        last += move
        out[t] = last
    return out


def _glided(row: int, value: int | None) -> Walk[int]:
    """A move by a row of the table ``glide``."""
    if value is not None and abs(value) <= glide.NEAR:
        yield "glide", row, value + glide.NEAR
        return value
    symbol: int = yield "glide", row, None if value is None else glide.ESCAPED
    if symbol != glide.ESCAPED:
        return symbol - glide.NEAR
    return (yield from escaped(value, glide.NEAR + 1))
