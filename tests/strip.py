"""``python -m tests.strip``: the pictures of the docs, from material that may be shown.

A portrait of the astronaut Eileen Collins (NASA, public domain, from scikit-image's wheel), whose
head is swayed, or turned in three dimensions, by formula (MediaPipe's depths, a thin-plate spline);
once more in little light, and with glasses drawn on. Above the source, below what avcc makes of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import avcc
from avcc.evaluation.baselines import warps
from avcc.evaluation.demo import picked, write_png
from avcc.evaluation.landmarks import solutions
from avcc.media.arrays import from_arrays
from tests.clips import portrait
from tests.voices import vowels

SECONDS, RATES = 8.0, (2000, 4000)
TURN = np.radians(25)
RIMS = (33, 133, 159, 145), (362, 263, 386, 374)  # corners and lids of each eye


def still() -> np.ndarray:
    """uint8 (256, 256, 3)."""
    return cv2.resize(portrait(), (256, 256), interpolation=cv2.INTER_AREA)


def solid(picture: np.ndarray) -> np.ndarray:
    """The face's points with depth, float64 (478, 3) in pixels, smaller is nearer."""
    graph = solutions().face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True)
    found = graph.process(picture).multi_face_landmarks
    assert found
    return 256 * np.array([(p.x, p.y, p.z) for p in found[0].landmark])


def swaying() -> np.ndarray:
    """uint8 (N, 256, 256, 3): the head sways and tilts in the picture's plane."""
    mesh = solid(still())[:, :2]
    centre = mesh.mean(0) + np.array([0, 40])
    t = _times()
    tilt = 0.12 * np.sin(1.9 * t)
    shift = np.concatenate([6 * np.sin(1.3 * t), 4 * np.sin(3 * t)], 2)
    x, y = np.split(mesh - centre, 2, 1)
    turned = np.concatenate(
        [x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], 2
    )
    return warps(still(), np.concatenate([mesh[None], turned + centre + shift]))[1:]


def turning(picture: np.ndarray | None = None) -> np.ndarray:
    """The head turns to both sides, 25 degrees each way, and nods a little."""
    picture = still() if picture is None else picture
    mesh = solid(still())
    axis = np.array([*mesh[:, :2].mean(0), mesh[:, 2].max()])
    t = _times()[:, :, 0]
    x, y, z = (mesh - axis).T
    yaw, nod = TURN * np.sin(1.2 * t), 0.08 * np.sin(2.3 * t)
    across = x * np.cos(yaw) + z * np.sin(yaw)
    deep = z * np.cos(yaw) - x * np.sin(yaw)
    down = y * np.cos(nod) - deep * np.sin(nod)
    return warps(
        picture, np.concatenate([mesh[None, :, :2], np.stack([across, down], 2) + axis[:2]])
    )[1:]


def in_little_light() -> np.ndarray:
    """Less than half of the light, with the noise of a camera that makes up for some of it."""
    frames = turning().astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 4, frames.shape)
    return np.clip(0.42 * frames + 8 + noise, 0, 255).astype(np.uint8)


def with_glasses() -> np.ndarray:
    """Dark rims around both eyes, a bridge between them."""
    picture, mesh = still(), solid(still())[:, :2]
    shift, sides = 4, []
    for rim in RIMS:
        x, y = mesh[list(rim)].mean(0)
        wide = 0.85 * np.ptp(mesh[list(rim), 0])
        centre, size = (
            np.rint(np.array(p) * 2**shift).astype(int) for p in ((x, y), (wide, 0.8 * wide))
        )
        cv2.ellipse(
            picture, centre.tolist(), size.tolist(), 0, 0, 360, (30, 22, 20), 2, cv2.LINE_AA, shift
        )
        sides.append((x, y, wide))
    (xa, ya, wa), (xb, yb, wb) = sides
    ends = np.rint(np.array([(xa + wa, ya), (xb - wb, yb)]) * 2**shift).astype(int)
    cv2.line(picture, ends[0].tolist(), ends[1].tolist(), (30, 22, 20), 2, cv2.LINE_AA, shift)
    return turning(picture)


STRIPS: dict[str, Callable[[], np.ndarray]] = {
    "strip": swaying,
    "strip-turn": turning,
    "strip-light": in_little_light,
    "strip-glasses": with_glasses,
}


def _times() -> np.ndarray:
    return (np.arange(round(25 * SECONDS)) / 25)[:, None, None]


def main(folder: str = "docs") -> None:
    """Encode, decode, and draw."""
    for name, frames in STRIPS.items():
        clip = from_arrays(frames(), vowels(SECONDS))
        rows = [np.hstack(list(picked(clip.frames, clip.count)))]
        for rate in RATES:
            data = avcc.encode(clip, bitrate=rate)
            print(f"{name}, {rate} bit/s: {len(data)} bytes")
            rows.append(np.hstack(list(picked(avcc.decode(data).frames, clip.count))))
        write_png(Path(folder) / f"{name}.png", np.vstack(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
