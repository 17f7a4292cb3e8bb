"""The likeliest path through a lattice (Viterbi 1967): for pitches that are found, and sent."""

from __future__ import annotations

import numpy as np


def likeliest(likely: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Log likelihoods (T, S) of S states, at most 256, and what moving costs, float32 (S, S) to the
    row's state from the column's (infinity: it can't) -> states int64 (T,)."""
    count, size = likely.shape
    states = np.arange(size)
    back = np.zeros((count, size), np.uint8)
    best = np.zeros(size, np.float32)
    for t in range(count):
        if t:
            reach = best - cost
            back[t] = reach.argmax(1)
            best = reach[states, back[t]]
        best = best + likely[t].astype(np.float32)
        best -= best.max()  # of hours the sum would lose its decimals
    path = np.empty(count, np.int64)
    at = int(best.argmax())
    for t in range(count - 1, -1, -1):
        path[t] = at
        at = int(back[t, at])
    return path
