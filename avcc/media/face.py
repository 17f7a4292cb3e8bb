"""Where the person talks: find the face, follow it, and choose one square for the whole clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from avcc.errors import MediaError
from avcc.media.crop import cut, whole
from avcc.media.mesh import FaceMesh
from avcc.stages import Crop

__all__ = ["Box", "Detector", "crop_of", "cut", "find_crop"]

# A box is as large as MediaPipe's full-range detector draws it, 0.97 of the side of the square
# around the upright mesh (5 to 95 %: 0.89 to 1.03, 1,061 training frames).
SIZE = 0.97
# Measured over 74 of the training clips (docs/design.md says which) with that detector: the box is
# 0.52 of the picture's side (5 to 95 %: 0.42 to 0.67), its centre at (0.50, 0.51).
SIDE_OF_BOX = 1.92  # the crop's side, in face boxes; it is 2.1 boxes of the short-range model
CENTRE_Y = 0.513  # where in the crop the box's centre lies; across, it is the middle
ROOM = 0.62  # of a box, to each side of its centre: what must stay in the crop as the face moves
SHIFT = 0.10  # of the side: how far off centre a crop may slide to stay within the picture
FILL = 0.67  # of the side: the largest face that the training clips hold
WHOLE_RATIO = (0.34, 0.90)  # a square picture with a face of this size is a crop already
WHOLE_OFFSET = 0.15  # and with a face no further off centre than this


class Box(NamedTuple):
    """One face in one picture, in pixels: centre, longer side, and the detector's confidence."""

    x: float
    y: float
    size: float
    confidence: float


@dataclass
class _Track:
    """One person over the samples; ``steps`` are the samples' numbers."""

    boxes: list[Box] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    weight: float = 0.0


class Detector:
    """All faces of a picture."""

    def __init__(self, confidence: float = 0.5) -> None:
        self._mesh = FaceMesh(static=True, confidence=confidence)

    def boxes(self, rgb: np.ndarray) -> list[Box]:
        """The faces in uint8 (H, W, 3), the surest first."""
        found = self._mesh.faces(rgb)
        return [
            Box(float(face.centre[0]), float(face.centre[1]), face.size * SIZE, face.sure)
            for face in found
        ]


def find_crop(
    samples: Iterable[tuple[float, np.ndarray]],
    width: int,
    height: int,
    warn: Callable[[str], None] | None = None,
    *,
    name: str = "the clip",
) -> Crop:
    """One square for a clip of ``width`` x ``height`` pixels, around its most prominent face.

    ``samples``: (seconds, uint8 (h, w, 3) RGB) in order of time, of the same shape as the clip's
    pictures but of any scale. ``warn`` gets a sentence where several faces are seen, or where the
    face is seen in less than half of the samples.

    Raises ``MediaError`` where no sample shows a face.
    """
    tracks: list[_Track] = []
    crowd: list[int] = []
    detector = Detector()
    for step, (_, rgb) in enumerate(samples):
        scale = width / rgb.shape[1]
        found = [
            Box(b.x * scale, b.y * scale, b.size * scale, b.confidence) for b in detector.boxes(rgb)
        ]
        crowd.append(len(found))
        _follow(tracks, found, step, width, height)
    if not tracks:
        raise MediaError(f"no face was found in {name}")
    best = max(tracks, key=lambda track: track.weight)
    if warn is not None:
        # A face in one sample of many is more often a mistake of the detector than a person.
        often = max(1, round(0.1 * len(crowd)))
        people = max(n for n in range(1, max(crowd) + 1) if sum(c >= n for c in crowd) >= often)
        if people > 1:
            warn(f"several faces: kept the most prominent ({people} seen)")
        if len(best.steps) * 2 < len(crowd):
            share = round(100 * len(best.steps) / len(crowd))
            warn(f"the face is visible in only {share} % of {name}")
    return crop_of(best.boxes, width, height)


def _follow(tracks: list[_Track], found: list[Box], step: int, width: int, height: int) -> None:
    """Add one sample's boxes to the tracks that they continue, nearest pairs first."""
    live = [t for t in tracks if t.steps[-1] < step]
    alone = len(found) == 1 and sum(t.steps[-1] == step - 1 for t in live) == 1
    pairs = []
    for b, box in enumerate(found):
        for t, track in enumerate(live):
            last = track.boxes[-1]
            size = max(box.size, last.size)
            distance = float(np.hypot(box.x - last.x, box.y - last.y)) / size
            # One face before and one now: the same person, even after a leap or a quick turn.
            reach = 2.5 if alone and track.steps[-1] == step - 1 else 0.75
            if distance < reach and min(box.size, last.size) > 0.5 * size:
                pairs.append((distance, b, t))
    taken: set[int] = set()
    used: set[int] = set()
    owner: dict[int, _Track] = {}
    for _, b, t in sorted(pairs):
        if b not in taken and t not in used:
            taken.add(b)
            used.add(t)
            owner[b] = live[t]
    for b, box in enumerate(found):
        if b not in owner:
            owner[b] = _Track()
            tracks.append(owner[b])
        track = owner[b]
        track.boxes.append(box)
        track.steps.append(step)
        # Large, sure and central; summed, so that staying counts too.
        off = np.hypot(box.x / width - 0.5, box.y / height - 0.5)
        track.weight += box.size**2 * box.confidence * max(0.2, 1 - float(off))


def crop_of(boxes: list[Box], width: int, height: int) -> Crop:
    """The square for one face's ``boxes`` over a clip, in pixels of the whole picture."""
    table = np.array([(b.x, b.y, b.size) for b in boxes], np.float64)
    x, y, size = np.median(table, axis=0)
    if _is_crop_already(x, y, size, width, height):
        return whole(width, height)
    # All but the wildest hundredth of the samples must fit; few samples must fit all.
    room = ROOM * table[:, 2:]
    low = np.percentile(table[:, :2] - room, 1, axis=0, method="lower")
    high = np.percentile(table[:, :2] + room, 99, axis=0, method="higher")
    travel = float((high - low).max())
    side = max(SIDE_OF_BOX * size, travel)
    short = min(width, height)
    if side > short:
        # A close-up: a face larger than usual is better than a border of smeared edge pixels.
        side = max(short, min(side, max(travel, size / FILL)))
    corner = np.array([x - side / 2, y - CENTRE_Y * side])
    corner = np.clip(corner, high - side, low)
    # Slide towards the picture as far as the face allows: real pixels, not repeated ones.
    end = np.array([width, height]) - side
    inside = np.clip(corner, np.minimum(0, end), np.maximum(0, end))
    slack = SHIFT * side
    first, last = np.maximum(corner - slack, high - side), np.minimum(corner + slack, low)
    corner = np.clip(inside, first, last)
    return Crop(round(corner[0]), round(corner[1]), round(side), width, height)


def _is_crop_already(x: float, y: float, size: float, width: int, height: int) -> bool:
    """Whether the picture is such a square by itself, as the clips of data sets are."""
    side = max(width, height)
    if side - min(width, height) > 0.02 * side:
        return False
    ratio = size / side
    off = max(abs(x / width - 0.5), abs(y / height - CENTRE_Y))
    return WHOLE_RATIO[0] <= ratio <= WHOLE_RATIO[1] and off <= WHOLE_OFFSET
