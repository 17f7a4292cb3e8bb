"""Pictures that an encoder draws, as a decoder would, and how far they are from what they should be
(analysis by synthesis, as speech coders have it: Atal and Remde 1982)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from avcc.encoder import Encoder
from avcc.media.mesh import FaceMesh
from avcc.mesh import LIPS, face_size, opening
from avcc.render.draw import Rendering, placed
from avcc.stages import SIDE, KeyFrame

# How unlike pictures are, among drawings of one clip, follows LPIPS more nearly by both of these
# than by either: brightness, and how much detail there is around each pixel (docs/training.md).
DIFFERENCE = 6.0  # weight of the mean absolute difference, black to white being 2
AROUND = 9  # pixels of the square in which detail is counted
FAINT = 0.02  # detail below it counts as none
MOUTH = 1.0  # how much the square of the mouth counts beside the whole picture
WIDE = 0.85  # half its side, in widths of the lips
LEAST = 16  # pixels, of that


def drawn(
    nets: Encoder,
    keys: Sequence[KeyFrame],
    motion: np.ndarray,
    cuts: tuple[int, ...] = (),
    wanted: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Pictures uint8 (256, 256, 3) of coefficients float32 (N, K), which are relative to the mesh
    of the first of ``keys``, as they are decoded. ``cuts``, ``wanted``: as in ``Rendering``."""
    meshes = partial(nets.bank.meshes, key=keys[0].mesh)
    known = placed(keys, motion, meshes)
    return list(Rendering(nets.renderer, known, motion, meshes, nets.device, cuts, wanted))


def restored(nets: Encoder, shown: KeyFrame, share: float) -> np.ndarray:
    """A decoded key frame as drawing takes it, restored so far: float32 (256, 256, 3), 0 to 255."""
    with torch.inference_mode():
        picture = _plane(shown.picture).to(nets.device)
        mesh = torch.from_numpy(shown.mesh)[None].to(nets.device)
        told = (torch.tensor([x], device=nets.device) for x in (shown.size, share))
        out = nets.renderer.key(picture, mesh, *told).picture[0]
    found: np.ndarray = ((out + 1) * 127.5).permute(1, 2, 0).cpu().numpy()
    return found


def filled(told: np.ndarray) -> np.ndarray | None:
    """Motion float32 (N, K) where rows of NaN weren't sent, with these from their neighbours;
    ``None`` where none was sent. A decoder does better, but not by much at a stride of a few."""
    sent = np.flatnonzero(~np.isnan(told[:, 0]))
    if not len(sent):
        return None
    frames = np.arange(len(told))
    return np.stack([np.interp(frames, sent, column[sent]) for column in told.T], 1).astype(
        np.float32
    )


def squared(pictures: Sequence[np.ndarray], looks: Sequence[KeyFrame]) -> float:
    """Mean squared error of pictures that should be those of ``looks``, in squared steps of 255."""
    pairs = zip(pictures, looks, strict=True)
    return float(
        np.mean([np.square(a - look.picture.astype(np.float32)).mean() for a, look in pairs])
    )


class Unlikeness:
    """How unlike pictures are those of ``looks``, above all at the mouth: 0 where they are the
    same."""

    def __init__(self, looks: Sequence[KeyFrame]) -> None:
        self._mouths = [_mouth(look.mesh) for look in looks]
        self._true = self._views([look.picture for look in looks])

    def __call__(self, pictures: Sequence[np.ndarray]) -> float:
        """Of pictures uint8 (256, 256, 3), as many as there were looks."""
        off = []
        for (a, sharp), (b, true) in zip(self._views(pictures), self._true, strict=True):
            lost = [(x - y).abs().mean() for x, y in zip(sharp, true, strict=True)]
            off.append(float(DIFFERENCE * (a - b).abs().mean() + sum(lost)))
        return float(np.mean(off[::2]) + MOUTH * np.mean(off[1::2]))

    def _views(self, pictures: Sequence[np.ndarray]) -> list[tuple[Tensor, list[Tensor]]]:
        """Each picture and its mouth, in turn: brightness, and details."""
        pairs = zip(pictures, self._mouths, strict=True)
        planes = [_plane(part) for whole, at in pairs for part in (whole, whole[at])]
        return [(plane, _details(plane)) for plane in planes]


def lips_off(
    finder: FaceMesh,
    pictures: Sequence[np.ndarray],
    looks: Sequence[KeyFrame],
    near: np.ndarray,
) -> np.ndarray:
    """How far lips that are found in pictures are from those of ``looks``, and how far their
    openings, in sizes of the face: means, (2,); infinite where no face is found. ``near``: about
    where the faces are, meshes (n, 478, 2)."""
    off = []
    for picture, look, where in zip(pictures, looks, near, strict=True):
        mesh = finder.points(picture, near=where)
        if mesh is not None:
            away = np.linalg.norm((mesh - look.mesh)[list(LIPS)], axis=1).mean()
            gap = abs(opening(mesh) - opening(look.mesh))
            off.append([away / face_size(look.mesh), gap])
    return np.mean(off, 0) if off else np.full(2, np.inf)


def _mouth(mesh: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a square around the lips, as much of it as lies in the picture."""
    lips = mesh[list(LIPS)] * SIDE
    half = max(WIDE * float(np.ptp(lips, 0).max()), LEAST)
    # the middle is brought into the picture, so that something of the square is
    middle = np.clip(lips.mean(0), 0, SIDE)
    (x, y), (right, below) = np.maximum(middle - half, 0), np.minimum(middle + half, SIDE)
    return slice(int(y), int(below)), slice(int(x), int(right))


def _plane(picture: np.ndarray) -> Tensor:
    """(1, 3, H, W) in -1..1."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def _details(x: Tensor) -> list[Tensor]:
    """Logarithm of the root mean square of steps across and down, around each pixel."""
    grey = x.mean(1, keepdim=True)
    steps = grey.diff(dim=3)[:, :, :-1], grey.diff(dim=2)[..., :-1]
    return [torch.log(_around(one.square()).sqrt() + FAINT) for one in steps]


def _around(x: Tensor) -> Tensor:
    """Means over squares, of what of them lies in the picture: down, then across."""
    half = AROUND // 2
    for size, pad in (((AROUND, 1), (half, 0)), ((1, AROUND), (0, half))):
        x = F.avg_pool2d(x, size, 1, pad, count_include_pad=False)
    return x
