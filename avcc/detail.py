"""How much detail decoded pictures show: no more than the source has.

A renderer paints about as much detail as faces mostly have, and restores as much in a key frame as
its bytes say. Where the source has less, because the face was small or the lens soft, that is too
much; where it has more, to sharpen what lies a little beside where it should brings nothing
(docs/training.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from avcc.encoder import Encoder
from avcc.render.face import restored_share
from avcc.render.unsharp import unsharp
from avcc.stages import RESTORED, SHARPEST, KeyFrame
from avcc.trial import restored

SHOWN_BYTES = 2  # that both take in a head, at most
# Of the source's detail, what is let show: in pictures that are drawn, which have it a little
# beside its place, and in key frames.
DRAWN, KEPT = 0.875, 0.95
SOME = 16  # key frames that are looked at, of more


def sharpness(pictures: Sequence[np.ndarray], looks: Sequence[KeyFrame]) -> int:
    """For drawn pictures uint8 (256, 256, 3) that should be those of ``looks``: a ``Head``'s, 0 or
    less, the least softening that leaves them no more detail than ``DRAWN`` of that of theirs."""
    if not looks:
        return 0
    most = DRAWN**2 * _energy([_detail(_grey(look.picture)) for look in looks])
    fine = [_detail(_grey(picture)) for picture in pictures]
    finer = [_detail(x) for x in fine]
    # softened by s, detail x is x - s times the detail of x
    for soft in range(SHARPEST):
        s = soft / SHARPEST
        if _energy([x - s * y for x, y in zip(fine, finer, strict=True)]) <= most:
            return -soft
    return -SHARPEST


def restoration(nets: Encoder, keys: Sequence[KeyFrame], shown: Sequence[KeyFrame]) -> int | None:
    """For key frames as they are decoded and those of the source that they are of: a ``Head``'s,
    ``None`` unless what their bytes say leaves them more detail than ``KEPT`` of that of theirs."""
    every = -(-len(keys) // SOME)
    keys, shown = keys[::every], shown[::every]
    most = KEPT**2 * _energy([_detail(_grey(key.picture)) for key in keys])
    fine = [_detail(_grey(key.picture)) for key in shown]
    whole = [_detail(_grey(restored(nets, key, 1.0))) for key in shown]
    usual = [float(restored_share(torch.tensor(key.size))) for key in shown]
    known = list(zip(fine, whole, strict=True))

    def fits(shares: Sequence[float]) -> bool:
        some = zip(known, shares, strict=True)
        return _energy([x + s * (y - x) for (x, y), s in some]) <= most

    if fits(usual):
        return None
    highest = int(max(usual) * RESTORED)
    return next((n for n in range(highest, 0, -1) if fits([n / RESTORED] * len(known))), 0)


def _grey(picture: np.ndarray) -> Tensor:
    """(1, 1, 256, 256)"""
    return torch.from_numpy(picture).float().mean(-1)[None, None]


def _detail(x: Tensor) -> Tensor:
    """What smoothing takes away."""
    return x - unsharp(x, -1)


def _energy(some: Sequence[Tensor]) -> float:
    return float(torch.stack([x.square().mean() for x in some]).mean())
