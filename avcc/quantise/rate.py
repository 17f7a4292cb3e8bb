"""Bits -> operating point: how a budget is split between key frame, motion and voice.

The distortions below come from validation clips (``python -m avcc.training measure``, in round 6,
of voice and motion in round 13) and are put on one scale, that of LPIPS, by weights
chosen by hand: what a viewer and listener would rather give up. No split is dominated: the best is
sought over all operating points for the bits that this clip costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from avcc.errors import MediaError
from avcc.quantise.scalar import STEPS
from avcc.stages import MODES, OperatingPoint

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # of key frames
STRIDES = (1, 2, 3, 5)
# LPIPS of frames that don't differ from a key frame of so many bytes, and 0.02 for each per cent by
# which the mesh found in that key frame is off: few bytes cost a face its eyes before LPIPS minds
# (the meshes of 290 to 990 bytes were measured, in round 1; the others are extrapolated: the
# share of the mesh is 0.2, 0.17, 0.126, 0.066, 0.036, 0.032, 0.026, 0.022, 0.02, 0.02).
KEY_BYTES = (60, 90, 190, 390, 690, 990, 1490, 2490, 4990, 9990)
KEY_LOSS = (0.487, 0.393, 0.276, 0.173, 0.115, 0.097, 0.079, 0.067, 0.060, 0.059)

# Mesh error in % of the eye distance by (stride, step).
MOTION_ERROR = {
    (1, 0): 0.40, (1, 1): 0.60, (1, 2): 0.98, (1, 3): 1.55,
    (2, 0): 0.60, (2, 1): 0.78, (2, 2): 1.13, (2, 3): 1.67,
    (3, 0): 0.79, (3, 1): 0.95, (3, 2): 1.28, (3, 3): 1.79,
    (5, 0): 1.36, (5, 1): 1.48, (5, 2): 1.74, (5, 3): 2.19,
    (0, 0): 15.1,  # none: what AVDiff makes of the voice (``python -m avcc.training ablate``)
}  # fmt: skip

UNMOVED = {(0, 0): 0.0}  # no motion: bytes by (stride, step), as in ``Costs``

# Mean absolute log-mel error by number of acoustic layers (round 13); without any, that of semantic
# tokens alone, in models that have them.
VOICE_ERROR = (
    *(0.355, 0.257, 0.218, 0.197, 0.182, 0.172, 0.164),
    *(0.158, 0.153, 0.149, 0.147, 0.145, 0.143),
)

# What the pitch is worth, in units of log-mel, by number of acoustic layers: the mean of how much
# less error brings as much PESQ, STOI and speaker similarity (eleven validation voices, round 7; of
# one layer PESQ and ESTOI alone: docs/training.md, after round 15).
PITCHED_LAYERS = (0, 1, 2, 4, 6)
PITCH_WORTH = (0.036, 0.027, 0.012, 0.002, 0.0)

AWAY_WEIGHT = 0.0018  # LPIPS for each unit of distance between a frame and its key frame
MOTION_WEIGHT = 0.045  # LPIPS for one per cent
VOICE_WEIGHT = 0.55  # LPIPS for one unit of log-mel


@dataclass(frozen=True)
class Costs:
    """What a clip costs in bytes: ``motion`` by (stride, step), ``voice`` by acoustic layers (empty
    where there is no sound), ``fixed``: head, framing, shape and voice code, ``another``: each
    further key frame beside its picture. ``away``: how far frames are from what they are drawn
    from, with 1, 2, ... key frames (``analysis.keys``). ``pitch``: of the voice; 0: there is none.
    ``dear``: how many times the bytes of a typical face a key frame takes to look as good.
    """

    motion: dict[tuple[int, int], float]
    voice: dict[int, float]
    fixed: float
    another: float
    away: np.ndarray
    pitch: float = 0.0
    dear: float = 1.0

    def scaled(self, point: OperatingPoint, motion: float, voice: float) -> Costs:
        """The same where one operating point costs so many bytes of motion and voice, and all
        others as much more or less."""
        moved = self.motion.get((point.motion_stride, point.motion_step), 0.0)
        heard = self.voice.get(point.acoustic_layers, 0.0) if point.semantic else 0.0
        of_motion = motion / moved if moved else 1.0
        of_voice = voice / heard if heard else 1.0
        return replace(
            self,
            motion={key: size * of_motion for key, size in self.motion.items()},
            voice={key: size * of_voice for key, size in self.voice.items()},
        )


@dataclass(frozen=True)
class Plan:
    """An operating point, a number of key frames, and whether the voice's pitch is sent."""

    point: OperatingPoint
    keys: int
    pitch: bool = False


def check_mode(mode: str, sound: bool) -> None:
    """``ValueError`` unless ``mode`` is one of ``MODES``; ``MediaError`` where it needs a sound
    that the clip doesn't have."""
    if mode not in MODES:
        raise ValueError(f"there is no mode {mode!r}; there are {', '.join(MODES)}")
    if mode == "audio-driven" and not sound:
        raise MediaError("this clip has no sound, and audio-driven needs a voice to move the face")


def ranked(costs: Costs, budget: float, mode: str = "auto") -> list[Plan]:
    """Plans for ``budget`` bytes beside the smallest key frame, the best first.

    The cheapest of all stands last, whether it fits or not: where nothing fits in the end, what
    it really costs is the least that the clip needs.
    """
    plans: list[tuple[float, float, Plan]] = []
    for point, pitch, coded, lost in _choices(costs, mode):
        # Where a later key frame's face lies follows from motion: without it, one has to do.
        most = len(costs.away) if point.motion_stride else 1
        for n in (n for n in COUNTS if n <= most):
            spent = costs.fixed + coded + (n - 1) * (costs.another + KEY_BYTES[0])
            each = (budget - spent) / n + KEY_BYTES[0]
            loss = _seen(each / costs.dear, costs.away[n - 1]) + lost
            plans.append((loss, spent, Plan(point, n, pitch)))
    cheapest = min(plans, key=lambda p: p[1])[2]
    fitting = sorted((p for p in plans if p[1] <= budget), key=lambda p: p[0])
    return [plan for _, _, plan in fitting] + [cheapest]


def priced(
    bits: Callable[[OperatingPoint, int], float], layers: range
) -> tuple[dict[tuple[int, int], float], dict[int, float]]:
    """``motion`` and ``voice`` of ``Costs``. ``bits``: what an operating point costs in motion (0)
    or voice (1); ``layers``: numbers of acoustic ones to choose from, none without sound."""
    motion = {
        (stride, step): bits(OperatingPoint(stride, step, 0, False), 0) / 8
        for stride in STRIDES
        for step in range(len(STEPS))
    }
    return motion, {n: bits(OperatingPoint(0, 0, n, True), 1) / 8 for n in layers}


def points(costs: Costs, budget: float, mode: str = "auto") -> list[OperatingPoint]:
    """Operating points of one segment for ``budget`` bytes, the best first; the cheapest of all
    stands last, whether it fits or not. Of ``costs`` only ``motion`` and ``voice`` count."""
    choices = [(lost, spent, point) for point, _, spent, lost in _choices(costs, mode)]
    cheapest = min(choices, key=lambda c: c[1])[2]
    fitting = sorted((c for c in choices if c[1] <= budget), key=lambda c: c[0])
    return [point for _, _, point in fitting] + [cheapest]


def _choices(costs: Costs, mode: str) -> Iterator[tuple[OperatingPoint, bool, float, float]]:
    """Every operating point of a mode without and with pitch, its bytes of motion and voice, and
    what it loses by them."""
    motions = costs.motion
    if costs.voice and mode == "auto":
        motions = motions | UNMOVED
    elif mode == "audio-driven":
        motions = UNMOVED
    sent = bool(costs.voice) and mode != "video-driven"
    for (stride, step), motion in motions.items():
        moved = MOTION_WEIGHT * MOTION_ERROR[stride, step]
        for layers, pitch, voice, heard in _voices(costs) if sent else [(0, False, 0.0, 0.0)]:
            point = OperatingPoint(stride, step, layers, sent)
            yield point, pitch, motion + voice, moved + heard


def _voices(costs: Costs) -> Iterator[tuple[int, bool, float, float]]:
    """Acoustic layers, whether with pitch, bytes, and what is lost."""
    for layers, voice in costs.voice.items():
        yield layers, False, voice, VOICE_WEIGHT * VOICE_ERROR[layers]
        if costs.pitch:
            worth = float(np.interp(layers, PITCHED_LAYERS, PITCH_WORTH))
            yield layers, True, voice + costs.pitch, VOICE_WEIGHT * (VOICE_ERROR[layers] - worth)


def _seen(key: float, away: float) -> float:
    """LPIPS of frames that are so far from key frames of so many bytes, if those are of a typical
    face."""
    still = float(np.interp(np.log(max(key, 1.0)), np.log(KEY_BYTES), KEY_LOSS))
    return still + AWAY_WEIGHT * away
