"""The face mesh of a picture, found by our own network and followed from picture to picture."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from avcc import weights
from avcc.media.facenet import SIDE, MeshNet, fused
from avcc.media.finder import Finder
from avcc.media.upright import ROOM, frames_of

AGAIN = 2  # looks at a face that was just found: the first one says how it stands
TRIED = 12  # places of a picture in which a face may be, the likeliest first
SAME = 0.5  # of a face's size: two that are nearer are one


class Face(NamedTuple):
    """``mesh`` float32 (478, 2) in pixels; ``size``: the side of the box around it, upright;
    ``sure``: 0..1."""

    mesh: np.ndarray
    centre: np.ndarray
    size: float
    sure: float


class FaceMesh:
    """The mesh of the one face in a picture.

    ``static=True`` finds the face anew in each picture. ``static=False`` follows it from picture
    to picture, faster and steadier: for frames of one clip, in order. ``confidence``: 0..1, how
    sure the network must be that it sees a face. Raises ``ModelError`` where the weights are
    missing or damaged.
    """

    def __init__(self, *, static: bool = False, confidence: float = 0.5) -> None:
        self._static, self._confidence = static, confidence
        self._net, self._finder = _network(), Finder()
        self._last: np.ndarray | None = None  # the mesh before, in pixels

    def points(self, rgb: np.ndarray, near: np.ndarray | None = None) -> np.ndarray | None:
        """float32 (478, 2), x right and y down in units of the longer side; ``None``: no face.

        ``rgb``: uint8 (H, W, 3). Points may lie outside the picture. ``near``: a mesh, in the same
        units, about where the face is, where the picture doesn't follow the one before.
        """
        if near is not None:
            self._last = near * max(rgb.shape[:2])
        mesh = None if self._last is None else self._followed(rgb, self._last)
        if mesh is None:
            found = self.faces(rgb)
            # the face that is largest, if the network is about as sure of it
            best = max(found, key=lambda face: face.size * face.sure, default=None)
            mesh = None if best is None else best.mesh
        self._last = None if self._static else mesh
        return None if mesh is None else (mesh / max(rgb.shape[:2])).astype(np.float32)

    def faces(self, rgb: np.ndarray) -> list[Face]:
        """All faces in uint8 (H, W, 3), each looked at closely, the surest first."""
        places = self._finder.places(rgb)[:TRIED]
        if not len(places):
            return []
        axes = ROOM * places[:, 2, None, None] * np.eye(2)
        centre = places[:, None, :2]
        picture = _tensor(rgb)
        for _ in range(AGAIN):
            mesh, sure = self._look(picture, axes, centre)
            axes, centre = frames_of(mesh)
        found: list[Face] = []
        for i in np.argsort(-sure):
            size = float(np.linalg.norm(axes[i, 0])) / ROOM
            near = [f for f in found if np.linalg.norm(f.centre - centre[i, 0]) < SAME * f.size]
            if sure[i] >= self._confidence and not near:
                found.append(Face(mesh[i], centre[i, 0], size, float(sure[i])))
        return found

    def _followed(self, rgb: np.ndarray, last: np.ndarray) -> np.ndarray | None:
        axes, centre = frames_of(last[None])
        mesh, sure = self._look(_tensor(rgb), axes, centre)
        return mesh[0] if sure[0] >= self._confidence else None

    @torch.inference_mode()
    def _look(
        self, picture: Tensor, axes: np.ndarray, centre: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Meshes (N, 478, 2) in pixels of the picture (1, 3, H, W) from N squares, and how sure
        the network is of each (N,)."""
        there, sure = self._net(upright(picture, axes, centre))
        mesh = there.numpy() / 2 @ axes + centre
        return mesh.astype(np.float32), torch.sigmoid(sure).numpy()


def upright(picture: Tensor, axes: np.ndarray, centre: np.ndarray) -> Tensor:
    """What lies in N squares (``frames_of``, in pixels) of a picture (1, 3, H, W): (N, 3, 128,
    128). Squares of many more pixels than that are shrunk without aliasing."""
    factors = np.maximum(1, np.linalg.norm(axes[:, 0], axis=-1) // SIDE).astype(int)
    at = (torch.arange(SIDE) + 0.5) / SIDE - 0.5
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    pixels = torch.stack([columns, rows], -1).reshape(1, -1, 2)
    out = torch.empty(len(axes), 3, SIDE, SIDE)
    for factor in np.unique(factors).tolist():
        these = np.flatnonzero(factors == factor)
        small = picture
        if factor > 1:
            small = F.avg_pool2d(picture, factor, ceil_mode=True, count_include_pad=False)
        axis, middle = (torch.from_numpy(x[these] / factor).float() for x in (axes, centre))
        size = torch.tensor([small.shape[3], small.shape[2]], dtype=torch.float32)
        there = (2 * (pixels @ axis + middle) / size - 1).reshape(-1, SIDE, SIDE, 2)
        small = small.expand(len(these), -1, -1, -1)
        out[these] = F.grid_sample(small, there, align_corners=False)
    return out


def _tensor(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 127.5 - 1


@lru_cache(maxsize=1)
def _network() -> MeshNet:
    net = MeshNet()
    held = weights.tensors(weights.default(), "faces")
    net.load_state_dict({k.removeprefix("mesh."): v for k, v in held.items() if k[:5] == "mesh."})
    fused(net)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net
