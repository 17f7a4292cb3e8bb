"""The square that is coded: cut it out of a picture, and put it back."""

from __future__ import annotations

import numpy as np

from avcc.stages import SIDE, Crop

EDGE = 0.06  # of the side: how far a pasted square fades into the picture around it


def whole(width: int, height: int) -> Crop:
    """The centred square over a whole picture (all of it, where the picture is square)."""
    side = min(width, height)
    return Crop((width - side) // 2, (height - side) // 2, side, width, height)


def cut(frame: np.ndarray, crop: Crop) -> np.ndarray:
    """uint8 (256, 256, 3): what ``crop`` covers of ``frame``, uint8 (H, W, 3) RGB.

    Beyond the picture's border its edge pixels go on. Shrinks by area, enlarges by cubic.
    """
    import cv2

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
    how = cv2.INTER_AREA if crop.side > SIDE else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(part), (SIDE, SIDE), interpolation=how)
    return np.asarray(resized, np.uint8)


def paste(frame: np.ndarray, face: np.ndarray, crop: Crop) -> np.ndarray:
    """A copy of ``frame``, uint8 (H, W, 3), with ``face``, uint8 (256, 256, 3), where it was cut.

    The square's edges fade into the picture over ``EDGE`` of its side, except where they lie on
    the picture's own border.
    """
    import cv2

    height, width = frame.shape[:2]
    left, right = max(crop.x, 0), min(crop.x + crop.side, width)
    top, bottom = max(crop.y, 0), min(crop.y + crop.side, height)
    if right <= left or bottom <= top:
        return frame.copy()
    how = cv2.INTER_CUBIC if crop.side > SIDE else cv2.INTER_AREA
    if crop.side == SIDE:
        square = np.asarray(face)
    else:
        square = np.asarray(
            cv2.resize(np.ascontiguousarray(face), (crop.side, crop.side), interpolation=how)
        )
    mask = np.outer(
        _ramp(crop.side, crop.y > 0, crop.y + crop.side < height),
        _ramp(crop.side, crop.x > 0, crop.x + crop.side < width),
    )
    window = np.s_[top - crop.y : bottom - crop.y, left - crop.x : right - crop.x]
    weight = mask[window][..., None]
    out = frame.copy()
    under = out[top:bottom, left:right].astype(np.float32)
    mixed = under + (square[window].astype(np.float32) - under) * weight
    out[top:bottom, left:right] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return out


def _ramp(side: int, fade_start: bool, fade_end: bool) -> np.ndarray:
    """float32 (side,): weight of the pasted square along one axis."""
    width = max(1.0, EDGE * side)
    distance = np.arange(side, dtype=np.float32) + 0.5
    rise = np.clip(distance / width, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    one = np.ones(side, np.float32)
    return (rise if fade_start else one) * (rise[::-1] if fade_end else one)
