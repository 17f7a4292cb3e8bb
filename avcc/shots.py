"""Shots and key frames: which pictures a frame may be drawn from. Both sides must agree on it."""

from __future__ import annotations

import numpy as np


def shots(frames: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """In which shot each frame lies, from 0; ``cuts``: the first frames of all but the first."""
    return np.searchsorted(np.asarray(cuts, np.int64), frames, side="right")


def neighbours(keys: np.ndarray, frames: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """From which key frames pictures are drawn: indices int64 (2, T) into ``keys``, frame numbers
    that rise. The one before (or at) the frame and the one after it, of the same shot; twice the
    same where the shot has but one of them; of any shot where it has none."""
    after = np.searchsorted(keys, frames, side="right")
    pair = np.stack([np.maximum(after - 1, 0), np.minimum(after, len(keys) - 1)])
    own = shots(keys[pair], cuts) == shots(frames, cuts)
    before, later = np.where(own[0] | ~own[1], pair[0], pair[1]), pair[1]
    return np.stack([before, np.where(own[1] | ~own[0], later, before)])
