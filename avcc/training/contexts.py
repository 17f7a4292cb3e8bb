"""Contexts of the entropy coder: which row codes which symbol, of motion and of voice."""

from __future__ import annotations

import numpy as np
import torch

from avcc.quantise.scalar import STEPS, steady
from avcc.stages import MOTION, SEGMENT_FRAMES, SILENT, TOKENS
from avcc.training.codes import Codes
from avcc.training.semantic import kmeans

GROUPS = 24  # classes of semantic tokens that sound
ACOUSTIC_GROUPS = 8
ROWS_FIRST = 24  # rows of table.motion_first


def motion_contexts(motion: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Which row codes which coefficient: by its expected size."""
    steps = len(STEPS)
    level = np.zeros((steps, MOTION))
    start = np.zeros((steps, MOTION), np.int32)
    for i in range(steps):
        sent = [steady(code, float(STEPS[i])) for code in motion]
        level[i] = np.mean([np.abs(s[::SEGMENT_FRAMES]).mean(0) for s in sent], 0)
        moved = np.mean([np.abs(np.diff(s, axis=0)).mean(0) for s in sent if len(s) > 1], 0)
        start[i] = np.rint(16 * moved)
    ranked = np.argsort(np.argsort(level.ravel())).reshape(level.shape)
    first = ranked * ROWS_FIRST // level.size
    return {"context.motion_first": first.astype(np.uint8), "context.motion_start": start}


def voice_contexts(arrays: dict[str, np.ndarray], voices: list[Codes]) -> dict[str, np.ndarray]:
    """Which row codes which token and acoustic code: by likeness."""
    words = any((v.semantic % SILENT).any() for v in voices)
    centroids = torch.from_numpy(arrays["semantic.centroids"])
    groups = _nearest(centroids, kmeans(centroids, GROUPS if words else 1, rounds=50))
    used = np.bincount(np.concatenate([v.semantic for v in voices]), minlength=SILENT + 1)
    rank = np.zeros(TOKENS, np.uint16)
    present = np.unique(groups)  # a group of k-means may have died
    groups = np.searchsorted(present, groups)
    for g in range(len(present)):
        tokens = np.flatnonzero(groups == g)
        rank[tokens[np.argsort(-used[tokens], kind="stable")]] = np.arange(len(tokens))
    books = arrays["acoustic.books"]
    if words:
        acoustic = [
            _nearest(b, kmeans(b, ACOUSTIC_GROUPS, rounds=50)) for b in map(torch.from_numpy, books)
        ]
    else:  # the code before is all that a code's row can go by: there is room for each
        acoustic = [np.arange(books.shape[1])] * len(books)
    return {
        "context.semantic_class": np.append(groups, len(present)).astype(np.uint8),
        "context.semantic_rank": np.append(rank, 0).astype(np.uint16),
        "context.acoustic_class": np.stack(acoustic).astype(np.uint8),
    }


def _nearest(x: torch.Tensor, centroids: torch.Tensor) -> np.ndarray:
    return torch.cdist(x, centroids).argmin(1).numpy()
