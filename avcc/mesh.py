"""MediaPipe's face mesh: which of its 478 points are what, and the size of a face."""

from __future__ import annotations

import numpy as np

POINTS = 478  # 468 of the mesh and 5 an iris

# Outer ring of the lips first, then the inner one.
LIPS = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
)  # fmt: skip
EYES = (
    33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7,
    263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249,
)  # fmt: skip
IRISES = tuple(range(468, 478))
INNER_LIPS = LIPS[20:]
MOUTH_GAPS = ((13, 14), (82, 87), (312, 317))  # upper over lower, middle and both sides
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
INSIDE = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    1, 4, 5, 6, 168, 195, 98, 327, 129, 358,  # nose
    50, 280, 205, 425, 118, 347, 101, 330, 187, 411, 151, 9,  # cheeks, forehead
    468, 473,  # irises
)  # fmt: skip


def face_size(mesh: np.ndarray) -> np.ndarray:
    """RMS radius of the mesh (..., 478, 2) -> (...): a size that survives a turned head."""
    centre = mesh.mean(-2, keepdims=True)
    return np.sqrt(np.square(mesh - centre).sum(-1).mean(-1))


def opening(mesh: np.ndarray, pairs: tuple[tuple[int, int], ...] = MOUTH_GAPS) -> float:
    """Mean distance of pairs of points of a mesh (478, 2), in sizes of the face."""
    upper, lower = (mesh[[pair[i] for pair in pairs]] for i in (0, 1))
    return float(np.linalg.norm(upper - lower, axis=1).mean() / face_size(mesh))


def point_weights() -> np.ndarray:
    """How much each mesh point counts, float32 (478,)."""
    weight = np.ones(POINTS, np.float32)
    weight[list(LIPS)] = 2.5
    weight[list(EYES)] = 2.0
    weight[list(IRISES)] = 1.5
    return weight
