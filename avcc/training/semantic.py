"""Semantic tokens: k-means over AudioMAE features, and every training voice turned into tokens.

A work folder without an AudioMAE has none: one token stands for all that sounds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from avcc.analysis.audiomae import AudioMAE
from avcc.analysis.mel import LogMel
from avcc.analysis.speech import centred, mae_features, silent_frames
from avcc.stages import TOKENS
from avcc.training.export import restore


def load_mae(work: Path, device: str = "cpu") -> AudioMAE | None:
    """The trained AudioMAE of a work folder, if there is one."""
    if not (work / "audiomae.safetensors").exists():
        return None
    mae = AudioMAE()
    restore(mae, load_file(work / "audiomae.safetensors"), "mae")
    return mae.eval().to(device)


def lone() -> np.ndarray:
    """Centroids float32 (1024, 1) of which a feature of zero only ever meets the first."""
    return np.minimum(np.arange(TOKENS, dtype=np.float32), 1)[:, None]


def features_of(
    wave: np.ndarray, mae: AudioMAE | None, mel: LogMel
) -> tuple[np.ndarray, np.ndarray]:
    """One voice at the common level -> features (T, D) centred on the voice, zeros (T, 1) without
    an AudioMAE, and silence (T,)."""
    whole = np.zeros(-(-len(wave) // 640) * 640, np.float32)
    whole[: len(wave)] = wave
    silent = silent_frames(whole)
    if mae is None:
        return np.zeros((len(silent), 1), np.float32), silent
    spectrum = mel(torch.from_numpy(whole)[None].to(mel.bank.device))
    return centred(mae_features(spectrum, mae), silent), silent


def kmeans(x: Tensor, count: int, rounds: int = 20, seed: int = 0) -> Tensor:
    """Lloyd's algorithm; clusters that die are restarted on points far from their centroid."""
    g = torch.Generator().manual_seed(seed)
    centroids = x[torch.randperm(len(x), generator=g)[:count]].clone()
    for _ in range(rounds):
        best = torch.empty(len(x), dtype=torch.long)
        gap = torch.empty(len(x))
        half = 0.5 * centroids.square().sum(1)
        for a in range(0, len(x), 8192):
            score, which = (x[a : a + 8192] @ centroids.T - half).max(1)
            best[a : a + 8192] = which
            gap[a : a + 8192] = x[a : a + 8192].square().sum(1) - 2 * score
        size = torch.bincount(best, minlength=count)
        total = torch.zeros_like(centroids).index_add_(0, best, x)
        centroids = total / size.clamp(min=1)[:, None]
        dead = (size < 3).nonzero()[:, 0]
        if len(dead):
            far = gap.topk(min(len(dead) * 20, len(x))).indices
            centroids[dead] = x[far[:: len(far) // len(dead)][: len(dead)]]
    return centroids


def fit(heard: list[tuple[np.ndarray, np.ndarray]], most: int = 160_000, seed: int = 0) -> Tensor:
    """Centroids float32 (1024, D) of the sounding frames of voices: (features, silence) of each."""
    rows = np.concatenate([features[~silent] for features, silent in heard])
    chosen = np.random.default_rng(seed).permutation(len(rows))[:most]
    return kmeans(torch.from_numpy(rows[chosen]), TOKENS, seed=seed)
