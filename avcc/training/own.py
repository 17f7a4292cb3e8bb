"""The meshes of a cache by our own face network: what the encoder will see.

Everything that is sent is made of these (motion, shape, the tables that code them), and so is what
the renderer draws from; MediaPipe's, in ``mesh.f32``, teach the face network alone. ``own.f32``
lies beside it, in the same form, and must be made anew when ``weights/faces.safetensors`` changes.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from avcc.media.mesh import FaceMesh
from avcc.mesh import POINTS
from avcc.training.data import frames_of

PARTS = ("hi_train", "hi_val", "lo_train", "lo_val", "stills")


def build(cache: Path, jobs: int = 2) -> None:
    """``own.f32`` of every part that the cache has: float32 (N, 478, 2), NaN where no face is."""
    with ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for name in PARTS:
            folder = cache / name
            if not (folder / "index.json").exists():
                continue
            rows = json.loads((folder / "index.json").read_text())
            work = [(cache, name, row["start"], row["frames"]) for row in rows]
            nothing = np.zeros((0, POINTS, 2), np.float32)  # a cache may have none of a part
            found = np.concatenate([nothing, *pool.map(_one, work, chunksize=4)])
            found.tofile(folder / "own.f32")
            seen = np.count_nonzero(~np.isnan(found[:, 0, 0]))
            print(f"{name}: a face in {seen} of {len(found)} pictures", flush=True)


def _one(job: tuple[Path, str, int, int]) -> np.ndarray:
    cache, name, start, count = job
    finder = FaceMesh(static=name == "stills")
    out = np.full((count, POINTS, 2), np.nan, np.float32)
    for i, frame in enumerate(frames_of(cache, name)[start : start + count]):
        mesh = finder.points(np.array(frame))
        if mesh is not None:
            out[i] = mesh
    return out
