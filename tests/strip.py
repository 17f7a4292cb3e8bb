"""``python -m tests.strip``: the README's picture, from material that may be shown.

Above a portrait of the astronaut Eileen Collins (NASA, public domain, from scikit-image's wheel)
whose head is turned and moved by formula, with a thin-plate spline; below what avcc makes of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import avcc
from avcc.evaluation.baselines import warps
from avcc.evaluation.demo import picked, write_png
from avcc.media.arrays import from_arrays
from avcc.media.mesh import FaceMesh
from tests.clips import portrait
from tests.voices import vowels

SECONDS, RATES = 8.0, (2000, 4000)


def moving() -> np.ndarray:
    """uint8 (N, 256, 256, 3): the portrait, its head swaying, nodding and tilting."""
    still = cv2.resize(portrait(), (256, 256), interpolation=cv2.INTER_AREA)
    with FaceMesh(static=True) as finder:
        mesh = finder.points(still)
    assert mesh is not None
    mesh, centre = mesh * 256, mesh.mean(0) * 256 + (0, 40)
    t = (np.arange(round(25 * SECONDS)) / 25)[:, None, None]
    tilt, shift = (
        0.12 * np.sin(1.9 * t),
        np.concatenate([6 * np.sin(1.3 * t), 4 * np.sin(3 * t)], 2),
    )
    x, y = np.split(mesh - centre, 2, 1)
    turned = np.concatenate(
        [x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], 2
    )
    meshes = np.concatenate([mesh[None], turned + centre + shift])
    return warps(still, meshes)[1:]


def main(target: str = "docs/strip.png") -> None:
    """Encode, decode, and draw."""
    clip = from_arrays(moving(), vowels(SECONDS))
    rows = [np.hstack(list(picked(clip.frames, clip.count)))]
    for rate in RATES:
        data = avcc.encode(clip, bitrate=rate)
        print(f"{rate} bit/s: {len(data)} bytes")
        rows.append(np.hstack(list(picked(avcc.decode(data).frames, clip.count))))
    write_png(Path(target), np.vstack(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
