"""What a lost segment costs, and what AVDiff saves of it against holding the picture and silence.

Segments of 4 s are dropped at random from coded validation clips, whole or one modality of them
(the format loses both together: they share a chunk). Motion is compared as meshes, before anything
is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from avcc.codec import DEFAULT_STEPS
from avcc.stages import SAMPLES_PER_FRAME, SEGMENT_FRAMES, UNSENT, Features
from avcc.training.held import EYES, Held, held, mouths

_Part = TypeVar("_Part")
MODALITIES = {"both": (True, True), "motion": (True, False), "voice": (False, True)}


@dataclass(frozen=True)
class Decoded:
    """``mesh`` float32 (N, 478, 2) and ``audio`` float32 (samples,) of one decoding."""

    mesh: np.ndarray
    audio: np.ndarray


def chosen(segments: list[int], share: float, seed: int) -> list[list[int]]:
    """Which segments of each clip are lost: ``share`` of them all, at least one, drawn at random.

    ``segments``: how many each clip has.
    """
    every = [(clip, n) for clip, count in enumerate(segments) for n in range(count)]
    count = min(len(every), max(1, round(share * len(every))))
    picks = np.random.default_rng(seed).choice(len(every), count, replace=False)
    lost: list[list[int]] = [[] for _ in segments]
    for pick in sorted(picks):
        clip, n = every[pick]
        lost[clip].append(n)
    return lost


def without(features: Features, gone: np.ndarray, motion: bool, voice: bool) -> Features:
    """Features as the decoder has them where the frames ``gone`` (bool (N,)) weren't received."""
    if motion:
        moved = np.where(gone[:, None], np.float32(np.nan), features.motion)
        features = replace(features, motion=moved)
    if voice:
        semantic = np.where(gone, UNSENT, features.semantic)
        acoustic = np.where(gone[:, None], np.float32(0), features.acoustic)
        silent = features.silent & ~gone
        features = replace(features, semantic=semantic, acoustic=acoustic, silent=silent)
    return features


def received_of(clip: Held, lost: list[int], copies_lost: list[int]) -> Held:
    """The clip without these segments, and without these copies of them."""

    def kept(parts: tuple[_Part | None, ...], gone: list[int]) -> tuple[_Part | None, ...]:
        return tuple(None if n in gone else part for n, part in enumerate(parts))

    s = clip.symbols
    symbols = replace(s, segments=kept(s.segments, lost), copies=kept(s.copies, copies_lost))
    return replace(clip, symbols=symbols)


def held_over(decoded: Decoded, gone: np.ndarray, motion: bool, voice: bool) -> Decoded:
    """What needs no network: the last picture before a gap (or the first after it), and silence."""
    mesh, audio = decoded.mesh, decoded.audio
    if motion and not gone.all():
        there = np.flatnonzero(~gone)
        before = there[np.maximum(np.searchsorted(there, np.arange(len(gone)), "right") - 1, 0)]
        mesh = mesh[before]
    if voice:
        quiet = np.repeat(gone, SAMPLES_PER_FRAME)[: len(audio)]
        quiet = np.pad(quiet, (0, len(audio) - len(quiet)), constant_values=bool(gone[-1]))
        audio = np.where(quiet, np.float32(0), audio)
    return Decoded(mesh, audio)


def decoded(clip: Held, features: Features) -> Decoded:
    """Motion and voice as ``decode`` makes them of the features."""
    latents = clip.nets.denoised(features, clip.symbols, DEFAULT_STEPS, 0, None)
    heard = clip.nets.spoken(features, len(clip.audio), latents)
    assert heard is not None
    return Decoded(clip.nets.bank.meshes(latents.motion, features.keys[0].mesh), heard)


def figures(clip: Held, gone: np.ndarray, found: Decoded) -> dict[str, float]:
    """Mesh and mouth error in % of the eyes and STOI, of the whole clip and of the lost part; and
    the largest move between neighbouring frames at the borders of the gaps, in % of the eyes."""
    from pystoi import stoi

    wrong = clip.errors(found.mesh)
    lost = np.repeat(gone, SAMPLES_PER_FRAME)[: len(clip.audio)]
    here = slice(0, len(lost))
    return {
        "mesh": float(wrong.mean()),
        "mouth": float(mouths(wrong).mean()),
        "stoi": float(stoi(clip.audio, found.audio, 16_000)),
        "lost mesh": float(wrong[gone].mean()),
        "lost mouth": float(mouths(wrong)[gone].mean()),
        "lost stoi": float(stoi(clip.audio[here][lost], found.audio[here][lost], 16_000)),
        "jump": float(moves(clip, found.mesh)[np.diff(gone)].max(initial=0)),
    }


def moves(clip: Held, mesh: np.ndarray) -> np.ndarray:
    """How far the points move from each frame to the next, means in % of the eyes: (N - 1,)."""
    eyes = np.linalg.norm(clip.mesh[:, EYES[0]] - clip.mesh[:, EYES[1]], axis=-1).mean()
    return np.linalg.norm(np.diff(mesh, axis=0), axis=-1).mean(1) / eyes * 100


def conceal(
    data: Path,
    bitrate: float,
    count: int,
    share: float,
    seed: int,
    show: Callable[[str], None],
    fec: bool = False,
    draws: int = 1,
) -> None:
    """Show one line for what was lost and how it was filled, means over the clips that lost any.

    ``fec``: files have coarse copies of their segments, as many of which are lost as of those.
    ``draws``: how often segments are drawn anew, with seeds from ``seed`` on.
    """
    every = list(held(data, bitrate, count, 10.0, "av", fec))
    counts = [len(clip.symbols.segments) for clip in every]
    rows: dict[str, list[dict[str, float]]] = {}
    hit = gone = 0
    for draw in range(seed, seed + draws):
        lost, copies_lost = chosen(counts, share, draw), chosen(counts, share, draw + draws)
        for clip, numbers, no_copies in zip(every, lost, copies_lost, strict=True):
            gone, hit = gone + len(numbers), hit + bool(numbers)
            for name, found in _filled(clip, numbers, no_copies).items() if numbers else ():
                rows.setdefault(name, []).append(found)
    show(
        f"{gone} of {draws * sum(counts)} segments of {len(every)} clips lost; of the {hit} times"
        " that a clip lost any:"
    )
    for name, values in rows.items():
        means = {key: np.mean([row[key] for row in values]) for key in values[0]}
        show(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in means.items()))


def _filled(clip: Held, lost: list[int], copies_lost: list[int]) -> dict[str, dict[str, float]]:
    """Figures of one clip that loses these segments, by what fills them."""
    gone = np.isin(np.arange(len(clip.mesh)) // SEGMENT_FRAMES, lost)
    features = clip.nets.dequantised(clip.symbols)
    whole = decoded(clip, features)
    rows = {"source": {"largest move": float(moves(clip, clip.mesh).max())}}
    rows["nothing lost"] = figures(clip, gone, whole)
    if clip.symbols.copies:
        received = received_of(clip, lost, copies_lost)
        coarse = decoded(received, clip.nets.dequantised(received.symbols))
        rows["both: copies"] = figures(clip, gone, coarse)
    for name, (motion, voice) in MODALITIES.items():
        made_up = decoded(clip, without(features, gone, motion, voice))
        rows[f"{name}: AVDiff"] = figures(clip, gone, made_up)
        still = held_over(whole, gone, motion, voice)
        rows[f"{name}: held over"] = figures(clip, gone, still)
    return rows
