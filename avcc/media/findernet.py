"""Our own face finder: a small fully convolutional network that marks faces of one range of sizes.

After CenterNet (Zhou et al. 2019, "Objects as Points"): of every cell of 8 pixels it says whether
a face's centre lies there, where in it, and how large the face is. Pictures are looked at in
several sizes, so that faces of every size fall into the range.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avcc.media.facenet import Block, Conv

CELL = 8  # pixels
TYPICAL = 36.0  # pixels, a face whose size is said as nought
LEAST, MOST = 16.0, 80.0  # pixels, the faces that are marked


class FinderNet(nn.Module):
    """Pictures (B, 3, H, W) in -1..1, sides multiples of 8 -> (B, 4, H / 8, W / 8): a logit, the
    centre's place in its cell, across and down (-0.5..0.5), and the logarithm of the size over
    ``TYPICAL``."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Conv(3, 16, 5, 2),
            Conv(16, 24, 3, 2),
            Conv(24, 40, 3, 2),
            Block(40),
            Block(40),
            Block(40),
        )
        self.head = nn.Conv2d(40, 4, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        bias = torch.tensor([-4.0, 0, 0, 0])  # nearly every cell is empty
        self.head.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(x))
        return found
