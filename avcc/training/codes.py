"""Every voice as the symbols that the encoder would send for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from avcc.analysis.speech import Ear
from avcc.quantise.codebook import nearest, residual_paths
from avcc.quantise.scalar import voice_levels
from avcc.stages import SAMPLES_PER_FRAME, SILENT
from avcc.training.data import voices
from avcc.training.export import restore
from avcc.training.semantic import load_mae

LONGEST = 60 * 16_000  # samples of a voice that are taken


@dataclass(frozen=True)
class Codes:
    """``semantic`` int64 (T,), ``voice`` int64 (24,), ``acoustic`` for each number of layers n from
    0, int64 (T, n), the nearest to ``latents`` float32 (T, 32), whatever they cost."""

    semantic: np.ndarray
    acoustic: list[np.ndarray]
    voice: np.ndarray
    latents: np.ndarray


def trained_ear(work: Path) -> Ear:
    """The networks of a work folder that listen."""
    mae = load_mae(work)
    ear = Ear(words=mae is not None)
    ear.mae = mae
    acoustic = load_file(work / "acoustic.safetensors")
    restore(ear.encoder, acoustic, "encoder")
    restore(ear.voice, acoustic, "voice")
    return ear.eval()


@torch.no_grad()
def codes_of(
    cache: Path, work: Path, split: str, tier: str = "PW", hours: float = 0
) -> list[Codes]:
    """The symbols of every voice of a split, or of so many hours of it."""
    ear = trained_ear(work)
    centroids = np.load(work / "centroids.npy")
    books = load_file(work / "acoustic.safetensors")["books"].float().numpy()
    out = []
    for wave in voices(cache, split, tier, hours).waves:
        wave = wave[:LONGEST]
        frames = len(wave) // SAMPLES_PER_FRAME
        if frames < 10:
            continue
        heard = ear(wave, frames)
        if heard.silent.all():
            continue
        semantic = np.where(heard.silent, SILENT, nearest(heard.semantic, centroids))
        acoustic = residual_paths(heard.acoustic, books)
        for tokens in acoustic:
            tokens[heard.silent] = 0
        given = semantic.astype(np.int64), acoustic, voice_levels(heard.voice), heard.acoustic
        out.append(Codes(*given))
    return out
