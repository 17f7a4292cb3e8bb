"""One pass over a clip's pictures: how the face moves, and which pictures may be key frames.

Memory doesn't grow with the pictures: a frame leaves its ``MOTION`` projections, and a few dozen
candidates for the key frames are kept, thinned out as the clip goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from avcc.analysis.cuts import cuts, small
from avcc.analysis.keys import Candidate, acutance, chosen_keys
from avcc.analysis.motion import MotionBank
from avcc.errors import MediaError
from avcc.media.mesh import FaceMesh
from avcc.stages import SIDE, Clip, KeyFrame

CANDIDATES = 96  # pictures kept at most
LOOKS = 24  # of them, that are given on
FOLLOWED = 0.8  # share of the pictures: with fewer, a person is told

NEVER = "the face is too small, turned or hidden to be followed in any picture"


@dataclass(frozen=True)
class Look:
    """``keys``: key frames, the best first; ``away``: how far the frames are from the first 1, 2,
    ... of them, in sizes of the face; ``motion``: float32 (N, K), coefficients relative to
    ``keys[0]``; ``seen``: share of the frames in which the face was found; ``cuts``: where shots
    begin; ``looks``: some frames that show a face, in the order of time; ``rivals``: as in
    ``keys.Choice``."""

    keys: tuple[KeyFrame, ...]
    away: np.ndarray
    motion: np.ndarray
    seen: float
    cuts: tuple[int, ...] = ()
    looks: tuple[KeyFrame, ...] = ()
    rivals: tuple[KeyFrame, ...] = ()


def look(clip: Clip, bank: MotionBank, progress: Callable[[float], None] | None = None) -> Look:
    """Find the mesh of every frame and choose the key frames.

    Frames in which no face is found are filled in from their neighbours. Raises ``MediaError``
    where no frame shows a face, or one isn't of the canonical size.
    """
    places = np.full((clip.count, len(bank.directions)), np.nan, np.float32)
    kept: list[Candidate] = []
    changes = np.zeros(clip.count, np.float32)
    last: np.ndarray | None = None
    every = 1
    finder = FaceMesh()
    for i, picture in enumerate(clip.frames):
        if i == clip.count:
            break
        if np.shape(picture) != (SIDE, SIDE, 3):
            raise MediaError(f"pictures of a clip to code are {SIDE}x{SIDE}, cut to the face")
        now = small(picture)
        changes[i] = 0 if last is None else np.abs(now - last).mean()
        last = now
        mesh = finder.points(picture)
        if mesh is not None:
            places[i] = bank.project(mesh)
            if i % every == 0:
                kept.append(Candidate(KeyFrame(picture, mesh, i), places[i], acutance(picture)))
                if len(kept) > CANDIDATES:
                    kept, every = kept[::2], every * 2
        if progress:
            progress((i + 1) / clip.count)
    found = np.flatnonzero(~np.isnan(places[:, 0]))
    if not len(found):
        raise MediaError(NEVER)
    kept = kept or [_again(clip, int(found[0]), bank)]
    shots = cuts(changes)
    keys, away, rivals = chosen_keys(kept, found, places[found], shots)
    frames = np.arange(clip.count)
    whole = np.stack([np.interp(frames, found, column[found]) for column in places.T], 1)
    motion = bank.relative(whole, keys[0].mesh)
    some = np.unique(np.linspace(0, len(kept) - 1, LOOKS).round().astype(int))
    looks = tuple(kept[i].key for i in some)
    return Look(keys, away, motion, len(found) / clip.count, shots, looks, rivals)


def rarely(seen: float) -> str | None:
    """A sentence for a person, where the face was found in a small share of the pictures."""
    if seen >= FOLLOWED:
        return None
    return f"the face could be followed in only {seen:.0%} of the pictures"


def _again(clip: Clip, wanted: int, bank: MotionBank) -> Candidate:
    """The candidate at one frame, for clips whose face was seen only between candidates."""
    finder = FaceMesh(static=True)
    for i, picture in enumerate(clip.frames):
        if i < wanted:
            continue
        mesh = finder.points(picture)
        if mesh is not None:
            return Candidate(KeyFrame(picture, mesh, i), bank.project(mesh), 1.0)
    raise MediaError(NEVER)
