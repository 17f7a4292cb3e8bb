"""The crop put back into a still of its surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from avcc.pictures import resized
from avcc.stages import SCENE_EDGE, SIDE, Crop

BORDER = 3  # pixels around a picture, for what cubic interpolation reaches beyond it
LONGEST = 8192  # pixels of a side: what writers of videos take


def size_of(crop: Crop, pixels: int) -> tuple[int, int]:
    """(width, height) of the whole picture, even numbers: the source's where it has no more than
    so many ``pixels``, otherwise smaller in proportion."""
    width, height = crop.width, crop.height
    scale = min(1.0, (pixels / (width * height)) ** 0.5, LONGEST / max(width, height))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


class Scene:
    """A still, uint8 (S, S, 3), stretched to the whole picture; pictures of the crop go into it.

    The crop's edges fade into the still over ``SCENE_EDGE`` of its side, except where they lie on
    the picture's own border. Memory and time follow from ``pixels``, whatever ``crop`` says.
    """

    def __init__(self, still: np.ndarray, crop: Crop, pixels: int) -> None:
        self.size = size_of(crop, pixels)
        self._still = resized(still, *self.size)
        (width, height), whole = self.size, (crop.width, crop.height)
        across = _Axis(crop.x * width / whole[0], crop.side * width / whole[0], width)
        down = _Axis(crop.y * height / whole[1], crop.side * height / whole[1], height)
        self._across, self._down = across, down
        self._window = np.s_[down.first : down.last, across.first : across.last]
        self._edges = [self._edge(part) for part in _rim(down.weight, across.weight)]

    def __call__(self, face: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3): the whole picture with ``face``, uint8 (256, 256, 3), in its place."""
        out = self._still.copy()
        across, down = self._across, self._down
        if across.last <= across.first or down.last <= down.first:  # it lies beside the picture
            return out
        square = self._shown(face)
        for part, under, weight in self._edges:
            square[part] = np.rint(under + square[part] * weight)
        out[self._window] = square
        return out

    def _shown(self, face: np.ndarray) -> np.ndarray:
        """What of ``face`` lies inside the picture, at the size that it has there."""
        from PIL import Image

        axes = self._across, self._down
        sides = self._across.whole, self._down.whole
        if sides[0] and sides[1]:  # much faster than the general case, and exact
            square = resized(face, *sides)
            part = [slice(a.first - int(a.start), a.last - int(a.start)) for a in axes]
            return square[part[1], part[0]]
        least = tuple(max(1, min(SIDE, round(axis.side))) for axis in axes)
        small = np.pad(resized(face, *least), ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), "edge")
        move = np.zeros((2, 3))  # from pixels of the window to those of the small picture
        for row, (axis, count) in enumerate(zip(axes, least, strict=True)):
            scale = count / axis.side
            move[row, row] = scale
            move[row, 2] = (axis.first - axis.start) * scale + BORDER
        size = self._across.last - self._across.first, self._down.last - self._down.first
        how = Image.Transform.AFFINE, tuple(move.ravel()), Image.Resampling.BICUBIC
        return np.array(Image.fromarray(small).transform(size, *how))

    def _edge(
        self, part: tuple[slice, slice]
    ) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """Where in the crop it fades, what the still adds there, and the crop's weight."""
        weight = np.outer(self._down.weight[part[0]], self._across.weight[part[1]])[..., None]
        return part, self._still[self._window][part] * (1 - weight), weight


class _Axis:
    """The crop along one axis of ``count`` pixels: where it starts, how long it is, the pixels
    ``first`` to before ``last`` that it covers, and its weight in each of them. ``whole``: its
    side in pixels where it lies exactly on them, and not far beyond the picture, otherwise 0."""

    def __init__(self, start: float, side: float, count: int) -> None:
        self.start, self.side = start, side
        self.first = int(np.clip(np.floor(start), 0, count))
        self.last = int(np.clip(np.ceil(start + side), 0, count))
        exact = float(start).is_integer() and float(side).is_integer()
        self.whole = int(side) if exact and side <= 2 * count else 0
        at = np.arange(self.first, self.last, dtype=np.float32) + 0.5
        width = max(1.0, SCENE_EDGE * side)
        self.weight = np.ones(len(at), np.float32)
        if start > 0:
            self.weight *= _ramp((at - start) / width)
        if start + side < count:
            self.weight *= _ramp((start + side - at) / width)


def _rim(down: np.ndarray, across: np.ndarray) -> list[tuple[slice, slice]]:
    """Top, bottom, left and right of where weights are below 1; they don't overlap."""
    (top, bottom), (left, right) = (
        (int((w < 1).argmin()), len(w) - int((w < 1)[::-1].argmin())) if (w == 1).any() else (0, 0)
        for w in (down, across)
    )
    rows = slice(top, bottom)
    everywhere = slice(None)
    parts = [(slice(0, top), everywhere), (slice(bottom, None), everywhere)]
    return [*parts, (rows, slice(0, left)), (rows, slice(right, None))]


def _ramp(share: np.ndarray) -> np.ndarray:
    """0 to 1 over shares of 0 to 1, level at both ends."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


class Composed:
    """Whole pictures, made as they are iterated."""

    def __init__(self, faces: Iterable[np.ndarray], scene: Scene) -> None:
        self._faces, self._scene = faces, scene

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._scene, self._faces)
