"""A small fingerprint of what a stream decodes to, which other machines come near to.

Symbols are exact everywhere; media are made by networks, whose sums round otherwise on another
machine, device or version of PyTorch. ``tests/vectors/media.json`` holds fingerprints;
docs/model.md says how near a decoder must come.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import avcc
from avcc.stages import SAMPLE_RATE

PICTURES = 4  # of a clip, all over it
SQUARE = 16  # pixels of the side of the squares whose means are kept
BANDS = 100, 300, 600, 1000, 1700, 2700, 4000, 7000  # Hz, borders of bands of a voice
STEP = SAMPLE_RATE // 4  # samples whose levels are kept
QUIET = -60.0  # dB of full scale; what is fainter counts as so


@dataclass(frozen=True)
class Media:
    """``pictures``: uint8 (n, 16, 16, 3), levels; ``voice``: int8 (t, 7), dB; none without one."""

    pictures: np.ndarray
    voice: np.ndarray

    @classmethod
    def of(cls, data: bytes) -> Media:
        """What the bytes of an ``.avc`` file decode to here."""
        clip = avcc.decode(data, scene=False)
        at = set(np.linspace(0, clip.count - 1, PICTURES).round().astype(int).tolist())
        some = [picture for number, picture in enumerate(clip.frames) if number in at]
        return cls(np.stack([_means(x) for x in some]), _levels(clip.audio))

    @classmethod
    def from_json(cls, told: dict[str, str]) -> Media:
        pictures, voice = (
            np.frombuffer(base64.b64decode(told[name]), kind)
            for name, kind in (("pictures", np.uint8), ("voice", np.int8))
        )
        side = 256 // SQUARE
        return cls(pictures.reshape(-1, side, side, 3), voice.reshape(-1, len(BANDS) - 1))

    def json(self) -> dict[str, str]:
        parts = {"pictures": self.pictures, "voice": self.voice}
        return {name: base64.b64encode(x.tobytes()).decode() for name, x in parts.items()}


def _means(picture: np.ndarray) -> np.ndarray:
    side = len(picture) // SQUARE
    squares = picture.reshape(side, SQUARE, side, SQUARE, 3).mean((1, 3))
    return squares.round().astype(np.uint8)


def _levels(sound: np.ndarray | None) -> np.ndarray:
    if sound is None:
        return np.zeros((0, len(BANDS) - 1), np.int8)
    pieces = sound[: len(sound) // STEP * STEP].reshape(-1, STEP).astype(np.float64)
    power = np.abs(np.fft.rfft(pieces * np.hanning(STEP), axis=1) / STEP) ** 2
    edges = np.array(BANDS) * STEP // SAMPLE_RATE
    bands = np.stack([power[:, a:b].sum(1) for a, b in pairwise(edges)], 1)
    found = 10 * np.log10(bands + 1e-12)
    return np.maximum(found, QUIET).round().astype(np.int8)
