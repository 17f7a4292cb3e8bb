"""How sharp decoded pictures are to be shown: no sharper than the source is.

A renderer paints about as much detail as faces mostly have. Where the source has less, because the
face was small or the lens soft, that is too much; where it has more, sharpening what lies a little
beside where it should brings nothing (docs/training.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from avcc.render.unsharp import unsharp
from avcc.stages import SHARPEST, KeyFrame

SHARPNESS_BYTES = 1  # that it takes in a head, at most
SHARE = 0.875  # of the source's detail: drawn detail is never quite in its place


def sharpness(pictures: Sequence[np.ndarray], looks: Sequence[KeyFrame]) -> int:
    """For drawn pictures uint8 (256, 256, 3) that should be those of ``looks``: a ``Head``'s, 0 or
    less, the least softening that leaves them no more detail than ``SHARE`` of that of theirs."""
    if not looks:
        return 0
    most = SHARE**2 * _energy([_detail(_grey(look.picture)) for look in looks])
    fine = [_detail(_grey(picture)) for picture in pictures]
    finer = [_detail(x) for x in fine]
    # softened by s, detail x is x - s times the detail of x
    for soft in range(SHARPEST):
        s = soft / SHARPEST
        if _energy([x - s * y for x, y in zip(fine, finer, strict=True)]) <= most:
            return -soft
    return -SHARPEST


def _grey(picture: np.ndarray) -> Tensor:
    """(1, 1, 256, 256)"""
    return torch.from_numpy(picture).float().mean(-1)[None, None]


def _detail(x: Tensor) -> Tensor:
    """What smoothing takes away."""
    return x - unsharp(x, -1)


def _energy(some: Sequence[Tensor]) -> float:
    return float(torch.stack([x.square().mean() for x in some]).mean())
