"""MediaPipe's face mesh with a gradient: how far a drawn face's lips and eyes are from true ones.

The weights are those of the MediaPipe that is installed (Apache 2.0); nothing of them is kept.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.mesh import point_weights
from avcc.training.tflite import Graph

SIDE = 192  # pixels of the upright face that the network sees
ROOM = 1.5  # its side, in boxes around the mesh
CORNERS = (33, 263)  # outer corners of the eyes: level in the upright face
IRISES = (468, 473)


class Landmarks(nn.Module):
    """Pictures -> meshes, found where the face is known to be."""

    def __init__(self) -> None:
        super().__init__()
        import mediapipe

        folder = Path(mediapipe.__file__).parent / "modules" / "face_landmark"
        self.graph = Graph(folder / "face_landmark_with_attention.tflite")
        self.register_buffer("weight", torch.from_numpy(point_weights()))
        self.weight: Tensor

    def forward(self, picture: Tensor, near: Tensor) -> Tensor:
        """(B, 3, 256, 256) in -1..1 and a mesh of about this face (B, 478, 2) -> (B, 478, 2)."""
        frame, centre = _upright(near)
        at = (torch.arange(SIDE, device=picture.device) + 0.5) / SIDE - 0.5
        rows, columns = torch.meshgrid(at, at, indexing="ij")
        pixels = torch.stack([columns, rows], -1).reshape(1, -1, 2)
        there = (pixels @ frame + centre).reshape(-1, SIDE, SIDE, 2)
        face = F.grid_sample(picture / 2 + 0.5, there * 2 - 1, align_corners=False)
        first, *parts, _ = self.graph(face)
        mesh = first.reshape(len(picture), -1, 3)[..., :2]
        lips, *eyes = (p.reshape(len(picture), -1, 2) for p in parts)
        mesh = torch.cat([mesh, *eyes[2:]], 1)
        for points, part in zip(self.graph.regions, (lips, *eyes[:2]), strict=True):
            index = torch.tensor(points, device=mesh.device)
            mesh = mesh.index_copy(1, index, part)
        return (mesh / SIDE - 0.5) @ frame + centre

    def distance(self, drawn: Tensor, true: Tensor, near: Tensor) -> Tensor:
        """Mean distance of the points of two pictures' meshes, in distances of the eyes; lips and
        eyes count more, as in the motion codes."""
        with torch.no_grad():
            real = self(true, near)
        eyes = (real[:, IRISES[0]] - real[:, IRISES[1]]).norm(dim=-1).clamp_min(0.02)
        away = (self(drawn, near) - real).abs().sum(-1) / eyes[:, None]
        return (away * self.weight).mean() / self.weight.mean()


def _upright(mesh: Tensor) -> tuple[Tensor, Tensor]:
    """The square in which the face stands upright: its axes (B, 2, 2), as long as its side, and
    its centre (B, 1, 2)."""
    a, b = (mesh[:, i] for i in CORNERS)
    along = F.normalize(b - a, dim=-1)
    axes = torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], -1)], 1)
    turned = mesh[:, : IRISES[0]] @ axes.transpose(1, 2)
    low, high = turned.amin(1), turned.amax(1)
    side = ROOM * (high - low).amax(1)
    return axes * side[:, None, None], ((low + high) / 2)[:, None] @ axes
