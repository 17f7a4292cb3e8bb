"""How a face's lips follow from motion coefficients, and which directions move them alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from avcc.analysis.motion import MotionBank
from avcc.mesh import EYES, INSIDE, LIPS, MOUTH_GAPS, OVAL, POINTS

# What stays where it is when a mouth speaks: eyes, brows, nose, forehead.
STILL = (*EYES, *INSIDE[:16], *OVAL[:8], *OVAL[-7:])
UPPER, LOWER = ([pair[i] for pair in MOUTH_GAPS] for i in (0, 1))


@dataclass(frozen=True)
class Mouth:
    """Coefficients are in units of their spread, lengths in sizes of the key face.

    ``directions``: float32 (M, K), of coefficients, each of which moves the lips' shape by one and
    the still points as little as can be; ``shape``: float32 (K, M), coefficients -> how far along
    each of them the lips' shape is; ``gap``: float32 (K, 3, 2), coefficients -> upper less lower
    inner lip, at three places.
    """

    directions: np.ndarray
    shape: np.ndarray
    gap: np.ndarray

    @classmethod
    def of(cls, bank: MotionBank, scale: np.ndarray, count: int) -> Mouth:
        """The first ``count`` solutions of the generalised eigenproblem: displacement of the lips
        about their own centre against that of the still points."""
        moved = bank.meshes(np.diag(scale).astype(np.float32), _UNIT) - _UNIT  # of the size 1
        lips = moved[:, list(LIPS)]
        lips = (lips - lips.mean(1, keepdims=True)).reshape(len(scale), -1)
        still = moved[:, list(STILL)].reshape(len(scale), -1) * (len(LIPS) / len(STILL)) ** 0.5
        _, vectors = eigh(lips @ lips.T, still @ still.T + 1e-4 * np.eye(len(scale)))
        chosen = vectors[:, ::-1][:, :count]
        left, length, right = np.linalg.svd(chosen.T @ lips, full_matrices=False)
        return cls(
            ((chosen @ left / length).T).astype(np.float32),
            (lips @ right.T).astype(np.float32),
            moved[:, UPPER] - moved[:, LOWER],
        )


def gaps(mesh: np.ndarray) -> np.ndarray:
    """Upper less lower inner lip at three places, (N, 478, 2) -> (N, 3, 2)."""
    return mesh[:, UPPER] - mesh[:, LOWER]


_UNIT = np.zeros((POINTS, 2), np.float32)
_UNIT[::2, 0], _UNIT[1::2, 0] = 1, -1  # any mesh whose ``face_size`` is 1
