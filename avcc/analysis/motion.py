"""Face mesh <-> motion coefficients: LIA-like codes on an orthonormal bank of directions.

The directions are the principal directions of face-mesh displacement (docs/model.md): they need
no network, hold on faces never seen, and give the renderer a dense flow that is right on the face.
A coefficient vector is relative to the key frame, in units of the key face's size, so that it says
how the face moved and little about whose face it is. Numpy alone: the decoder's side must not
depend on anything that could round differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from avcc.mesh import POINTS, face_size, point_weights


@dataclass(frozen=True)
class MotionBank:
    """``directions``: float32 (K, 956), orthonormal rows over weighted, size-free displacement."""

    directions: np.ndarray

    def project(self, mesh: np.ndarray) -> np.ndarray:
        """Mesh (478, 2) -> its place on the directions, float32 (K,).

        Coefficients are linear in the mesh: (place - place of the key) / size of the key face.
        """
        return (self.directions @ (mesh * point_weights()[:, None]).ravel()).astype(np.float32)

    def relative(self, places: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Places (N, K) -> coefficients relative to the key frame's mesh, float32 (N, K)."""
        return ((places - self.project(key)) / face_size(key)).astype(np.float32)

    def rebased(self, coefficients: np.ndarray, key: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Coefficients relative to one key frame's mesh -> relative to another's."""
        return self.relative(coefficients * face_size(key) + self.project(key), other)

    def coefficients(self, mesh: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Meshes (N, 478, 2) and the key frame's (478, 2) -> coefficients float32 (N, K)."""
        moved = (mesh - key) / face_size(key) * point_weights()[:, None]
        return (moved.reshape(len(mesh), -1) @ self.directions.T).astype(np.float32)

    def meshes(self, coefficients: np.ndarray, key: np.ndarray) -> np.ndarray:
        """The way back: coefficients (N, K) -> meshes float32 (N, 478, 2)."""
        moved = (coefficients @ self.directions).reshape(-1, POINTS, 2)
        return (key + moved / point_weights()[:, None] * face_size(key)).astype(np.float32)


@dataclass(frozen=True)
class ShapeBank:
    """The key frame's mesh in a few numbers: place, size, and principal directions of shape.

    ``mean``: float32 (956,), ``directions``: float32 (M, 956), of meshes moved to their centre and
    divided by their size. A shape vector is (x, y, ln size, M coefficients).
    """

    mean: np.ndarray
    directions: np.ndarray

    def vector(self, mesh: np.ndarray) -> np.ndarray:
        """Mesh (478, 2) in units of the picture's side -> float32 (3 + M,)."""
        centre, size = mesh.mean(0), face_size(mesh)
        flat = ((mesh - centre) / size).reshape(-1) - self.mean
        return np.concatenate([centre, [np.log(size)], flat @ self.directions.T]).astype(np.float32)

    def mesh(self, vector: np.ndarray) -> np.ndarray:
        """The way back: (3 + M,) -> float32 (478, 2)."""
        flat = self.mean + vector[3:] @ self.directions
        return (vector[:2] + flat.reshape(-1, 2) * np.exp(vector[2])).astype(np.float32)


def banks(arrays: Mapping[str, np.ndarray]) -> tuple[MotionBank, ShapeBank]:
    """The banks that a codebook's arrays hold."""
    directions, mean, shape = (
        arrays[name].astype(np.float32)
        for name in ("motion.directions", "shape.mean", "shape.directions")
    )
    return MotionBank(directions), ShapeBank(mean, shape)
