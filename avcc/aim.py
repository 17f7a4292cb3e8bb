"""What a decoder will draw, looked at by the encoder before anything is sent.

A face is drawn a little beside where it was told to be: the mesh of a key frame is what one look at
one picture found, coding moves what a small key frame shows, and the renderer has habits. Much of
that stays the same through a clip, so a few pictures tell by how much, and motion is sent that
makes up for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from avcc.encoder import Encoder
from avcc.media.mesh import FaceMesh
from avcc.stages import KeyFrame
from avcc.trial import drawn, filled, squared

SURE = 2.0  # squared standard errors that an offset's square is lessened by
# How much more squared error of the pictures an offset may cost: where it leaves faces half as far
# off, a factor of 2 to this power (docs/training.md, after round 14).
WORTH = 0.05


class Aim(NamedTuple):
    """What to add to all motion so that faces are drawn where the source has them: coefficients
    float32 (K,), or ``None`` where that makes the pictures no better; and the pictures that are
    drawn then, as many as there are looks, or none where it wasn't tried."""

    more: np.ndarray | None = None
    pictures: Sequence[np.ndarray] = ()


def aimed(
    nets: Encoder,
    shown: KeyFrame,
    base: np.ndarray,
    told: np.ndarray,
    looks: Sequence[KeyFrame],
) -> Aim:
    """Tried on some pictures.

    ``shown``: the only key frame, as it is decoded; ``base``: its mesh in the source, which motion
    is relative to; ``told``: motion as it is decoded, float32 (N, K), NaN where nothing is sent;
    ``looks``: pictures of the source with their meshes and frames.
    """
    whole = filled(told)
    if len(looks) < 2 or whole is None:
        return Aim()
    bank = nets.bank
    motion = whole[[look.frame for look in looks]]

    def missed(code: np.ndarray, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """How far the faces of drawn pictures are from where they should be, (found, K)."""
        found = []
        near = bank.meshes(code, shown.mesh)
        for look, picture, where in zip(looks, pictures, near, strict=True):
            mesh = finder.points(picture, near=where)
            if mesh is not None:
                places = np.stack([bank.project(look.mesh), bank.project(mesh)])
                true, there = bank.relative(places, base)
                found.append(true - there)
        return np.array(found).reshape(-1, motion.shape[1])

    finder = FaceMesh()
    before = drawn(nets, [shown], motion)
    off = missed(motion, before)
    if len(off) < 2:
        return Aim(None, before)
    more = _steady(off)
    after = drawn(nets, [shown], motion + more)
    nearer = _far(off) / max(_far(missed(motion + more, after)), 1e-6)
    worse = squared(after, looks) / max(squared(before, looks), 1e-6)
    if nearer > 1 and worse <= nearer**WORTH:
        return Aim(more, after)
    return Aim(None, before)


def _steady(missed: np.ndarray) -> np.ndarray:
    """What all of (T, K) have in common, less what may be chance: float32 (K,)."""
    mean, error = missed.mean(0), missed.var(0, ddof=1) / len(missed)
    sure = np.maximum(0, 1 - SURE * error / np.maximum(mean**2, 1e-12))
    return (mean * sure).astype(np.float32)


def _far(missed: np.ndarray) -> float:
    return float(np.linalg.norm(missed, axis=1).mean()) if len(missed) else np.inf
