"""What AVDiff adds to its starting point: mel, voice and motion with and without it, by steps.

Uses the shipped weights, through the codec's own decoder, on validation clips.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avcc.diffusion import sample
from avcc.evaluation.picture import correlation, mouth_openings
from avcc.training.held import held, mouths

VARIANTS = (  # steps (0: no diffusion), share of the noise in mel and in motion
    (0, 0.0, 0.0), (1, 0.0, 0.0), (2, 0.0, 0.0), (4, 0.0, 0.0), (1, 0.3, 0.0), (2, 0.3, 0.0),
    (4, 0.3, 0.0), (8, 0.3, 0.0), (4, 0.6, 0.0), (4, 0.3, 0.3), (4, 0.3, 0.6), (1, 1.0, 1.0),
    (4, 1.0, 1.0), (8, 1.0, 1.0),
)  # fmt: skip


def ablate(
    data: Path, bitrate: float, count: int = 6, seconds: float = 6.0, mode: str = "av"
) -> None:
    """Print one line a variant: mel error, PESQ, STOI, mesh and mouth error in % of the eyes,
    correlation of mouth openings with the true ones, and their spread as a share of theirs."""
    from pesq import NoUtterancesError, pesq
    from pystoi import stoi

    found: dict[tuple, list[list[float]]] = {v: [] for v in VARIANTS}
    for clip in held(data, bitrate, count, seconds, mode):
        features = clip.nets.dequantised(clip.symbols)
        opened = mouth_openings(clip.mesh)
        sounds = np.repeat(~features.silent, 2)
        for variant in VARIANTS:
            steps, sample.MEL_NOISE, sample.MOTION_NOISE = variant
            latents = clip.nets.denoised(features, clip.symbols, steps, 0, None)
            assert latents.mel is not None
            heard = clip.nets.spoken(features, len(clip.audio), latents)
            mesh = clip.nets.bank.meshes(latents.motion, features.keys[0].mesh)
            wrong, opens = clip.errors(mesh), mouth_openings(mesh)
            try:
                quality = pesq(16_000, clip.audio, heard, "wb")
            except NoUtterancesError:
                quality = np.nan
            found[variant].append(
                [
                    float(np.abs(latents.mel - clip.mel)[sounds].mean()),
                    quality,
                    float(stoi(clip.audio, heard, 16_000)),
                    float(wrong.mean()),
                    float(mouths(wrong).mean()),
                    correlation(opened, opens),
                    float(opens.std() / opened.std()),
                ]
            )
    print("steps, mel noise, motion noise: mel error, PESQ, STOI, mesh %, mouth %, corr., spread")
    for variant, rows in found.items():
        print(variant, *(f"{x:.3f}" for x in np.nanmean(rows, 0)))
