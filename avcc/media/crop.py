"""The square that is coded, cut out of a picture."""

from __future__ import annotations

import numpy as np

from avcc.pictures import resized
from avcc.stages import SIDE, Crop


def whole(width: int, height: int) -> Crop:
    """The centred square over a whole picture (all of it, where the picture is square)."""
    side = min(width, height)
    return Crop((width - side) // 2, (height - side) // 2, side, width, height)


def covers(crop: Crop) -> bool:
    """Whether there is nothing of the picture around the crop."""
    right, bottom = crop.x + crop.side, crop.y + crop.side
    return crop.x <= 0 and crop.y <= 0 and right >= crop.width and bottom >= crop.height


def cut(frame: np.ndarray, crop: Crop) -> np.ndarray:
    """uint8 (256, 256, 3): what ``crop`` covers of ``frame``, uint8 (H, W, 3) RGB.

    Beyond the picture's border its edge pixels go on. Shrinks by area, enlarges by cubic.
    """
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = crop.x, crop.y, crop.x + crop.side, crop.y + crop.side
    # The part inside, at least one pixel of it, so that there is an edge to go on with.
    left, right = min(max(x0, 0), width - 1), max(min(x1, width), 1)
    top, bottom = min(max(y0, 0), height - 1), max(min(y1, height), 1)
    part = frame[top:bottom, left:right]
    margins = (top - y0, y1 - bottom, left - x0, x1 - right)
    if any(m > 0 for m in margins):
        above, below, before, after = (max(m, 0) for m in margins)
        part = np.pad(part, ((above, below), (before, after), (0, 0)), mode="edge")
        part = part[: crop.side, : crop.side]
    if part.shape[:2] == (SIDE, SIDE):
        return np.ascontiguousarray(part)
    return resized(part, SIDE, SIDE)
