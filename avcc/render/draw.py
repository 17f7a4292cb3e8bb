"""Motion -> pictures, drawn a few at a time as somebody iterates over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from avcc.render.face import KeyFeatures, Renderer
from avcc.render.unsharp import unsharp
from avcc.shots import neighbours
from avcc.stages import KeyFrame

BATCH = 4  # frames drawn at a time: more fall out of a core's cache
Meshes = Callable[[np.ndarray], np.ndarray]  # coefficients (B, K) -> meshes (B, 478, 2)


def placed(keys: Sequence[KeyFrame], motion: np.ndarray, meshes: Meshes) -> list[KeyFrame]:
    """Key frames where motion has the face in them: a later one fits the frame that it is, whatever
    motion made of its mesh."""
    first, *others = keys
    moved = meshes(motion[[key.frame for key in others]])
    return [first, *(replace(k, mesh=m) for k, m in zip(others, moved, strict=True))]


class Rendering:
    """The frames of a clip, uint8 (256, 256, 3) each; every iteration draws them anew, alike.

    ``keys``: key frames in the order of time; ``motion``: float32 (N, K) relative to the first;
    ``cuts``: frames at which another shot begins; ``wanted``: numbers of those that are, rising,
    int (n,), or all; ``sharpness``: what ``unsharp`` adds. A frame is drawn from the key frames of
    its shot before and after it. Their shares follow the time to each, so that none comes or goes
    at once.
    """

    def __init__(
        self,
        renderer: Renderer,
        keys: Sequence[KeyFrame],
        motion: np.ndarray,
        meshes: Meshes,
        device: str,
        cuts: tuple[int, ...] = (),
        wanted: np.ndarray | None = None,
        sharpness: float = 0.0,
    ) -> None:
        self._renderer, self._device = renderer, device
        self._keys, self._at = keys, [key.frame for key in keys]
        self._motion, self._meshes = motion, meshes
        self._wanted = np.arange(len(motion)) if wanted is None else wanted
        self._pairs = neighbours(np.array(self._at), self._wanted, cuts)
        self._sharpness = sharpness

    def __len__(self) -> int:
        return len(self._wanted)

    def __iter__(self) -> Iterator[np.ndarray]:
        known: dict[int, KeyFeatures] = {}
        first = 0
        while first < len(self):
            ahead = self._pairs[:, first : first + BATCH]
            same = (ahead == ahead[:, :1]).all(0)
            frames = self._wanted[first:][: len(same) if same.all() else int(same.argmin())]
            first += len(frames)
            used = tuple(dict.fromkeys(ahead[:, 0].tolist()))
            known = {i: known[i] if i in known else self._features(i) for i in used}
            code = self._motion[frames]
            with torch.inference_mode():
                keys = [known[i].expand(len(code)) for i in used]
                mesh = torch.from_numpy(self._meshes(code)).to(self._device)
                motion = torch.from_numpy(code).to(self._device)
                out = self._renderer(keys, mesh, motion, self._shares(used, frames))
                out = unsharp(out, self._sharpness)
                drawn = ((out + 1) * 127.5).round().clamp(0, 255).byte()
                pictures = drawn.permute(0, 2, 3, 1).cpu().numpy()
            yield from (np.ascontiguousarray(p) for p in pictures)

    def _shares(self, used: tuple[int, ...], frames: np.ndarray) -> Tensor | None:
        """Logarithms of the shares (2, B) that two key frames have by time alone."""
        if len(used) == 1:
            return None
        a, b = (self._at[i] for i in used)
        later = torch.from_numpy(frames - a).to(self._device) / (b - a)
        return torch.stack([1 - later, later]).clamp_min(1e-6).log()

    def _features(self, number: int) -> KeyFeatures:
        key = self._keys[number]
        with torch.inference_mode():
            picture = torch.from_numpy(key.picture).to(self._device)
            picture = picture.permute(2, 0, 1)[None].float() / 127.5 - 1
            picture = picture.contiguous(memory_format=torch.channels_last)
            mesh = torch.from_numpy(key.mesh).to(self._device)[None]
            size = torch.tensor([key.size], device=self._device)
            told = key.restored
            share = None if told is None else torch.tensor([told], device=self._device)
            return self._renderer.key(picture, mesh, size, share)
