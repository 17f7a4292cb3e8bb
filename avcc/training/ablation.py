"""What AVDiff adds to its starting point: mel, voice and motion with and without it, by steps.

Through the codec's own decoder, on validation clips, with the shipped weights or others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from avcc.codec import DEFAULT_STEPS
from avcc.diffusion import sample
from avcc.diffusion.avdiff import AVDiff, fitting
from avcc.diffusion.inbetween import Inbetween
from avcc.entropy.count import segment_bits
from avcc.evaluation.picture import correlation, mouth_openings
from avcc.layers import loaded
from avcc.training.held import Held, held, mouths

Schedule = tuple[int, float, float]
Variant = tuple[str, Schedule]  # a file of weights, STRAIGHT, or "" for the shipped ones
STRAIGHT = "straight lines"
Networks = tuple[AVDiff, Inbetween | None]

# Steps (0: no diffusion), share of the noise in mel and in motion.
VARIANTS: tuple[Schedule, ...] = (
    (0, 0.0, 0.0), (1, 0.0, 0.0), (2, 0.0, 0.0), (4, 0.0, 0.0), (1, 0.3, 0.0), (2, 0.3, 0.0),
    (4, 0.3, 0.0), (8, 0.3, 0.0), (4, 0.6, 0.0), (4, 0.3, 0.3), (4, 0.3, 0.6), (1, 1.0, 1.0),
    (4, 1.0, 1.0), (8, 1.0, 1.0),
)  # fmt: skip


def ablate(
    data: Path,
    bitrate: float,
    count: int = 6,
    seconds: float = 6.0,
    mode: str = "av",
    nets: Sequence[Path] = (),
) -> None:
    """Print one line a variant: mel error, PESQ, STOI, mesh and mouth error in % of the eyes,
    correlation of mouth openings with the true ones, and their spread as a share of theirs.

    ``nets``: files of AVDiff's weights, or of in-betweens', to compare, as the decoder uses them,
    instead of variants of the shipped ones; beside them ``STRAIGHT``, without in-betweens.
    """
    usual = (DEFAULT_STEPS, sample.MEL_NOISE, sample.MOTION_NOISE)
    loads = {str(path): load_file(path) for path in nets}
    variants: list[Variant] = [("", variant) for variant in VARIANTS]
    if nets:
        named = [STRAIGHT, *loads]
        variants = [(name, schedule) for name in named for schedule in (VARIANTS[0], usual)]
    found: dict[Variant, list[list[float]]] = {v: [] for v in variants}
    motion_bits = []
    for clip in held(data, bitrate, count, seconds, mode):
        motion_bits.append(_motion_rate(clip))
        own = clip.nets.avdiff, clip.nets.inbetween
        for name, schedule in variants:
            clip.nets.avdiff, clip.nets.inbetween = _networks(own, name, loads.get(name, {}))
            steps, sample.MEL_NOISE, sample.MOTION_NOISE = schedule
            found[name, schedule].append(_figures(clip, steps))
        clip.nets.avdiff, clip.nets.inbetween = own
    print(f"{len(motion_bits)} clips, {np.mean(motion_bits):.0f} bit/s of motion on the mean")
    print("steps, mel noise, motion noise: mel error, PESQ, STOI, mesh %, mouth %, corr., spread")
    for (name, schedule), rows in found.items():
        print(name, schedule, *(f"{x:.3f}" for x in np.nanmean(rows, 0)))


def _networks(own: Networks, name: str, tensors: dict[str, Tensor]) -> Networks:
    """AVDiff and in-betweens of a variant: a decoder's own but for what the file holds."""
    if name == STRAIGHT:
        return own[0], None
    if any(key.startswith("inbetween.") for key in tensors):
        return own[0], loaded(Inbetween(), tensors, "inbetween.", "cpu")
    return (loaded(fitting(tensors), tensors, "avdiff.", "cpu"), own[1]) if name else own


def _figures(clip: Held, steps: int) -> list[float]:
    """What ``ablate`` prints, of one clip."""
    from pesq import NoUtterancesError, pesq
    from pystoi import stoi

    features = clip.nets.dequantised(clip.symbols)
    latents = clip.nets.denoised(features, clip.symbols, steps, 0, None)
    heard = clip.nets.spoken(features, len(clip.audio), latents)
    mesh = clip.nets.bank.meshes(latents.motion, features.keys[0].mesh)
    wrong, opens, opened = clip.errors(mesh), mouth_openings(mesh), mouth_openings(clip.mesh)
    try:
        quality = pesq(16_000, clip.audio, heard, "wb")
    except NoUtterancesError:
        quality = np.nan
    assert latents.mel is not None
    return [
        float(np.abs(latents.mel - clip.mel)[np.repeat(~features.silent, 2)].mean()),
        quality,
        float(stoi(clip.audio, heard, 16_000)),
        float(wrong.mean()),
        float(mouths(wrong).mean()),
        correlation(opened, opens),
        float(opens.std() / opened.std()),
    ]


def _motion_rate(clip: Held) -> float:
    """Bits of motion a second."""
    head, book = clip.symbols.head, clip.nets.book
    bits = sum(segment_bits(seg, head.point, book)[0] for seg in clip.symbols.segments if seg)
    return bits / float(head.frames / head.rate)
