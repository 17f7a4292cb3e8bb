"""Sampler: Euler steps of the rectified flow over windows that overlap, so that hours fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from avcc.diffusion.avdiff import MEL, AVDiff, Condition
from avcc.diffusion.schedule import MEL_UNSENT, times
from avcc.noise import gaussian
from avcc.stages import MOTION

WINDOW, OVERLAP = 200, 40  # tokens: 8 s, of which 1.6 s are shared with the next window
MEL_STREAM, MOTION_STREAM = 0, 1
# Share of the noise that sampling starts from (docs/training.md has what was tried): less of it
# gives smoother, safer samples, none the network's mean.
MEL_NOISE, MOTION_NOISE = 0.3, 0.0
HEEDED = 0.5  # share of what is sampled of a voice that was sent; the rest is its estimate


def plan(count: int) -> list[tuple[int, int]]:
    """Windows (first, last) over ``count`` tokens; each shares ``OVERLAP`` with the next."""
    out, a = [], 0
    while True:
        b = min(count, a + WINDOW)
        out.append((a, b))
        if b == count:
            return out
        a = b - OVERLAP


def window_sample(
    net: AVDiff, c: Condition, seed: int, first: int, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """One window from noise: mel (T, 160) and motion (T, 20) in the condition's units."""
    count, device = c.mel.shape[1], c.mel.device
    x = torch.from_numpy(gaussian(seed, MEL_STREAM, first, count, MEL) * MEL_NOISE)
    y = torch.from_numpy(gaussian(seed, MOTION_STREAM, first, count, MOTION) * MOTION_NOISE)
    x, y = x[None].to(device), y[None].to(device)
    levels = times(steps)
    for now, after in pairwise(levels):
        t = torch.full((1,), float(now), device=device)
        u, v = net(x, y, t, t, c)
        x, y = x + (after - now) * u, y + (after - now) * v
    x = x * torch.where(c.mel_off < MEL_UNSENT, HEEDED, 1.0)
    return (c.mel + c.mel_off * x)[0], (c.motion + c.motion_off * y)[0]


@torch.no_grad()
def sample(
    net: AVDiff,
    condition: Callable[[int, int], Condition],
    count: int,
    seed: int,
    steps: int,
    progress: Callable[[float], None] | None = None,
    windows: Sequence[tuple[int, int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A clip of ``count`` tokens: mel float32 (count, 160) and motion float32 (count, 20).

    ``condition(a, b)`` gives the conditions of tokens a to b. In an overlap the windows are
    cross-faded; both saw the same noise there, so they differ little. ``windows``: those of
    ``plan(count)`` that are wanted; elsewhere there are zeros.
    """
    mel, motion = np.zeros((count, MEL), np.float32), np.zeros((count, MOTION), np.float32)
    chosen = plan(count) if windows is None else windows
    for number, (a, b) in enumerate(chosen):
        found = window_sample(net, condition(a, b), seed, a, steps)
        x, y = (v.float().cpu().numpy() for v in found)
        fade = np.ones((b - a, 1), np.float32)
        if a:
            fade[:OVERLAP, 0] = (np.arange(OVERLAP) + 1) / (OVERLAP + 1)
        mel[a:b] = mel[a:b] * (1 - fade) + x * fade
        motion[a:b] = motion[a:b] * (1 - fade) + y * fade
        if progress:
            progress((number + 1) / len(chosen))
    return mel, motion
