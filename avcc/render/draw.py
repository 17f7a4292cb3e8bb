"""Motion -> pictures, drawn a few at a time as somebody iterates over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from avcc.render.face import Renderer
from avcc.stages import Features

BATCH = 4  # frames drawn at a time: more fall out of a core's cache


class Rendering:
    """The frames of a clip, uint8 (256, 256, 3) each; every iteration draws them anew, alike.

    ``features``: key frame and its mesh; ``motion``: float32 (N, K) relative to it; ``meshes``:
    coefficients (B, K) -> meshes (B, 478, 2).
    """

    def __init__(
        self,
        renderer: Renderer,
        features: Features,
        motion: np.ndarray,
        meshes: Callable[[np.ndarray], np.ndarray],
        device: str,
    ) -> None:
        self._renderer, self._device = renderer, device
        self._picture, self._mesh = features.picture, features.mesh
        self._motion, self._meshes = motion, meshes

    def __len__(self) -> int:
        return len(self._motion)

    def __iter__(self) -> Iterator[np.ndarray]:
        with torch.inference_mode():
            picture = torch.from_numpy(self._picture).to(self._device)
            picture = picture.permute(2, 0, 1)[None].float() / 127.5 - 1
            picture = picture.contiguous(memory_format=torch.channels_last)
            mesh = torch.from_numpy(self._mesh).to(self._device)[None]
            key = self._renderer.key(picture, mesh)
        for a in range(0, len(self._motion), BATCH):
            code = self._motion[a : a + BATCH]
            with torch.inference_mode():
                mesh = torch.from_numpy(self._meshes(code)).to(self._device)
                out = self._renderer(
                    key.expand(len(code)), mesh, torch.from_numpy(code).to(self._device)
                )
                drawn = ((out + 1) * 127.5).round().clamp(0, 255).byte()
                pictures = drawn.permute(0, 2, 3, 1).cpu().numpy()
            yield from (np.ascontiguousarray(p) for p in pictures)
