"""Photographs without faces: what the networks that find faces must leave alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

LARGEST, LEAST = 1280, 160  # pixels of the longer side, at most, and of the shorter, at least


def photos(folder: Path | None) -> list[np.ndarray]:
    """The photographs in a folder and below it, uint8 (H, W, 3), in the order of their names."""
    found = []
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"}:
            continue
        with Image.open(path) as photo:
            photo.draft("RGB", (LARGEST, LARGEST))
            small = photo.convert("RGB")
        small.thumbnail((LARGEST, LARGEST))
        if min(small.size) >= LEAST:
            found.append(np.array(small))
    return found
