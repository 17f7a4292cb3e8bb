"""One pass over a clip's pictures: how the face moves, and which picture is the key frame.

Memory doesn't grow with the pictures: a frame leaves its ``MOTION`` projections, and a few dozen
candidates for the key frame are kept, thinned out as the clip goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from avcc.analysis.motion import MotionBank
from avcc.errors import MediaError
from avcc.media.mesh import FaceMesh
from avcc.mesh import MOUTH_GAPS, face_size
from avcc.stages import Clip

CANDIDATES = 48  # pictures kept at most
CLOSED = 0.7  # how much a closed mouth, or closed eyes, count as further away
LIDS = ((159, 145), (386, 374))
BLUR = 0.3  # how much a picture without any detail counts as further away


@dataclass(frozen=True)
class Look:
    """``picture``: uint8 (256, 256, 3), the key frame; ``mesh``: float32 (478, 2), its mesh in
    units of the side; ``motion``: float32 (N, K), coefficients relative to it; ``seen``: share of
    the frames in which the face was found."""

    picture: np.ndarray
    mesh: np.ndarray
    motion: np.ndarray
    seen: float


@dataclass(frozen=True)
class _Candidate:
    picture: np.ndarray
    mesh: np.ndarray
    place: np.ndarray  # (K,), its mesh on the bank's directions
    detail: float


def look(clip: Clip, bank: MotionBank, progress: Callable[[float], None] | None = None) -> Look:
    """Find the mesh of every frame and choose the key frame: the one nearest to all the others.

    Frames in which no face is found are filled in from their neighbours. Raises ``MediaError``
    where no frame shows a face.
    """
    places = np.full((clip.count, len(bank.directions)), np.nan, np.float32)
    kept: list[_Candidate] = []
    every = 1
    with FaceMesh() as finder:
        for i, picture in enumerate(clip.frames):
            if i == clip.count:
                break
            mesh = finder.points(picture)
            if mesh is not None:
                places[i] = bank.project(mesh)
                if i % every == 0:
                    kept.append(_Candidate(picture, mesh, places[i], _detail(picture)))
                    if len(kept) > CANDIDATES:
                        kept, every = kept[::2], every * 2
            if progress:
                progress((i + 1) / clip.count)
    found = np.flatnonzero(~np.isnan(places[:, 0]))
    if not len(found):
        raise MediaError("the face is too small, turned or hidden to be followed in any picture")
    key = _nearest(kept or [_again(clip, int(found[0]), bank)], places[found])
    frames = np.arange(clip.count)
    whole = np.stack([np.interp(frames, found, column[found]) for column in places.T], 1)
    motion = (whole - key.place) / face_size(key.mesh)
    return Look(key.picture, key.mesh, motion.astype(np.float32), len(found) / clip.count)


def _nearest(kept: list[_Candidate], places: np.ndarray) -> _Candidate:
    """The candidate with the smallest mean distance to all frames that shows what can't be made up.

    A warp can close a mouth and an eye, but not show the inside of what the key frame has closed:
    the mouth should be a little more open than mostly, the eyes as open as mostly.
    """
    sharpest = max(c.detail for c in kept) or 1.0
    mouths = np.array([_gap(c.mesh, MOUTH_GAPS) for c in kept])
    eyes = np.array([_gap(c.mesh, LIDS) for c in kept])
    mouth, eye = np.quantile(mouths, 0.6), np.median(eyes)

    def cost(i: int) -> float:
        c = kept[i]
        away = float(np.linalg.norm(places - c.place, axis=1).mean() / face_size(c.mesh))
        closed = abs(mouths[i] - mouth) / (mouth + 0.02) + max(0.0, 1 - eyes[i] / (eye + 1e-6))
        return (away + 0.05) * (1 + BLUR * (1 - c.detail / sharpest)) * (1 + CLOSED * closed)

    return kept[min(range(len(kept)), key=cost)]


def _gap(mesh: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> float:
    """Mean distance of pairs of mesh points in units of the face's size."""
    upper, lower = (mesh[[pair[i] for pair in pairs]] for i in (0, 1))
    return float(np.linalg.norm(upper - lower, axis=1).mean() / face_size(mesh))


def _detail(picture: np.ndarray) -> float:
    """Mean size of the brightness steps between neighbours in the middle of a picture."""
    grey = picture[48:208, 48:208].mean(2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def _again(clip: Clip, wanted: int, bank: MotionBank) -> _Candidate:
    """The candidate at one frame, for clips whose face was seen only between candidates."""
    with FaceMesh(static=True) as finder:
        for i, picture in enumerate(clip.frames):
            if i < wanted:
                continue
            mesh = finder.points(picture)
            if mesh is not None:
                return _Candidate(picture, mesh, bank.project(mesh), 1.0)
    raise MediaError("the face is too small, turned or hidden to be followed in any picture")
