"""Which frame is sent as the only picture: the one that some others are best drawn from.

How far the face moves from one to the others (``analysis.keys``) foretells that by half: light,
what the hair does, an eye half closed and how well a frame codes count as well. So the encoder
draws from each of some rivals before it decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from avcc.analysis import identity
from avcc.encoder import Encoder
from avcc.media.mesh import FaceMesh
from avcc.stages import KeyFrame
from avcc.trial import Unlikeness, drawn, lips_off

LEAST = 600  # bytes of a picture; what is drawn from fewer says too little (docs/training.md)
DRAFT = 5  # preset of a rival's picture: a tenth of the time, a twentieth more bytes
AT_ONCE = 4  # rivals' pictures that are coded at a time, on as many cores
SOME = 6  # pictures that are drawn from a rival, half of them first; and as many again at last
# After each of these three rounds, how unlike a rival's pictures may be, beside those of the
# present one, and how many rivals are left.
ROUNDS = (1.0, 5), (0.96, 4), (0.94, 4)


def portrait(
    nets: Encoder,
    present: KeyFrame,
    rivals: Sequence[KeyFrame],
    motion: np.ndarray,
    looks: Sequence[KeyFrame],
    budget: int,
) -> KeyFrame:
    """``present`` or one of its rivals, frames of the source.

    ``motion``: of all frames, float32 (N, K), relative to the mesh of ``present``; ``looks``:
    pictures of the source with their frames, in the order of time; ``budget``: bytes of the
    picture.
    """
    if not looks or not rivals or budget < LEAST:
        return present
    keys = present, *rivals
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shown = list(pool.map(partial(_shown, budget=budget), keys))
    if shown[0] is None:
        return present
    pairs = zip(keys, shown, strict=True)
    known = motion, present.mesh
    first, *others = [_Sitting(nets, a, b, *known) for a, b in pairs if b is not None]
    every = max(1, len(looks) // SOME)
    spread, between = (looks[at::every][:SOME] for at in (0, every // 2))
    for some, (most, left) in zip((spread[::2], spread[1::2], between), ROUNDS, strict=True):
        _draw((first, *others), some)
        others = _less_unlike(others, most * first.unlike)[:left]
        if not others:
            return present
    finder = FaceMesh()
    off = first.lips_off(finder)
    for one in others:
        if (one.lips_off(finder) <= off).all():
            return one.key
    return present


class _Sitting:
    """What comes of one frame as the key frame."""

    def __init__(
        self, nets: Encoder, key: KeyFrame, shown: KeyFrame, motion: np.ndarray, base: np.ndarray
    ) -> None:
        self.key, self._nets, self._shown = key, nets, shown
        self._motion = nets.bank.rebased(motion, base, key.mesh)
        self.unlike = 0.0
        self._drawn: list[np.ndarray] = []
        self._looks: list[KeyFrame] = []

    def draw(self, looks: Sequence[KeyFrame], unlike: Unlikeness) -> None:
        """Pictures of these looks, and how unlike they are, beside those before."""
        pictures = drawn(self._nets, [self._shown], self._at(looks))
        self.unlike += len(looks) * unlike(pictures)
        self._drawn += pictures
        self._looks += looks

    def lips_off(self, finder: FaceMesh) -> np.ndarray:
        """As ``trial.lips_off``, of all pictures drawn so far."""
        near = self._nets.bank.meshes(self._at(self._looks), self.key.mesh)
        return lips_off(finder, self._drawn, self._looks, near)

    def _at(self, looks: Sequence[KeyFrame]) -> np.ndarray:
        return self._motion[[look.frame for look in looks]]


def _draw(some: Sequence[_Sitting], looks: Sequence[KeyFrame]) -> None:
    if not looks:
        return
    unlike = Unlikeness(looks)
    for one in some:
        one.draw(looks, unlike)


def _less_unlike(some: Sequence[_Sitting], most: float) -> list[_Sitting]:
    """Those that are, the least unlike first."""
    return sorted((one for one in some if one.unlike < most), key=lambda one: one.unlike)


def _shown(key: KeyFrame, budget: int) -> KeyFrame | None:
    """The frame as it would be decoded, nearly; ``None`` where it can't be coded in the budget."""
    found = identity.fitting_picture(key.picture, budget, preset=DRAFT)
    if found is None:
        return None
    data, side = found
    return KeyFrame(identity.shown_picture(data, side), key.mesh, 0, len(data))
