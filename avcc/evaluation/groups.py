"""What kind of clip it is (how far the head turns, how it moves, how light it is, which language is
spoken), and figures by such groups: a mean over easy clips says nothing of the hard ones. Turns,
moves and light are measured on the source; the language is what a manifest says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from avcc.evaluation.picture import eye_distances

if TYPE_CHECKING:
    from avcc.evaluation.bench import Row

BOUNDS: dict[str, tuple[str, tuple[float, float]]] = {  # trait: what it is, where groups part
    "turn": ("head turned, degrees", (5, 12)),
    "moves": ("face moves, % of eye distance", (10, 20)),
    "light": ("luma of the face, of 255", (105, 130)),
}
LANGUAGE = "language"
_EARS, _NOSE = (234, 454), 1
# Of MediaPipe's canonical face: how far the nose's tip stands out before the line between the ears,
# over half the distance between them.
_NOSE_OUT = 1.294


def traits(frames: np.ndarray, mesh: np.ndarray) -> dict[str, float]:
    """Frames uint8 (N, H, W, 3) and meshes (N, 478, 2) in pixels, NaN where there is no face.

    ``turn``: how far the head turns to the side from how it mostly stands, in degrees (the frame
    that only 5 % exceed); ``moves``: mean distance of the points from where they mostly are;
    ``light``: mean luma of the box around the face. Empty without a face.
    """
    found = ~np.isnan(mesh[:, 0, 0])
    if not found.any():
        return {}
    seen = mesh[found]
    yaw = yaws(seen)
    away = np.linalg.norm(seen - np.median(seen, 0), axis=-1).mean(-1) / eye_distances(seen)
    low, high = (seen.min(1), seen.max(1))
    luma = []
    for frame, a, b in zip(frames[found], low, high, strict=True):
        (left, top), (right, bottom) = a.clip(0).astype(int), b.clip(1).astype(int) + 1
        luma.append((frame[top:bottom, left:right] @ [0.299, 0.587, 0.114]).mean())
    return {
        "turn": float(np.percentile(np.abs(yaw - np.median(yaw)), 95)),
        "moves": float(100 * away.mean()),
        "light": float(np.mean(luma)),
    }


def yaws(mesh: np.ndarray) -> np.ndarray:
    """Meshes (N, 478, 2) -> degrees (N,) by which heads are turned to a side, estimated from where
    the nose's tip stands between the ears (seen from afar)."""
    right, left = (mesh[:, i] for i in _EARS)
    across = left - right
    width = np.linalg.norm(across, axis=-1)
    off = ((mesh[:, _NOSE] - (left + right) / 2) * across).sum(-1) / width
    return np.degrees(np.arctan(off / (width / 2) / _NOSE_OUT))


def grouped(rows: Sequence[Row], trait: str) -> dict[str, list[Row]]:
    """The rows by what their clip's trait is: under the bounds, between them, over them; or by
    ``language``, in the order of the alphabet."""
    if trait == LANGUAGE:
        spoken = sorted({row.language for row in rows if row.language})
        return {name: [row for row in rows if row.language == name] for name in spoken}
    low, high = BOUNDS[trait][1]
    names = (f"under {low:g}", f"{low:g} to {high:g}", f"{high:g} or more")
    groups: dict[str, list[Row]] = {name: [] for name in names}
    for row in rows:
        if trait in row.traits:
            groups[names[int(np.digitize(row.traits[trait], (low, high)))]].append(row)
    return {name: group for name, group in groups.items() if group}
