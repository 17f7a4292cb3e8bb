"""Pictures that an encoder draws, as a decoder would, and how far they are from what they should be
(analysis by synthesis, as speech coders have it: Atal and Remde 1982)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from avcc.encoder import Encoder
from avcc.render.draw import Rendering
from avcc.stages import KeyFrame

# How unlike pictures are, among drawings of one clip, follows LPIPS more nearly by both of these
# than by either: brightness, and how much detail there is around each pixel (docs/training.md).
DIFFERENCE = 6.0  # weight of the mean absolute difference, black to white being 2
AROUND = 9  # pixels of the square in which detail is counted
FAINT = 0.02  # detail below it counts as none


def drawn(nets: Encoder, shown: KeyFrame, motion: np.ndarray) -> list[np.ndarray]:
    """Pictures uint8 (256, 256, 3) of coefficients float32 (n, K), which are relative to the mesh
    of ``shown``: the only key frame, as it is decoded."""

    def meshes(some: np.ndarray) -> np.ndarray:
        return nets.bank.meshes(some, shown.mesh)

    return list(Rendering(nets.renderer, [shown], motion, meshes, nets.device))


def squared(pictures: Sequence[np.ndarray], looks: Sequence[KeyFrame]) -> float:
    """Mean squared error of pictures that should be those of ``looks``, in squared steps of 255."""
    pairs = zip(pictures, looks, strict=True)
    return float(
        np.mean([np.square(a - look.picture.astype(np.float32)).mean() for a, look in pairs])
    )


def unlike(pictures: Sequence[np.ndarray], looks: Sequence[KeyFrame]) -> float:
    """How unlike pictures are those of ``looks``: 0 where they are the same."""
    with torch.inference_mode():
        a, b = _planes(pictures), _planes([look.picture for look in looks])
        off = (a - b).abs().mean()
        lost = sum((x - y).abs().mean() for x, y in zip(_details(a), _details(b), strict=True))
        return float(DIFFERENCE * off + lost)


def _planes(pictures: Sequence[np.ndarray]) -> Tensor:
    """(n, 3, H, W) in -1..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _details(x: Tensor) -> list[Tensor]:
    """Logarithm of the root mean square of steps across and down, around each pixel."""
    grey = x.mean(1, keepdim=True)
    steps = grey.diff(dim=3)[:, :, :-1], grey.diff(dim=2)[..., :-1]
    half = AROUND // 2
    sums = [F.avg_pool2d(one.square(), AROUND, 1, half, count_include_pad=False) for one in steps]
    return [torch.log(one.sqrt() + FAINT) for one in sums]
