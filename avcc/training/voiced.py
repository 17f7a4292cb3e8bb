"""Training voices with their pitch: found once by WORLD's Harvest, kept beside the tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avcc.analysis.mel import HOP
from avcc.pitch import HIGHEST, LOWEST
from avcc.training.loop import Options
from avcc.training.tokens import Spoken, heard

MIDDLE = 150.0  # Hz, where a cut has no voice at all


@dataclass(frozen=True)
class Voiced:
    """Voices, their tokens, and the pitch of every mel frame in Hz, 0 where there is none."""

    spoken: Spoken
    pitch: list[np.ndarray]

    def batch(
        self, rng: np.random.Generator, count: int, frames: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Random cuts: waveform float32 (count, 640 frames), tokens int64 (count, frames), pitch
        float32 (count, 2 frames)."""
        places = self.spoken.places(rng, count, frames)
        pitch = np.zeros((count, 2 * frames), np.float32)
        for i, (k, a) in enumerate(places):
            cut = self.pitch[k][2 * a : 2 * (a + frames)]
            pitch[i, : len(cut)] = cut
        return *self.spoken.cuts(places, frames), torch.from_numpy(pitch)


def filled(pitch: Tensor) -> Tensor:
    """Pitch (B, T) with straight lines, in octaves, where there was none."""
    out = np.full(pitch.shape, MIDDLE, np.float32)
    for row, known in zip(out, pitch.cpu().numpy(), strict=True):
        at = np.flatnonzero(known)
        if len(at):
            row[:] = np.exp(np.interp(np.arange(len(row)), at, np.log(known[at])))
    return torch.from_numpy(out).to(pitch.device)


def voiced(options: Options, split: str) -> Voiced:
    """``tokens.heard`` with pitches; what ``work`` has of them isn't found again."""
    spoken = heard(options, split)
    waves, lengths = spoken.waves, np.array([2 * len(t) for t in spoken.tokens])
    pitch = kept(options, split, "pitch", lengths, lambda k: pitch_of(waves[k]))
    return Voiced(spoken, pitch)


def kept(
    options: Options,
    split: str,
    name: str,
    lengths: np.ndarray,
    make: Callable[[int], np.ndarray],
    of: int = 0,
) -> list[np.ndarray]:
    """What ``make`` gives for every voice of a split; made once, and again for other lengths or
    where it came ``of`` something else."""
    hours, tier = (options.hours, options.tier) if split == "train" else (0, "PW")
    saved = options.work / f"{name}_{split}_{tier}_{hours:g}.npz"
    if saved.exists():
        known = np.load(saved)
        if known.get("of", 0) == of and np.array_equal(known["lengths"], lengths):
            return np.split(known["pitch"], np.cumsum(lengths)[:-1])
    found = [make(k) for k in range(len(lengths))]
    np.savez(saved, pitch=np.concatenate(found), lengths=lengths, of=of)
    return found


def pitch_of(wave: np.ndarray) -> np.ndarray:
    """The pitch of a voice in Hz at the middle of every mel frame, float32 (samples / 320,)."""
    # WORLD's (Morise 2017): its contours hold through creaky and noisy stretches
    import pyworld
    from scipy.signal import decimate

    count = len(wave) // HOP
    if count < 2:
        return np.zeros(count, np.float32)
    narrow = decimate(wave.astype(np.float64), 2, ftype="fir")  # half the work
    found, _ = pyworld.harvest(narrow, 8000, f0_floor=LOWEST, f0_ceil=HIGHEST, frame_period=10.0)
    return found[np.minimum(2 * np.arange(count) + 1, len(found) - 1)].astype(np.float32)


def share_right(found: Tensor, true: Tensor) -> float:
    """Raw pitch accuracy: the share of voiced frames whose pitch is off by less than 5 %."""
    there = true > 0
    return float(((found[there] / true[there] - 1).abs() < 0.05).float().mean())
