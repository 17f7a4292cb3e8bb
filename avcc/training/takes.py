"""Clips as what moves their mouths by their voices learns from them: meshes beside decoded mels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from avcc.analysis.mel import SILENCE, LogMel
from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.layers import halve
from avcc.mesh import LIPS, face_size
from avcc.stages import SILENT
from avcc.training.acoustic import Speech
from avcc.training.disguise import disguised
from avcc.training.loop import Options
from avcc.training.mouth import gaps
from avcc.training.talks import Talk, talks

LAYERS = (0, 2, 6)  # acoustic layers of the mels that are heard, beside the true one
KEYS = 0.4  # share of a clip's frames, the most typical, that may be its key frame


@dataclass(frozen=True)
class Take:
    """One clip of T frames: ``mels`` float16 (1 + layers, T, 160), the true one first; ``silent``
    bool (T,); ``places`` float32 (T, K) on the motion directions, straight over gaps; of the
    frames with a face: ``mesh`` (T, 478, 2), ``size`` (T,), ``shape`` (T, 24); ``keys``: frames
    that may be the key frame, the best first."""

    mels: np.ndarray
    silent: np.ndarray
    places: np.ndarray
    mesh: np.ndarray
    size: np.ndarray
    shape: np.ndarray
    keys: np.ndarray

    def coefficients(self, key: int) -> np.ndarray:
        """Motion (T, K) relative to one frame."""
        return (self.places - self.places[key]) / self.size[key]


class Takes:
    """All clips that speak: ``train``, to be cut, and ``held`` for validation."""

    def __init__(self, options: Options) -> None:
        arrays = np.load(options.work / "motion.npz")
        self.bank = MotionBank(arrays["motion.directions"])
        self.scale = arrays["motion.scale"]
        self._shapes = ShapeBank(arrays["shape.mean"], arrays["shape.directions"])
        self._speech = Speech(options.work, options.device)
        self._mel = LogMel().to(options.device)
        self._o = options
        self.train, self.held = self._of("train", options.tier), self._of("val", "PW")
        # long clips are drawn more often, but less so than they are long
        weights = np.array([len(take.silent) for take in self.train], np.float64) ** 0.7
        self._chance = weights / weights.sum()

    def cuts(
        self, rng: np.random.Generator, count: int, frames: int
    ) -> Iterator[tuple[Take, dict[str, np.ndarray]]]:
        """So many random cuts for training, each with what it is of."""
        for _ in range(count):
            take = self.train[rng.choice(len(self.train), p=self._chance)]
            yield take, _cut(rng, take, frames)

    def _of(self, split: str, tier: str) -> list[Take]:
        """Every clip of a split in which a face is seen and a voice is heard."""
        found = talks(self._o.cache, self._o.work, split, tier, self._o.device)
        return [self._take(t) for t in found if t.wave is not None]

    @torch.no_grad()
    def _take(self, talk: Talk) -> Take:
        mesh, wave, tokens = talk.mesh, talk.wave, talk.tokens
        assert mesh is not None and wave is not None and tokens is not None
        mel = self._mel(torch.from_numpy(wave)[None].to(self._o.device))
        silent, token = tokens == SILENT, torch.from_numpy(tokens)[None].to(mel.device)
        least = self._speech.fewest
        depths = torch.tensor([max(n, least) for n in LAYERS], device=mel.device).split(1)
        mels = [mel, *(self._speech.decoded(mel, token, layers) for layers in depths)]
        stack = halve(torch.cat(mels)).cpu().numpy()
        stack[:, silent] = SILENCE
        seen = np.flatnonzero(~np.isnan(mesh[:, 0, 0]))
        places = np.stack([self.bank.project(m) for m in mesh[seen]])
        frames = np.arange(len(mesh))
        whole = np.stack([np.interp(frames, seen, column) for column in places.T], 1)
        shape = np.zeros((len(mesh), len(self._shapes.directions)), np.float32)
        shape[seen] = [self._shapes.vector(m)[3:] for m in mesh[seen]]
        keys = seen[_typical(places, mesh[seen])]
        keys = keys[: max(1, int(KEYS * len(keys)))]
        size = face_size(mesh)
        return Take(
            stack.astype(np.float16), silent, whole.astype(np.float32), mesh, size, shape, keys
        )


def _cut(rng: np.random.Generator, take: Take, frames: int) -> dict[str, np.ndarray]:
    """So many frames of a clip, played a little faster or slower, by another voice in another room.

    ``mel`` (T, 160), ``silent``, ``unsent`` (T,); ``motion`` (T, K) relative to its frame ``key``;
    ``counts`` (T,): where there is anything to learn.
    """
    count, pace = len(take.silent), np.exp(rng.uniform(-0.15, 0.15))
    first = rng.uniform(0, max(0.0, count - 1 - pace * frames))
    at = first + pace * np.arange(frames)
    inside, at = at <= count - 1, np.minimum(at, count - 1)
    mel = _between(take.mels[rng.integers(0, len(take.mels))], at)
    silent = take.silent[at.round().astype(int)]
    unsent = np.zeros(frames, bool)
    if rng.random() < 0.15:
        begin = rng.integers(0, frames)
        unsent[begin : begin + rng.integers(10, 60)] = True
    key = int(rng.choice(take.keys))
    return {
        "mel": np.where(unsent[:, None], np.float32(0), disguised(rng, mel)),
        "silent": silent & ~unsent,
        "unsent": unsent,
        "motion": (_between(take.places, at) - take.places[key]) / take.size[key],
        "counts": inside & ~unsent,
        "key": np.array(key),
    }


def _between(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of ``x`` at fractional places, straight between."""
    low = at.astype(int)
    high = np.minimum(low + 1, len(x) - 1)
    part = (at - low)[:, None].astype(np.float32)
    return x[low].astype(np.float32) * (1 - part) + x[high].astype(np.float32) * part


def _typical(places: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """Order of frames by how well they would do as key frame, much as ``analysis.keys`` has it."""
    others = places[:: max(1, len(places) // 96)]
    away = np.linalg.norm(places[:, None] - others[None], axis=-1).mean(1) / face_size(mesh)
    opened = np.linalg.norm(gaps(mesh), axis=-1).mean(1)
    best = np.quantile(opened, 0.6)
    return np.argsort((away + 0.05) * (1 + 0.7 * abs(opened - best) / (best + 0.02)))


def lips_off(mesh: np.ndarray, true: np.ndarray) -> float:
    """Distance of the lips about their own centre, in % of the eye distance."""
    eyes = np.linalg.norm(true[:, 33] - true[:, 263], axis=-1)[:, None]
    off = (mesh - true)[:, list(LIPS)]
    return float((np.linalg.norm(off - off.mean(1, keepdims=True), axis=-1) / eyes).mean() * 100)
