"""Validation clips, coded and decoded as far as the symbols, beside their truth.

For measurements that look inside the decoder: what AVDiff made of the symbols, before anything is
drawn. They use the shipped weights, through the codec's own decoder.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from avcc import codec, weights
from avcc.analysis.look import look
from avcc.analysis.mel import LEVEL, LogMel, active_level
from avcc.analysis.speech import FAINT
from avcc.container.read import read as parsed
from avcc.decoder import Decoder, decoder
from avcc.entropy import coder
from avcc.errors import MediaError
from avcc.evaluation.bench import source_of
from avcc.mesh import LIPS
from avcc.stages import SAMPLES_PER_FRAME, Clip, Symbols

EYES = (33, 263)  # outer corners


@dataclass(frozen=True)
class Held:
    """``audio``: float32 (samples,), the source's; ``mel``: its (2 N, 80) at the level of speech;
    ``mesh``: float32 (N, 478, 2), true motion of the decoded key face; ``symbols``: what was sent;
    ``nets``: what decodes it."""

    name: str
    audio: np.ndarray
    mel: np.ndarray
    mesh: np.ndarray
    symbols: Symbols
    nets: Decoder

    def errors(self, mesh: np.ndarray) -> np.ndarray:
        """How far meshes (N, 478, 2) are off, in % of the eye distance: float32 (N, 478)."""
        eyes = np.linalg.norm(self.mesh[:, EYES[0]] - self.mesh[:, EYES[1]], axis=-1)[:, None]
        return np.linalg.norm(mesh - self.mesh, axis=-1) / eyes * 100


def mouths(errors: np.ndarray) -> np.ndarray:
    """Errors (N, 478) of the lips alone."""
    return errors[:, list(LIPS)]


def clips(data: Path, count: int, seconds: float) -> Iterator[tuple[str, Clip]]:
    """Clips of the validation split with sound, evenly spread, and their names."""
    with (data / "clips" / "manifest.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == "val" and r["audio"] == "True"]
    rows = [r for r in rows if float(r["seconds"]) > 4 and r["file"].startswith("hi")]
    for i in np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int)):
        try:
            source = source_of(data / "clips" / rows[i]["file"], seconds)
        except MediaError:  # a detector that misses a face is not what is measured here
            continue
        yield source.name, source.clip


def held(
    data: Path, bitrate: float, count: int, seconds: float, mode: str, fec: bool = False
) -> Iterator[Held]:
    """Clips of the validation split that sound, each coded at ``bitrate``."""
    coding = codec.Codec("cpu")
    for name, clip in clips(data, count, seconds):
        assert clip.audio is not None
        level = active_level(clip.audio)
        if level < FAINT:
            continue
        stream = parsed(coding.encode(clip, bitrate, mode=mode, fec=fec))
        symbols = coder.decode(stream, weights.codebook(stream.head.model))
        nets = decoder(stream.head.model, "cpu")
        seen = look(clip, nets.bank)
        true = nets.bank.meshes(seen.motion, nets.dequantised(symbols).keys[0].mesh)
        wave = clip.audio[: clip.count * SAMPLES_PER_FRAME]
        wave = np.pad(wave, (0, clip.count * SAMPLES_PER_FRAME - len(wave)))
        mel = LogMel()(torch.from_numpy(wave * (LEVEL / level))[None])[0].numpy()
        yield Held(name, clip.audio, mel, true, symbols, nets)
