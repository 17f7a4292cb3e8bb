"""The grid of two pixels that networks leave which write four pixels at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 16  # pixels over which a grid keeps its phase, and other detail averages out
_EDGE = (-0.25, 0.5, -0.25)  # passes what changes from pixel to pixel, and nothing slow


def lattice(x: Tensor, window: int = WINDOW) -> Tensor:
    """How strongly pictures alternate from column to column, row to row, and like a chessboard.

    (B, C, H, W) -> (B, 3 C, h, w), signed, in the units of ``x``; one place for each half window.
    """
    count = x.shape[1]
    found = []
    for wide, high in ((True, False), (False, True), (True, True)):
        y = x
        for dim, passed in ((3, wide), (2, high)):
            if not passed:
                continue
            shape = [count, 1, 1, 1]
            shape[dim] = len(_EDGE)
            taps = x.new_tensor(_EDGE).view(1, 1, *shape[2:]).expand(shape)
            y = F.conv2d(y, taps, groups=count) * _signs(x, dim)
        found.append(F.avg_pool2d(y, window, window // 2))
    sides = [min(y.shape[d] for y in found) for d in (2, 3)]
    return torch.cat([y[..., : sides[0], : sides[1]] for y in found], 1)


def grid(source: np.ndarray, decoded: np.ndarray) -> float:
    """Mean strength of the grid in a decoded clip above what the source has, in levels of 255.

    uint8 (N, H, W, 3) both. 0: as much as in the source; below 0: less detail at that pitch.
    """
    strengths = []
    for frames in (source, decoded):
        sums = [float(lattice(_planes(frame)).abs().mean()) for frame in frames]
        strengths.append(np.mean(sums))
    return float(strengths[1] - strengths[0])


def _signs(x: Tensor, dim: int) -> Tensor:
    """+1 and -1 in turn along what remains of a dimension after ``_EDGE``."""
    signs = 1 - 2 * (torch.arange(x.shape[dim] - len(_EDGE) + 1, device=x.device) % 2).to(x.dtype)
    shape = [1, 1, 1, 1]
    shape[dim] = -1
    return signs.view(shape)


def _planes(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1)[None].float()
