"""The surroundings of the crop as a still: squeezed to a square, without the face in the middle.

A square is what the key frames' coder takes, and pixels that aren't square lose nothing: both axes
are shrunk for few bytes anyway. What the decoder pastes over is made smooth, so that it costs next
to nothing.
"""

from __future__ import annotations

import numpy as np

from avcc.analysis import identity
from avcc.pictures import resized
from avcc.stages import SCENE_EDGE, Crop

SQUARE = 512  # pixels, at most, of the coded square
SHARE = 0.12  # of a file's bytes, and how many bytes that may be
LEAST, MOST = 300, 16_384
WORTH = 0.25  # of a file's bytes: not even the least may take more
# Sizes of the square and the bytes from which each looks best. What is only blurred disturbs less
# than coding errors do, so it takes more bytes than a key frame of that size.
SIDES = {512: 12_000, 384: 6000, 256: 3000, 192: 1500, 128: 450, 64: 0}


def squeezed(picture: np.ndarray, crop: Crop) -> np.ndarray:
    """uint8 (512, 512, 3): a whole picture, uint8 (H, W, 3) of any size, with the inside of
    ``crop`` filled by what surrounds it."""
    square = resized(picture, SQUARE, SQUARE)
    known = np.ones((SQUARE, SQUARE), np.float32)
    rows, columns = (
        slice(*np.clip(np.rint(np.multiply(inside, SQUARE / whole)), 0, SQUARE).astype(int))
        for inside, whole in ((_inside(crop.y, crop.side), crop.height),
                              (_inside(crop.x, crop.side), crop.width))
    )  # fmt: skip
    known[rows, columns] = 0
    if known.all() or not known.any():
        return square
    return _filled(square, known)


def fitting(square: np.ndarray, budget: int) -> tuple[int, bytes]:
    """(side, AV1 picture) of the best still within what surroundings get of ``budget`` bytes, or
    the smallest that there is."""
    room = min(WORTH * budget, max(LEAST, min(MOST, SHARE * budget)))
    found = identity.fitting_picture(square, int(room), SIDES)
    if found is None:
        return min(SIDES), identity.smallest_picture(square)
    return found[1], found[0]


def _inside(start: int, side: int) -> tuple[float, float]:
    """Where on one axis of the picture the crop hides what lies below it."""
    return start + SCENE_EDGE * side, start + (1 - SCENE_EDGE) * side


def _filled(square: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What isn't known, from means of what is known around it, near before far."""
    out = square.astype(np.float32)
    told = out * known[..., None]
    open_ = known == 0
    width = SQUARE / 64
    while open_.any() and width < SQUARE:
        blur = _blur(width)
        weight = blur @ known @ blur.T
        near = open_ & (weight > 0.02)
        around = np.einsum("yr,rcd,xc->yxd", blur, told, blur, optimize=True)
        out[near] = around[near] / weight[near][:, None]
        open_ &= ~near
        width *= 2
    out[open_] = told.sum((0, 1)) / known.sum()
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def _blur(width: float) -> np.ndarray:
    """A Gaussian of this width in pixels along one side of the square, float32 (512, 512); what
    lies beyond the edges counts as little as it does in ``known``: not at all."""
    at = np.arange(SQUARE, dtype=np.float32)
    rows = np.exp(-0.5 * ((at[:, None] - at[None]) / width) ** 2)
    return np.asarray(rows / (width * np.sqrt(2 * np.pi)), np.float32)
