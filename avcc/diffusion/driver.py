"""Driver: what is heard -> the mean of how the mouth moves, where no motion was sent.

It moves the lips and nothing else: what a voice says of the head's pose is too little to show.
Convolutions alone, so that what it says of a token depends on ``REACH`` tokens on either side and
windows can't be told from the whole.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import ConvNext
from avcc.stages import BANDS, MOTION, MOUTH, SHAPE

KERNEL, DEPTH = 7, 4
REACH = KERNEL // 2 * DEPTH  # tokens on either side that are heard
# How much further than the mean that training finds a mouth goes, from where it mostly is: the mean
# of all that may have been said hardly moves, twice as far is no further off (docs/avdiff.md).
LIVELY = 2.0
ONSET = 6  # tokens over which the mouth comes to life beside a voice that isn't known
FADES = 5.0  # tokens beyond a sent frame after which its mouth counts by 1 / e
NEAR = 25  # tokens of sent motion that say where a mouth is on the mean


class Driver(nn.Module):
    """Decoded mel of T tokens -> motion float32 (B, T, 20), in units of a coefficient's spread.

    ``mel``: (B, T, 160), ``SILENCE`` in silence, 0 where no voice was sent; ``silent`` and
    ``unsent``: float (B, T), 0 or 1; ``shape``: (B, 24), of the key face, relative to which it
    moves.
    """

    def __init__(self, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.entry = nn.Linear(2 * BANDS + 2, width)
        self.blocks = nn.Sequential(*[ConvNext(width, DEPTH, KERNEL) for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, MOUTH)
        self.key = nn.Linear(SHAPE, MOUTH)  # where the key face's mouth is already
        nn.init.zeros_(self.key.weight)
        nn.init.zeros_(self.key.bias)
        self.register_buffer("mouth", torch.zeros(MOUTH, MOTION))
        self.register_buffer("rest", torch.zeros(MOUTH))  # where it mostly is
        self.mouth: Tensor
        self.rest: Tensor
        self.dropout = dropout

    def forward(self, mel: Tensor, silent: Tensor, unsent: Tensor, shape: Tensor) -> Tensor:
        x = self.entry(torch.cat([mel, silent[..., None], unsent[..., None]], -1))
        x = F.dropout(x, self.dropout, self.training)
        x = self.norm(self.blocks(x.transpose(1, 2)).transpose(1, 2))
        x = F.dropout(x, self.dropout, self.training)
        x = self.exit(x)
        if self.training:
            with torch.no_grad():
                self.rest.lerp_(x.detach().float().mean((0, 1)), 0.02)
        else:
            x = self.rest + LIVELY * (x - self.rest)
        return (x - self.key(shape)[:, None]) @ self.mouth


def audible(unsent: np.ndarray) -> np.ndarray:
    """How much the driver counts, float32 (T,): nothing where the voice is ``unsent`` (bool (T,)),
    more and more away from there."""
    near = np.full(len(unsent), ONSET + 1)
    for order in (slice(None), slice(None, None, -1)):
        frames = np.arange(len(unsent))
        last = np.maximum.accumulate(np.where(unsent[order], frames, -ONSET - 1))
        near = np.minimum(near, (frames - last)[order])
    return (np.minimum(near, ONSET) / ONSET).astype(np.float32)


def filled(
    motion: np.ndarray, sent: np.ndarray, driven: np.ndarray, share: np.ndarray, mouth: np.ndarray
) -> np.ndarray:
    """Motion (T, K) as sent and estimated between, with the driver's mouth put into its gaps.

    ``sent``: bool (T,); ``driven``: (T, K), the driver's; ``share``: (T,), how much it counts;
    ``mouth``: (M, K), the directions in which it moves. At both ends of a gap nothing jumps: the
    driver is moved to where the sent frames beside it are; further inside its mouth goes by where
    the mouths of the sent frames nearby are on the mean.
    """
    known = np.flatnonzero(sent)
    if not len(known):
        return (share[:, None] * driven).astype(np.float32)
    wrong = motion[known] - driven[known]
    total = np.concatenate([np.zeros_like(wrong[:1]), np.cumsum(wrong, 0, dtype=np.float64)])
    first = np.searchsorted(known, known - NEAR)
    last = np.searchsorted(known, known + NEAR, "right")
    mean = (total[last] - total[first]) / (last - first)[:, None]
    onto = np.linalg.pinv(mouth) @ mouth
    frames = np.arange(len(motion))
    here, around = (
        np.stack([np.interp(frames, known, column) for column in x.T], 1)
        for x in (wrong, (mean - wrong) @ onto)
    )
    after = np.minimum(np.searchsorted(known, frames), len(known) - 1)
    away = np.minimum(abs(frames - known[after]), abs(frames - known[np.maximum(after - 1, 0)]))
    spoken = driven + here + (1 - np.exp(-away / FADES))[:, None] * around
    moved = motion + (spoken - motion) @ onto  # the voice says nothing of the rest
    counts = (share * ~sent)[:, None]
    return (motion * (1 - counts) + moved * counts).astype(np.float32)
