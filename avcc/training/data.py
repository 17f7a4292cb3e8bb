"""Reads the cache that ``cache.build`` made: clips, meshes and voices, as memory maps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avcc.analysis.mel import LEVEL, active_level
from avcc.stages import SAMPLE_RATE, SAMPLES_PER_FRAME


@dataclass(frozen=True)
class Part:
    """One part of the cache; ``index`` rows as in ``cache.py``."""

    index: list[dict]
    frames: np.ndarray  # uint8 (N, S, S, 3)
    audio: np.ndarray  # int16 (N * 640,)
    meshes: Path  # the file of ``mesh``, which whoever only listens doesn't need

    @cached_property
    def mesh(self) -> np.ndarray:
        """float32 (N, 478, 2), NaN where no face was found."""
        if not self.meshes.exists():
            hint = f"python -m avcc.training own --cache {self.meshes.parent.parent}"
            raise FileNotFoundError(f"{self.meshes} isn't there: {hint}")
        return np.fromfile(self.meshes, np.float32).reshape(-1, 478, 2)

    def voice(self, row: dict) -> np.ndarray:
        """The sound of one clip, float32 in -1..1."""
        a = row["start"] * SAMPLES_PER_FRAME
        return self.audio[a : a + row["frames"] * SAMPLES_PER_FRAME].astype(np.float32) / 32768


def part(cache: Path, name: str, tier: str = "PW", *, teacher: bool = False) -> Part:
    """``hi_train``, ``hi_val``, ``lo_train``, ``lo_val`` or ``stills``; only clips of ``tier``.

    Meshes are our own network's (``training.own``), or those of MediaPipe, its ``teacher``.
    """
    folder = cache / name
    index = [r for r in json.loads((folder / "index.json").read_text()) if r["tier"] in tier]
    meshes = folder / ("mesh.f32" if teacher else "own.f32")
    return Part(index, frames_of(cache, name), mapped(folder / "audio.i16", np.int16), meshes)


def frames_of(cache: Path, name: str) -> np.ndarray:
    """The pictures of a part, uint8 (N, S, S, 3)."""
    side = 128 if name.startswith("lo") else 256
    return mapped(cache / name / "frames.u8", np.uint8).reshape(-1, side, side, 3)


def mapped(path: Path, kind: type) -> np.ndarray:
    """A file as an array that is read when used; a cache may have none of a part."""
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


@dataclass(frozen=True)
class Voices:
    """Every voice of a split as one list of float32 waveforms at a common level."""

    waves: list[np.ndarray]

    def batch(self, rng: np.random.Generator, count: int, samples: int) -> Tensor:
        """Random cuts, float32 (count, samples), gains of +-4 dB."""
        out = np.zeros((count, samples), np.float32)
        weights = self._weights()
        for i in range(count):
            wave = self.waves[rng.choice(len(self.waves), p=weights)]
            a = rng.integers(0, max(1, len(wave) - samples))
            cut = wave[a : a + samples]
            out[i, : len(cut)] = cut * 10 ** (rng.uniform(-4, 4) / 20)
        return torch.from_numpy(out)

    def _weights(self) -> np.ndarray:
        length = np.array([len(w) for w in self.waves], np.float64) ** 0.7
        return length / length.sum()


def voices(cache: Path, split: str, tier: str = "PW", hours: float = 0) -> Voices:
    """Speech pack and the clips' own voices (``split`` train or val), each at ``LEVEL``.

    ``hours``: at most so much, a random choice of whole voices (0: all).
    """
    waves = []
    folder = cache / ("speech_train" if split == "train" else "speech_test")
    audio = mapped(folder / "audio.i16", np.int16)
    for row in json.loads((folder / "index.json").read_text()):
        waves.append(audio[row["start"] : row["start"] + row["samples"]].astype(np.float32) / 32768)
    for size in ("hi", "lo"):
        clips = part(cache, f"{size}_{split}", tier)
        waves += [clips.voice(r) for r in clips.index if r["sound"]]
    if hours:
        order = np.random.default_rng(0).permutation(len(waves))
        total = np.cumsum([len(waves[i]) for i in order])
        waves = [waves[i] for i in order[total <= hours * 3600 * SAMPLE_RATE]]
    levels = [active_level(w) for w in waves]
    return Voices([w * (LEVEL / v) for w, v in zip(waves, levels, strict=True) if v > 1e-4])
