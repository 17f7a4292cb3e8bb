"""Training voices as aligned arrays: waveform, semantic tokens, silence. Made once, then cut."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avcc.analysis.mel import LogMel
from avcc.quantise.codebook import nearest
from avcc.stages import SILENT
from avcc.training.data import Voices, voices
from avcc.training.loop import Options
from avcc.training.semantic import features_of, fit, load_mae, lone


class Spoken:
    """Every voice of a split cut to whole frames, with one token a frame."""

    def __init__(self, waves: list[np.ndarray], tokens: list[np.ndarray]) -> None:
        self.waves, self.tokens = waves, tokens
        length = np.array([len(t) for t in tokens], np.float64) ** 0.7
        self.chance = length / length.sum()

    def batch(self, rng: np.random.Generator, count: int, frames: int) -> tuple[Tensor, Tensor]:
        """Random cuts: waveform float32 (count, 640 frames), tokens int64 (count, frames)."""
        return self.cuts(self.places(rng, count, frames), frames)

    def places(self, rng: np.random.Generator, count: int, frames: int) -> list[tuple[int, int]]:
        """Of random cuts: which voice, and the token that they begin with."""
        chosen = rng.choice(len(self.waves), count, p=self.chance)
        ends = [max(1, len(self.tokens[k]) - frames) for k in chosen]
        return [(int(k), int(rng.integers(0, end))) for k, end in zip(chosen, ends, strict=True)]

    def cuts(self, places: list[tuple[int, int]], frames: int) -> tuple[Tensor, Tensor]:
        """Those cuts, as ``batch`` gives them."""
        wave = np.zeros((len(places), frames * 640), np.float32)
        token = np.full((len(places), frames), SILENT, np.int64)
        for i, (k, a) in enumerate(places):
            cut = self.tokens[k][a : a + frames]
            token[i, : len(cut)] = cut
            sound = self.waves[k][a * 640 : (a + len(cut)) * 640]
            wave[i, : len(sound)] = sound
        return torch.from_numpy(wave), torch.from_numpy(token)


@torch.no_grad()
def spoken(
    cache: Path,
    work: Path,
    split: str,
    tier: str = "PW",
    hours: float = 0,
    device: str = "cpu",
) -> Spoken:
    """Tokens of every voice; where there are no centroids yet they are fitted on these voices."""
    found: Voices = voices(cache, split, tier, hours)
    path = work / "centroids.npy"
    saved = work / f"tokens_{split}_{tier}_{hours:g}.npz"
    waves = [w[: len(w) // 640 * 640] for w in found.waves]
    lengths = np.array([len(w) // 640 for w in waves])
    if saved.exists() and path.exists():
        known = np.load(saved)
        same = known.get("of") == made_by(work) and np.array_equal(known.get("lengths"), lengths)
        if same:
            return Spoken(waves, np.split(known["tokens"], np.cumsum(lengths)[:-1]))
    mae, mel = load_mae(work, device), LogMel().to(device)
    features = [features_of(wave, mae, mel) for wave in waves]
    if not path.exists():
        if split != "train":
            raise ValueError("centroids are fitted on the training split, which comes first")
        np.save(path, lone() if mae is None else fit(features).numpy())
    centroids = np.load(path)
    tokens = [np.where(silent, SILENT, nearest(x, centroids)) for x, silent in features]
    np.savez(saved, tokens=np.concatenate(tokens), lengths=lengths, of=made_by(work))
    return Spoken(waves, tokens)


def heard(options: Options, split: str) -> Spoken:
    """``spoken`` as a stage wants it: so many hours to train on, everything to validate with."""
    o = options
    if split == "val":
        return spoken(o.cache, o.work, split, device=o.device)
    return spoken(o.cache, o.work, split, o.tier, o.hours, o.device)


def made_by(work: Path) -> int:
    """Checksum of what turns voices into tokens: with another, tokens are made anew."""
    files = work / "audiomae.safetensors", work / "centroids.npy"
    return zlib.crc32(b"".join(f.read_bytes() for f in files if f.exists()))
