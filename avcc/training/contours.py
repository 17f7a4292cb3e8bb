"""The pitch of training voices as an encoder would send it; ``voiced`` has the true one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from avcc.analysis.mel import LogMel
from avcc.analysis.pitch import likelihood
from avcc.pitch import Pitch
from avcc.quantise.pitch import hertz, path
from avcc.stages import SAMPLES_PER_FRAME
from avcc.training.export import restore
from avcc.training.loop import Options
from avcc.training.voiced import kept

BLOCK = 1500  # frames that are listened to at a time
SENT = 0.75  # share of training voices whose pitch is sent


def audible(work: Path) -> bool:
    """Whether a work folder has the network that finds pitches."""
    return (work / "vocoder.safetensors").exists()


@torch.no_grad()
def contours(
    options: Options, split: str, waves: Sequence[np.ndarray], name: str = "contours"
) -> list[np.ndarray]:
    """Of waveforms float32 (640 T,): float32 (2 T,) in Hz; found once, and kept as ``name``."""
    weights = options.work / "vocoder.safetensors"
    net, mel = Pitch(), LogMel()
    restore(net, load_file(weights), "vocoder.pitch")

    def heard_in(voice: int) -> np.ndarray:
        wave = torch.from_numpy(waves[voice])[None]
        parts = [
            likelihood(part, mel(part), net)
            for part in wave.split(BLOCK * SAMPLES_PER_FRAME, 1)
            if part.shape[1]
        ]
        return hertz(path(np.concatenate(parts))) if parts else np.zeros(0, np.float32)

    lengths = np.array([2 * (len(wave) // SAMPLES_PER_FRAME) for wave in waves])
    of = zlib.crc32(weights.read_bytes())  # another network hears another pitch
    return kept(options, split, name, lengths, heard_in, of)


def cut_of(pitches: list[np.ndarray], places: list[tuple[int, int]], frames: int) -> Tensor:
    """Cuts of ``frames`` tokens, float32 (B, 2 T), NaN beyond the end of a voice."""
    out = np.full((len(places), 2 * frames), np.nan, np.float32)
    for row, (which, a) in zip(out, places, strict=True):
        cut = pitches[which][2 * a : 2 * (a + frames)]
        row[: len(cut)] = cut
    return torch.from_numpy(out)
