"""Whether it is still the same person: distances of face descriptors by a network that neither we
nor our losses have anything to do with.

dlib's residual network (King 2017, 99.4 % on Labelled Faces in the Wild), whose weights are in the
public domain and come in the wheel of ``face_recognition_models``. Two pictures of one person are
mostly less than 0.6 apart.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
# In dlib's order: outer and inner corner of the left eye, of the right eye, and below the nose.
_FIVE = (263, 362, 33, 133, 2)


def load() -> tuple[Likeness | None, str]:
    """The network, or why it can't be had."""
    weights, note = dlib_weights(WEIGHTS, "likeness")
    return (None if weights is None else Likeness(weights)), note


def dlib_weights(name: str, measure: str) -> tuple[Path | None, str]:
    """One of the files of ``face_recognition_models``, or why ``measure`` is absent."""
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or importlib.util.find_spec("dlib") is None:
        return None, f"{measure} absent: pip install dlib-bin face_recognition_models"
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "models" / name, ""


class Likeness:
    """Descriptors of faces whose meshes are known."""

    def __init__(self, weights: Path) -> None:
        import dlib

        self.dlib: Any = dlib
        self.net = dlib.face_recognition_model_v1(str(weights))

    def descriptor(self, frame: np.ndarray, mesh: np.ndarray) -> np.ndarray:
        """Frame uint8 (H, W, 3) RGB and mesh (478, 2) in pixels -> float64 (128,)."""
        points = [self.dlib.point(int(x), int(y)) for x, y in np.rint(mesh[list(_FIVE)])]
        (left, top), (right, bottom) = (np.rint(f(mesh, axis=0)) for f in (np.min, np.max))
        box = self.dlib.rectangle(int(left), int(top), int(right), int(bottom))
        face = self.dlib.full_object_detection(box, points)
        return np.array(self.net.compute_face_descriptor(np.ascontiguousarray(frame), face))

    def distance(
        self,
        source: np.ndarray,
        decoded: np.ndarray,
        source_mesh: np.ndarray,
        decoded_mesh: np.ndarray,
        stride: int = 1,
    ) -> float:
        """Mean distance between frames (N, H, W, 3) of one time, every ``stride`` of them, where
        both have a face; NaN where none has."""
        found = ~np.isnan(source_mesh[:, 0, 0]) & ~np.isnan(decoded_mesh[:, 0, 0])
        away = [
            np.linalg.norm(
                self.descriptor(source[i], source_mesh[i])
                - self.descriptor(decoded[i], decoded_mesh[i])
            )
            for i in np.flatnonzero(found)[::stride]
        ]
        return float(np.mean(away)) if away else float("nan")
