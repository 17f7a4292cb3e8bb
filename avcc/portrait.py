"""Which frame is sent as the only picture: the one that some others are best drawn from.

How far the face moves from one to the others (``analysis.keys``) foretells that by half: light,
what the hair does, an eye half closed and how well a frame codes count as well. So the encoder
draws from each of some rivals before it decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avcc.analysis import identity
from avcc.encoder import Encoder
from avcc.stages import KeyFrame
from avcc.trial import Unlikeness, drawn

DRAFT = 5  # preset of a rival's picture: a tenth of the time, a twentieth more bytes
SOME = 6  # pictures that each rival has to draw
LEFT = 3  # rivals that have to draw as many more
BETTER = 0.98  # of how unlike the present one's pictures are, a rival's have to be


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
    if not looks or not rivals:
        return present
    places = [nets.bank.rebased(motion, present.mesh, key.mesh) for key in (present, *rivals)]
    shown = [_shown(key, budget) for key in (present, *rivals)]
    if shown[0] is None:
        return present
    half = max(1, len(looks) // SOME)
    first, second = looks[::half][:SOME], looks[half // 2 :: half][:SOME]

    def scores(some: Sequence[int], looks: Sequence[KeyFrame]) -> np.ndarray:
        at, unlike = [look.frame for look in looks], Unlikeness(looks)
        found = []
        for i in some:
            key = shown[i]
            found.append(np.inf if key is None else unlike(drawn(nets, key, places[i][at])))
        return np.array(found)

    every = list(range(len(shown)))
    total = scores(every, first)
    left = [0, *(1 + total[1:].argsort()[:LEFT])]
    sums = total[left] + scores(left, second)
    best = int(sums.argmin())
    return rivals[left[best] - 1] if sums[best] < BETTER * sums[0] else present


def _shown(key: KeyFrame, budget: int) -> KeyFrame | None:
    """The frame as it would be decoded, nearly; ``None`` where it can't be coded in the budget."""
    found = identity.fitting_picture(key.picture, budget, preset=DRAFT)
    if found is None:
        return None
    data, side = found
    return KeyFrame(identity.shown_picture(data, side), key.mesh, 0, len(data))
