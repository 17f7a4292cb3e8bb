"""The meshes of a cache as one small file: what MediaPipe found needs finding only once.

Finding them takes most of the minutes that a cache takes, and MediaPipe, which a rented GPU may not
have. The file holds places on principal directions in steps of ``STEP``, as differences from frame
to frame; what is lost is less than the mesh trembles.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from avcc.mesh import POINTS
from avcc.training.motion import principal

DIRECTIONS = 128
STEP = 1 / 1024  # of the picture's side, summed over all points
PARTS = ("hi_train", "hi_val", "lo_train", "lo_val", "stills")


def save(cache: Path, path: Path) -> None:
    """The meshes of the parts that the cache has, by the names of their files."""
    names, counts, every = [], [], []
    for folder in (cache / name for name in PARTS):
        if not (folder / "index.json").exists():
            continue
        rows = json.loads((folder / "index.json").read_text())
        names += [row["file"] for row in rows]
        counts += [row["frames"] for row in rows]
        every.append(np.fromfile(folder / "mesh.f32", np.float32).reshape(-1, 2 * POINTS))
    mesh = np.concatenate(every)
    found = ~np.isnan(mesh[:, 0])
    mean = mesh[found].mean(0)
    directions = principal(mesh[found] - mean, DIRECTIONS)
    places = np.zeros((len(mesh), DIRECTIONS), np.int32)
    places[found] = np.rint((mesh[found] - mean) @ directions.T / STEP)
    # a frame without a face repeats the one before it, which costs nothing
    last = np.maximum.accumulate(np.where(found, np.arange(len(mesh)), 0))
    moved = np.diff(places[last], axis=0, prepend=0).astype("<i4").T.copy()
    np.savez(
        path,
        names=np.array(names),
        counts=np.array(counts),
        found=np.packbits(found),
        mean=mean,
        directions=directions.astype(np.float16),
        moved=np.frombuffer(lzma.compress(_planes(moved), preset=6), np.uint8),
    )


def load(path: Path) -> Mapping[str, np.ndarray]:
    """By file name: float32 (N, 478, 2), NaN where no face was found."""
    with np.load(path) as x:
        total = int(x["counts"].sum())
        directions = x["directions"].astype(np.float32)
        moved = _whole(lzma.decompress(x["moved"].tobytes()), (len(directions), total))
        mesh = x["mean"] + (np.cumsum(moved.T, 0) * np.float32(STEP)) @ directions
        mesh[np.unpackbits(x["found"], count=total) == 0] = np.nan
        ends = np.cumsum(x["counts"])[:-1]
        parts = np.split(mesh.astype(np.float32).reshape(-1, POINTS, 2), ends)
        return dict(zip(x["names"].tolist(), parts, strict=True))


def _planes(values: np.ndarray) -> bytes:
    """int32 -> its four bytes apart, zigzag, so that small numbers are runs of zeros."""
    zigzag = ((values << 1) ^ (values >> 31)).astype("<u4")
    return zigzag.view(np.uint8).reshape(-1, 4).T.tobytes()


def _whole(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    zigzag = np.frombuffer(data, np.uint8).reshape(4, -1).T.copy().view("<u4").reshape(shape)
    return (zigzag >> 1).astype(np.int32) ^ -(zigzag & 1).astype(np.int32)
