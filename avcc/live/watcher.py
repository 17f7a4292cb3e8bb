"""The face of a clip that isn't over: where it is, and the picture that it is drawn from."""

from __future__ import annotations

import numpy as np

from avcc.analysis.cuts import AROUND, cuts, small
from avcc.analysis.keys import Candidate, acutance, chosen_keys
from avcc.analysis.look import NEVER
from avcc.analysis.motion import MotionBank
from avcc.errors import MediaError
from avcc.media.mesh import FaceMesh
from avcc.stages import KeyFrame

EVERY = 4  # of so many frames one may become the key frame


class Watcher:
    """Follows the face from picture to picture.

    ``seen``: frames with a face, ``shown``: all.
    """

    def __init__(self, bank: MotionBank) -> None:
        self._bank = bank
        self._finder = FaceMesh()
        self._last: np.ndarray | None = None
        self._small: np.ndarray | None = None
        self._changes: list[float] = []  # of each frame from the one before
        self._passed = 0  # how many of them ``cuts`` has given already
        self.seen = self.shown = 0

    def __call__(self, pictures: np.ndarray) -> tuple[np.ndarray, list[Candidate]]:
        """Pictures uint8 (N, 256, 256, 3), the next ones -> the places of their meshes, float32
        (N, K), NaN where there was no face, and some of them as key frames."""
        places = np.full((len(pictures), len(self._bank.directions)), np.nan, np.float32)
        kept = []
        for i, picture in enumerate(pictures):
            before, self._small = self._small, small(picture)
            change = 0.0 if before is None else float(np.abs(self._small - before).mean())
            self._changes.append(change)
            mesh = self._finder.points(picture)
            if mesh is not None:
                places[i] = self._bank.project(mesh)
                self.seen += 1
                if not self.shown % EVERY:
                    key = KeyFrame(picture.copy(), mesh, self.shown)
                    kept.append(Candidate(key, places[i], acutance(picture)))
            self.shown += 1
        return places, kept

    def cuts(self, frames: int) -> list[int]:
        """The first frames of further shots among the next ``frames``, counted from the first of
        these; the next call goes on behind them."""
        found = [cut - self._passed for cut in cuts(np.array(self._changes))]
        end = self._passed + frames
        del self._changes[: max(0, end - AROUND)]
        self._passed = min(end, AROUND)
        return [cut for cut in found if 0 <= cut < frames]

    def begin(self, places: np.ndarray) -> None:
        """What is known of the beginning: the face is where it will first be found until then."""
        self._last = places[~np.isnan(places[:, 0])][0]

    def filled(self, places: np.ndarray) -> np.ndarray:
        """Places of a segment without its gaps: straight lines, and the last known one held."""
        frames = np.arange(len(places))
        found = np.flatnonzero(~np.isnan(places[:, 0]))
        if not len(found):
            assert self._last is not None  # there is no key frame without a face
            return np.repeat(self._last[None], len(places), 0)
        self._last = places[found[-1]]
        return np.stack([np.interp(frames, found, column[found]) for column in places.T], 1)


def chosen(candidates: list[Candidate], places: np.ndarray) -> KeyFrame:
    """The picture that the others of a segment are best drawn from. ``MediaError`` where there is
    no face in any."""
    found = np.flatnonzero(~np.isnan(places[:, 0]))
    if not candidates:
        raise MediaError(NEVER)
    return chosen_keys(candidates, found, places[found])[0][0]
