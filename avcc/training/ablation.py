"""What AVDiff adds to its starting point: mel, voice and motion with and without it, by steps.

Uses the shipped weights, through the codec's own decoder, on validation clips.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from avcc import codec, weights
from avcc.analysis.look import look
from avcc.analysis.mel import LEVEL, LogMel, active_level
from avcc.analysis.speech import FAINT
from avcc.container.read import read as parsed
from avcc.diffusion import sample
from avcc.entropy import coder
from avcc.errors import MediaError
from avcc.evaluation.bench import source_of
from avcc.mesh import LIPS
from avcc.stages import Clip

VARIANTS = (  # steps (0: no diffusion), share of the noise in mel and in motion
    (0, 0.0, 0.0), (1, 0.0, 0.0), (1, 1.0, 1.0), (2, 0.5, 0.5), (4, 0.0, 0.0), (4, 0.3, 0.3),
    (4, 0.6, 0.6), (4, 1.0, 1.0), (8, 1.0, 1.0),
)  # fmt: skip


def validation_clips(data: Path, count: int, seconds: float) -> Iterator[Clip]:
    """Clips of the validation split with sound, evenly spread."""
    with (data / "clips" / "manifest.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == "val" and r["audio"] == "True"]
    rows = [r for r in rows if float(r["seconds"]) > 4 and r["file"].startswith("hi")]
    for i in np.linspace(0, len(rows) - 1, count).round().astype(int):
        try:
            yield source_of(data / "clips" / rows[i]["file"], seconds).clip
        except MediaError:  # a detector that misses a face is not what is measured here
            continue


def ablate(data: Path, bitrate: float, count: int = 6, seconds: float = 6.0) -> None:
    """Print one line a variant: mel error, PESQ, STOI, mesh and mouth error in % of the eyes."""
    from pesq import NoUtterancesError, pesq
    from pystoi import stoi

    coding = codec.Codec("cpu")
    found: dict[tuple, list[list[float]]] = {v: [] for v in VARIANTS}
    for clip in validation_clips(data, count, seconds):
        assert clip.audio is not None
        level = active_level(clip.audio)
        if level < FAINT:
            continue
        payload = coding.encode(clip, bitrate)
        stream = parsed(payload)
        symbols = coder.decode(stream, weights.codebook(stream.head.model))
        nets = codec._decoder(stream.head.model, "cpu")
        features = nets.dequantised(symbols)
        seen = look(clip, nets.bank)
        true = nets.bank.meshes(seen.motion, features.keys[0].mesh)
        eyes = np.linalg.norm(true[:, 33] - true[:, 263], axis=-1)[:, None]
        wave = clip.audio[: clip.count * 640]
        wave = np.pad(wave, (0, clip.count * 640 - len(wave)))
        mel = LogMel()(torch.from_numpy(wave * (LEVEL / level))[None])[0].numpy()
        for variant in VARIANTS:
            steps, sample.MEL_NOISE, sample.MOTION_NOISE = variant
            latents = nets.denoised(features, symbols, steps, 0, None)
            assert latents.mel is not None
            sounds = np.repeat(~features.silent, 2)
            heard = nets.spoken(features, len(clip.audio), latents)
            mesh = nets.bank.meshes(latents.motion, features.keys[0].mesh)
            wrong = np.linalg.norm(mesh - true, axis=-1) / eyes * 100
            try:
                quality = pesq(16_000, clip.audio, heard, "wb")
            except NoUtterancesError:
                quality = np.nan
            found[variant].append(
                [
                    float(np.abs(latents.mel - mel)[sounds].mean()),
                    quality,
                    float(stoi(clip.audio, heard, 16_000)),
                    float(wrong.mean()),
                    float(wrong[:, list(LIPS)].mean()),
                ]
            )
    print("steps, mel noise, motion noise: mel error, PESQ, STOI, mesh %, mouth %")
    for variant, rows in found.items():
        print(variant, *(f"{x:.3f}" for x in np.nanmean(rows, 0)))
