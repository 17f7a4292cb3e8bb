"""Restoration of a decoded key frame: everything that is drawn from it can only be as good.

Once a key frame, not once a picture, so it may cost what it wants: 12 G multiply-adds. A U-Net of
residual blocks (Ronneberger et al. 2015) whose first step is no change at all.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from avcc.render.blocks import Residual, double

WIDTHS = (64, 128, 192)  # at 128, 64 and 32 pixels


class Restorer(nn.Module):
    """What coding took from a picture, made up again."""

    def __init__(self) -> None:
        super().__init__()
        large, middle, small = WIDTHS
        self.entry = nn.Conv2d(12, large, 3, padding=1)
        self.before_large = Residual(large)
        self.to_middle = nn.Conv2d(large, middle, 4, 2, 1)
        self.before_middle = nn.Sequential(Residual(middle), Residual(middle))
        self.to_small = nn.Conv2d(middle, small, 4, 2, 1)
        self.at_small = nn.Sequential(*(Residual(small) for _ in range(4)))
        self.up_middle = nn.Conv2d(small, middle, 1)
        self.at_middle = nn.Sequential(Residual(middle), Residual(middle))
        self.up_large = nn.Conv2d(middle, large, 1)
        self.at_large = nn.Sequential(Residual(large), Residual(large))
        self.exit = nn.Conv2d(large, 12, 3, padding=1)
        for parameter in self.exit.parameters():
            nn.init.zeros_(parameter)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, 256, 256) in about -1..1 -> the same, float32."""
        large = self.before_large(self.entry(F.pixel_unshuffle(picture, 2)))
        middle = self.before_middle(self.to_middle(large))
        x = self.at_small(self.to_small(middle))
        x = self.at_middle(double(self.up_middle(x)) + middle)
        x = self.at_large(double(self.up_large(x)) + large)
        return picture + F.pixel_shuffle(self.exit(F.silu(x)), 2).float()
