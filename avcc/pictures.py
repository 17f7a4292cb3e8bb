"""Pictures as arrays, made larger and smaller."""

from __future__ import annotations

import numpy as np


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (height, width, 3): means of the pixels' areas where it has fewer
    pixels then, otherwise cubic."""
    from PIL import Image

    smaller = width * height < picture.shape[0] * picture.shape[1]
    how = Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(picture).resize((width, height), how))  # one to write into
