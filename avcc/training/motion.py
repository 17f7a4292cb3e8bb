"""Motion and shape directions: principal components of face meshes of the training clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from avcc import weights
from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.mesh import LIPS, face_size, point_weights
from avcc.quantise.motion import MotionPaths
from avcc.stages import MOTION, SHAPE
from avcc.training.data import Part, part
from avcc.training.priors import foretelling

PAIRS = 150  # a clip, so that long clips don't own the directions


def principal(rows: np.ndarray, count: int) -> np.ndarray:
    """The first ``count`` principal directions of rows (n, d) about zero, float32 (count, d)."""
    _, vectors = np.linalg.eigh(rows.T.astype(np.float64) @ rows.astype(np.float64))
    return np.ascontiguousarray(vectors[:, ::-1][:, :count].T, dtype=np.float32)


def motion_paths(work: Path) -> MotionPaths:
    """What chooses the motion that is sent, by the prices of codebook and priors in the work
    folder; by those of the model in ``weights/`` where there is none yet, for they differ little.
    """
    path = work / "codebook.safetensors"
    known = path.exists()
    return MotionPaths(foretelling(work) if known else weights.codebook(weights.default()))


def clip_meshes(clips: Part, row: dict) -> np.ndarray:
    """The meshes of one clip that were found (n, 478, 2)."""
    mesh = clips.mesh[row["start"] : row["start"] + row["frames"]]
    return mesh[~np.isnan(mesh[:, 0, 0])]


def aligned(directions: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The orthonormal rows (K, d) that span what ``directions`` span and are nearest to the rows of
    ``like``: networks that know the coefficients of those know these (Schoenemann 1966)."""
    left, _, right = np.linalg.svd(like.astype(np.float64) @ directions.T.astype(np.float64))
    return ((left @ right) @ directions).astype(np.float32)


def fit(
    cache: Path, tier: str = "PW", seed: int = 0, like: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Codebook arrays ``motion.directions``, ``motion.scale``, ``shape.mean``, ``.directions``.

    ``like``: those of an earlier round, whose directions new ones are ``aligned`` with.
    """
    rng = np.random.default_rng(seed)
    moved, shapes = [], []
    for name in ("hi_train", "lo_train"):
        clips = part(cache, name, tier)
        for row in clips.index:
            mesh = clip_meshes(clips, row)
            if len(mesh) < 10:
                continue
            a, b = rng.integers(0, len(mesh), (2, PAIRS))
            difference = (mesh[b] - mesh[a]) / face_size(mesh[a])[:, None, None]
            moved.append((difference * point_weights()[:, None]).reshape(PAIRS, -1))
            shapes.append(_normal(mesh[rng.integers(0, len(mesh), 4)]))
    stills = part(cache, "stills").mesh
    shapes.append(_normal(stills[~np.isnan(stills[:, 0, 0])]))
    every = np.concatenate(shapes)
    mean = every.mean(0).astype(np.float32)
    directions = principal(np.concatenate(moved), MOTION)
    shape = principal(every - mean, SHAPE)
    if like is not None:
        directions = aligned(directions, like["motion.directions"])
        shape = aligned(shape, like["shape.directions"])
    return {
        "motion.directions": directions,
        "motion.scale": (np.concatenate(moved) @ directions.T).std(0).astype(np.float32),
        "shape.mean": mean,
        "shape.directions": shape,
    }


def _normal(mesh: np.ndarray) -> np.ndarray:
    centre = mesh.mean(1, keepdims=True)
    return ((mesh - centre) / face_size(mesh)[:, None, None]).reshape(len(mesh), -1)


def errors(cache: Path, arrays: dict[str, np.ndarray], step: float) -> dict[str, float]:
    """Mean mesh error on validation clips, % of the distance of the outer eye corners."""
    bank = MotionBank(arrays["motion.directions"])
    shape = ShapeBank(arrays["shape.mean"], arrays["shape.directions"])
    clips = part(cache, "hi_val")
    out: dict[str, list[float]] = {"motion": [], "mouth": [], "shape": []}
    for row in clips.index:
        mesh = clip_meshes(clips, row)
        if len(mesh) < 10:
            continue
        eyes = np.linalg.norm(mesh[:, 33] - mesh[:, 263], axis=-1)[:, None]
        code = np.round(bank.coefficients(mesh, mesh[0]) / step) * step
        wrong = np.linalg.norm(bank.meshes(code, mesh[0]) - mesh, axis=-1) / eyes * 100
        out["motion"].append(float(wrong.mean()))
        out["mouth"].append(float(wrong[:, list(LIPS)].mean()))
        there = shape.mesh(shape.vector(mesh[0]))
        away = np.linalg.norm(there - mesh[0], axis=-1).mean() / eyes[0, 0] * 100
        out["shape"].append(float(away))
    return {k: float(np.mean(v)) for k, v in out.items()}
