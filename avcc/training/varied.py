"""Voices that nobody has: cuts spoken faster and higher or slower and lower, through other rooms.

A few hours of voices are soon known by heart; resampled (pitch, formants and pace change together)
and coloured by a smooth filter they last longer (Ko et al., "Audio augmentation for speech
recognition", 2015, by the first of these).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import fftconvolve, firwin2, resample_poly
from torch import Tensor

from avcc.stages import SAMPLES_PER_FRAME

PARTS = 25  # a cut of so many parts is made from one of LEAST to MOST
LEAST, MOST = 21, 30
CHANGED, COLOURED = 0.7, 0.5  # how often
TAPS = 129
POINTS, SPREAD = 6, 4.0  # of a filter: places up to 8 kHz, their standard deviation in dB


def longer(frames: int) -> int:
    """Tokens that a cut for ``varied`` must have, to give so many (a multiple of 25)."""
    return frames * MOST // PARTS


def varied(
    rng: np.random.Generator, frames: int, wave: Tensor, *tracks: Tensor
) -> tuple[Tensor, ...]:
    """Cuts of ``longer(frames)`` tokens, wave (B, 640 T) and what is known of each token (B, T), or
    of its two halves (B, 2 T), as cuts of ``frames``; then how much higher each has become, float32
    (B, 1)."""
    count = len(wave)
    parts = np.where(rng.random(count) < CHANGED, rng.integers(LEAST, MOST + 1, count), PARTS)
    sounds = []
    for sound, part in zip(wave.numpy(), parts.tolist(), strict=True):
        sound = sound[: frames * part // PARTS * SAMPLES_PER_FRAME]
        if part != PARTS:
            sound = resample_poly(sound, PARTS, part)
        if rng.random() < COLOURED:
            sound = _coloured(rng, sound)
        sounds.append(sound.astype(np.float32))
    moved = [_moved(track, parts, frames) for track in tracks]
    higher = torch.from_numpy((parts / PARTS).astype(np.float32))[:, None]
    return torch.from_numpy(np.stack(sounds)), *moved, higher


def _moved(track: Tensor, parts: np.ndarray, frames: int) -> Tensor:
    """What each of ``frames`` tokens, or half of one, is after a track goes ``parts`` as fast."""
    each = track.shape[1] // longer(frames)
    middles = (np.arange(each * frames) + 0.5) / PARTS
    return track.gather(1, torch.from_numpy((middles * parts[:, None]).astype(np.int64)))


def _coloured(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    gains = 10 ** (rng.normal(0, SPREAD, POINTS) / 20)
    kernel = firwin2(TAPS, np.linspace(0, 1, POINTS), gains)
    return np.asarray(fftconvolve(sound, kernel, mode="same"))
