"""The square in which a face stands upright: what the face mesh is found in."""

from __future__ import annotations

import numpy as np

ROOM = 1.5  # side of the square, in sides of the box around the mesh
CORNERS = (33, 263)  # outer corners of the eyes: level in the upright face
OUTLINE = 468  # points of the mesh, without the irises


def frames_of(mesh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Meshes (N, 478, 2) -> axes (N, 2, 2), as long as the square's side, and centres (N, 1, 2).

    A point of the square, -0.5..0.5 from its centre, lies at ``point @ axes + centre``.
    """
    a, b = (mesh[:, i] for i in CORNERS)
    along = b - a
    along = along / np.linalg.norm(along, axis=-1, keepdims=True).clip(1e-9)
    axes = np.stack([along, np.stack([-along[:, 1], along[:, 0]], -1)], 1)
    turned = mesh[:, :OUTLINE] @ axes.transpose(0, 2, 1)
    low, high = turned.min(1), turned.max(1)
    side = ROOM * (high - low).max(1)
    centre = ((low + high) / 2)[:, None] @ axes
    return axes * side[:, None, None], centre
