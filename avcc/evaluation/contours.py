"""A second finder of eyes and lips, for the first one is what the renderer's mesh loss has seen.

dlib's 68 points of an ensemble of regression trees (Kazemi and Sullivan 2014), from the wheel of
``face_recognition_models``. It was fitted to the 300-W pictures, whose licence excludes commercial
use: here it only measures, and no weights of ours know it. The source's mesh says where the face
is, for source and decoded picture alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from avcc.evaluation.likeness import dlib_weights

WEIGHTS = "shape_predictor_68_face_landmarks.dat"
FOREHEAD = 0.2  # of the mesh's height: dlib's boxes begin at the brows
_EYES = (slice(36, 42), slice(42, 48))
_GAPS = ((61, 67), (62, 66), (63, 65))  # inner lips, upper and lower


def load() -> tuple[Contours | None, str]:
    """The finder, or why it can't be had."""
    weights, note = dlib_weights(WEIGHTS, "contours")
    return (None if weights is None else Contours(weights)), note


class Contours:
    """68 points of faces that are known to be somewhere."""

    def __init__(self, weights: Path) -> None:
        import dlib

        self.dlib: Any = dlib
        self.net = dlib.shape_predictor(str(weights))

    def points(self, frame: np.ndarray, mesh: np.ndarray) -> np.ndarray:
        """Frame uint8 (H, W, 3) and a mesh (478, 2) of about this face, pixels -> (68, 2)."""
        (left, top), (right, bottom) = mesh.min(0), mesh.max(0)
        corners = left, top + FOREHEAD * (bottom - top), right, bottom
        box = self.dlib.rectangle(*(round(float(x)) for x in corners))
        found = self.net(np.ascontiguousarray(frame), box)
        return np.array([(p.x, p.y) for p in found.parts()], np.float64)

    def scores(
        self, source: np.ndarray, decoded: np.ndarray, mesh: np.ndarray, stride: int = 1
    ) -> dict[str, float]:
        """``contour``: mean error in per cent of the source's eye distance; ``lips_corr``: Pearson
        correlation of mouth openings over time. Of frames (N, H, W, 3), every ``stride`` of those
        that have a mesh (N, 478, 2)."""
        shown = np.flatnonzero(~np.isnan(mesh[:, 0, 0]))[::stride]
        if len(shown) < 2:
            return {}
        a, b = (np.stack([self.points(x[i], mesh[i]) for i in shown]) for x in (source, decoded))
        eyes = np.linalg.norm(a[:, _EYES[0]].mean(1) - a[:, _EYES[1]].mean(1), axis=-1)
        error = 100 * np.linalg.norm(a - b, axis=-1) / eyes[:, None]
        moved = [_openings(x) / eyes for x in (a, b)]
        values = {"contour": float(error.mean())}
        if all(m.std() > 1e-6 for m in moved):
            values["lips_corr"] = float(np.corrcoef(*moved)[0, 1])
        return values


def _openings(points: np.ndarray) -> np.ndarray:
    gaps = [np.linalg.norm(points[:, up] - points[:, low], axis=-1) for up, low in _GAPS]
    return np.mean(gaps, 0)
