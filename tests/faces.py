"""A made-up face mesh and picture, for tests that need no real face."""

from __future__ import annotations

import numpy as np

from avcc import obus
from avcc.container.layout import varint
from avcc.mesh import EYES, INNER_LIPS, LIPS, OVAL, POINTS


def _ring(count: int, x: float, y: float, wide: float, tall: float) -> np.ndarray:
    angle = np.arange(count) / count * 2 * np.pi
    return np.stack([x + wide * np.cos(angle), y + tall * np.sin(angle)], 1)


def mesh(opening: float = 0.03, seed: int = 0) -> np.ndarray:
    """float32 (478, 2): an oval in the middle of the picture, with eyes and a mouth that is
    ``opening`` tall inside; the other points lie anywhere on the face."""
    rng = np.random.default_rng(seed)
    radius = 0.2 * np.sqrt(rng.random(POINTS))
    angle = rng.random(POINTS) * 2 * np.pi
    points = np.stack([0.5 + radius * np.cos(angle), 0.5 + 1.3 * radius * np.sin(angle)], 1)
    points[list(OVAL)] = _ring(len(OVAL), 0.5, 0.5, 0.22, 0.29)
    points[list(EYES[:16])] = _ring(16, 0.41, 0.42, 0.04, 0.015)
    points[list(EYES[16:])] = _ring(16, 0.59, 0.42, 0.04, 0.015)
    points[list(LIPS[:20])] = _ring(20, 0.5, 0.63, 0.07, 0.02 + opening / 2)
    points[list(INNER_LIPS)] = _ring(20, 0.5, 0.63, 0.055, opening / 2)
    points[468:473], points[473:478] = (0.41, 0.42), (0.59, 0.42)
    return points.astype(np.float32)


def picture(side: int = 256, seed: int = 0) -> np.ndarray:
    """uint8 (side, side, 3): soft coloured waves, different for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [
        np.sin(2 * np.pi * (rng.integers(1, 6) * x + rng.integers(1, 6) * y) + phase)
        for phase in rng.random(3) * 6
    ]
    return np.rint(127 + 110 * np.stack(waves, -1)).astype(np.uint8)


def as_encoded(still: bytes, side: int) -> bytes:
    """A short still as an encoder of AV1 gives it: with the length of the frame."""
    whole = obus.whole(still, side)
    end = 2 + whole[1]  # of the sequence header
    return whole[:end] + b"\x32" + varint(len(whole) - end - 1) + whole[end + 1 :]
