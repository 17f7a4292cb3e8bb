"""Which frames are sent as pictures: those that the others can best be drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from avcc.mesh import face_size, opening
from avcc.shots import neighbours, shots
from avcc.stages import KeyFrame

CLOSED = 0.7  # how much a closed mouth, or closed eyes, count as further away
LIDS = ((159, 145), (386, 374))
BLUR = 0.3  # how much a picture without any detail counts as further away
ITSELF = 0.05  # how far away a frame counts as from itself, in sizes of the face
LOOKED_AT = 1500  # frames of a long clip for which the distance is taken
ACROSS = 100.0  # how much further away a frame of another shot counts
MOST = 64  # key frames of a clip
FAVOURED, FURTHER = 8, 3  # rivals of the first key frame: the next best, and from further down
DOWN = 2 / 3  # how far down, of all candidates


@dataclass(frozen=True)
class Candidate:
    """A frame that may become a key frame. ``place``: (K,), its mesh on the bank's directions;
    ``detail``: how sharp the picture is, in any unit."""

    key: KeyFrame
    place: np.ndarray
    detail: float


class Choice(NamedTuple):
    """``keys``: the best first, whoever sends n of them sends the first n; ``away``: for each n how
    far the frames are from those that they are drawn from, float64 (n,), falling; ``rivals``: what
    else might do where there is one, the best first."""

    keys: tuple[KeyFrame, ...]
    away: np.ndarray
    rivals: tuple[KeyFrame, ...]


def acutance(picture: np.ndarray) -> float:
    """Mean size of the brightness steps between neighbours in the middle of a picture."""
    grey = picture[48:208, 48:208].sum(2, dtype=np.int16)  # three times as bright
    steps = (np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1))
    return float(sum(steps)) / 3


def chosen_keys(
    candidates: list[Candidate],
    frames: np.ndarray,
    places: np.ndarray,
    cuts: tuple[int, ...] = (),
) -> Choice:
    """Key frames out of candidates.

    ``frames``: int (T,), those that show a face; ``places`` (T, K); ``cuts``: where shots begin. A
    frame is drawn from the key frames of its shot before and after it (of another shot, if its own
    has none), so the nearer of these two counts. Added one by one, each the one that brings most
    (the greedy rule of facility location).
    """
    if len(frames) > LOOKED_AT:
        some = np.linspace(0, len(frames) - 1, LOOKED_AT).astype(int)
        frames, places = frames[some], places[some]
    at = np.array([c.key.frame for c in candidates])
    shot = shots(at, cuts)
    cost = _costs(candidates, places)
    cost += ACROSS * (shot[:, None] != shots(frames, cuts))
    ranks = cost.mean(1).argsort(kind="stable").tolist()
    order = ranks[:1]
    away = [float(cost[order[0]].mean())]
    while len(order) < min(MOST, len(candidates)):
        left = [i for i in range(len(candidates)) if i not in order]
        means = [_drawn_from(cost, at, [*order, i], frames, cuts) for i in left]
        best = int(np.argmin(means))
        if means[best] >= away[-1]:
            break
        order.append(left[best])
        away.append(means[best])
    rivals = [*ranks[1 : 1 + FAVOURED], *_spread(ranks[1 + FAVOURED : int(DOWN * len(ranks))])]
    keys, others = (tuple(candidates[i].key for i in some) for some in (order, rivals))
    return Choice(keys, np.array(away), others)


def _spread(ranks: list[int]) -> list[int]:
    """``FURTHER`` of them, evenly."""
    at = np.unique(np.linspace(0, len(ranks) - 1, FURTHER).round().astype(int))
    return [ranks[i] for i in at] if ranks else []


def _drawn_from(
    cost: np.ndarray, at: np.ndarray, keys: list[int], frames: np.ndarray, cuts: tuple[int, ...]
) -> float:
    """Mean cost of all frames with some key frames."""
    order = np.array(sorted(keys, key=lambda i: at[i]))
    pair = neighbours(at[order], frames, cuts)
    each = cost[order[pair], np.arange(len(frames))]
    return float(each.min(0).mean())


def _costs(candidates: list[Candidate], places: np.ndarray) -> np.ndarray:
    """How far each frame is from each candidate, (C, T), in sizes of the face.

    A candidate that doesn't show what can't be made up counts as further away: a warp can close a
    mouth and an eye, but not show the inside of what the key frame has closed. The mouth should be
    a little more open than mostly, the eyes as open as mostly.
    """
    sharpest = max(c.detail for c in candidates) or 1.0
    mouths = np.array([opening(c.key.mesh) for c in candidates])
    eyes = np.array([opening(c.key.mesh, LIDS) for c in candidates])
    mouth, eye = np.quantile(mouths, 0.6), np.median(eyes)
    closed = abs(mouths - mouth) / (mouth + 0.02) + np.maximum(0, 1 - eyes / (eye + 1e-6))
    blurred = np.array([1 - c.detail / sharpest for c in candidates])
    away = [np.linalg.norm(places - c.place, axis=1) / face_size(c.key.mesh) for c in candidates]
    return (np.stack(away) + ITSELF) * ((1 + BLUR * blurred) * (1 + CLOSED * closed))[:, None]
