"""The codebook: integer tables of the entropy coder, counted over the training clips and voices.

Contexts come first (which row of a table codes what), then one walk through everything with the
traversal that encoder and decoder use, then frequencies. Validation data is only measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.entropy.context import identity_walk, segment
from avcc.entropy.count import Counter, segment_bits
from avcc.entropy.primitive import walked
from avcc.entropy.tables import ESCAPE, REACH, SIGNED, Codebook, frequencies
from avcc.quantise.motion import MotionPaths
from avcc.quantise.rate import STRIDES
from avcc.quantise.refine import refined
from avcc.quantise.scalar import (
    GAIN_LEVELS,
    SHAPE_STEPS,
    STEPS,
    VOICE_LEVELS,
    rounded,
    steady,
)
from avcc.quantise.trellis import Trellis
from avcc.stages import (
    MOTION,
    SEGMENT_FRAMES,
    SHAPE,
    VOICE,
    OperatingPoint,
    Segment,
)
from avcc.training.codes import Codes, codes_of
from avcc.training.contexts import motion_contexts, voice_contexts
from avcc.training.data import part
from avcc.training.motion import clip_meshes

BELIEF = 30.0  # symbols that the likes of a sparse row weigh
OWN_BELIEF = 600.0  # the same where each acoustic code is a context of its own
COUNTED_AGAIN = ("motion", "semantic", "acoustic")  # tables
SHOWN = (0, 1, 2, 3, 4, 6, 9, 12)  # layers, of what validation costs
COUNTED = (1, 2, 4, 6)  # layers of what is sent to count, beside all: files have few


def fit(
    cache: Path,
    work: Path,
    tier: str = "PW",
    hours: float = 0,
    voices: list[Codes] | None = None,
) -> Codebook:
    """The codebook of what ``work`` holds: motion bank, centroids, acoustic books. ``voices``: to
    count instead of those of the cache."""
    arrays = models(work)
    motion = clip_motion(cache, arrays, "train", tier)
    voices = voices or codes_of(cache, work, "train", tier, hours)
    contexts = motion_contexts(motion) | voice_contexts(arrays, voices)
    blank = _blank(contexts)
    counter = Counter(blank)
    _count_motion(counter, blank, motion)
    layers = blank.layers
    _count_voices(counter, blank, voices, (layers,))
    _count_shapes(counter, blank, shapes(cache, arrays, tier))
    counts = counter.counts | {"voice": _voice_counts(voices)}
    halves = _halved(arrays)
    first = Codebook.from_arrays(halves | contexts | _tables(counts, blank))
    # what things cost decides what is sent (quantise/trellis.py, motion.py): counted again, of that
    sent = _sent(voices, first)
    again = Counter(blank)
    _count_motion(again, blank, motion, MotionPaths(first))
    _count_voices(again, blank, sent, sorted({*COUNTED, layers} & {*range(layers + 1)}))
    counts |= {k: v for k, v in again.counts.items() if k.startswith(COUNTED_AGAIN)}
    return Codebook.from_arrays(halves | contexts | _tables(counts, blank))


def refit(cache: Path, work: Path, tier: str = "PW") -> Codebook:
    """The codebook in ``work`` with its motion and shape, their directions and tables, anew; what
    codes a voice stays as it is."""
    known = Codebook.load(work / "codebook.safetensors").arrays
    arrays = _halved(dict(np.load(work / "motion.npz")))
    motion = clip_motion(cache, {k: v.astype(np.float32) for k, v in arrays.items()}, "train", tier)
    rest = {k: v for k, v in known.items() if not k.startswith("prior.motion")}
    found = rest | arrays | motion_contexts(motion)
    blank = _blank({k: v for k, v in found.items() if k.startswith("context.")})
    once, again = Counter(blank), Counter(blank)
    _count_motion(once, blank, motion)
    _count_shapes(once, blank, shapes(cache, arrays, tier))
    found |= _tables({n: once.counts[n] for n in ("motion", "motion_first", "shape")}, blank)
    _count_motion(again, blank, motion, MotionPaths(Codebook.from_arrays(found)))
    found |= _tables({n: again.counts[n] for n in ("motion", "motion_first")}, blank)
    return Codebook.from_arrays(found)


def _blank(contexts: dict[str, np.ndarray]) -> Codebook:
    return Codebook.blank(contexts, 3 + SHAPE, (VOICE + 1, GAIN_LEVELS))


def _halved(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: v.astype(np.float16) for k, v in arrays.items()}


def _sent(voices: list[Codes], book: Codebook) -> list[Codes]:
    """With the acoustic tokens that an encoder with this codebook would send."""
    trellis = Trellis(book)
    return [replace(v, acoustic=trellis.tokens(v.latents, v.semantic)) for v in voices]


def _tables(counts: dict[str, np.ndarray], blank: Codebook) -> dict[str, np.ndarray]:
    return {
        f"table.{name}": frequencies(count, _prior(name, count, blank))
        for name, count in counts.items()
    }


def _count_motion(
    counter: Counter,
    blank: Codebook,
    motion: list[np.ndarray],
    paths: MotionPaths | None = None,
) -> None:
    """Walk through motion at every stride and step."""
    for code in motion:
        for stride, step in product(STRIDES, range(len(STEPS))):
            point = OperatingPoint(stride, step, 0, False)
            for seg in motion_segments(code, point, paths):
                segment(counter, blank, point, seg.frames, seg)


def _count_voices(
    counter: Counter, blank: Codebook, voices: list[Codes], layers: Sequence[int]
) -> None:
    """Walk through voices at each number of layers."""
    for one in voices:
        for n in layers:
            for seg in voice_segments(one, n):
                segment(counter, blank, OperatingPoint(0, 0, n, True), seg.frames, seg)


def _count_shapes(counter: Counter, blank: Codebook, found: list[np.ndarray]) -> None:
    for shape in found:
        walked(counter, identity_walk(blank, shape, np.zeros(0, np.int64), False))


def models(work: Path) -> dict[str, np.ndarray]:
    """Arrays that quantisers need, rounded as the codebook file stores them."""
    found = dict(np.load(work / "motion.npz"))
    found["semantic.centroids"] = np.load(work / "centroids.npy")
    found["acoustic.books"] = load_file(work / "acoustic.safetensors")["books"]
    return {k: v.astype(np.float32) for k, v in _halved(found).items()}


def clip_motion(
    cache: Path, arrays: dict[str, np.ndarray], split: str, tier: str
) -> list[np.ndarray]:
    """Coefficients (N, K) of every clip, relative to its most central frame."""
    bank = MotionBank(arrays["motion.directions"])
    out = []
    for size in ("hi", "lo"):
        clips = part(cache, f"{size}_{split}", tier)
        for row in clips.index:
            mesh = clip_meshes(clips, row)
            if len(mesh) < 10:
                continue
            code = bank.coefficients(mesh, mesh[0])
            middle = int(np.linalg.norm(code - code.mean(0), axis=1).argmin())
            out.append(bank.coefficients(mesh, mesh[middle]))
    return out


def motion_segments(
    code: np.ndarray, point: OperatingPoint, paths: MotionPaths | None = None
) -> list[Segment]:
    """A clip's motion alone, as ``quantise/symbols.py`` cuts it; without ``paths`` whatever what is
    sent would cost."""
    out = []
    for a in range(0, len(code), SEGMENT_FRAMES):
        cut = code[a : a + SEGMENT_FRAMES]
        if paths is None:
            sent = steady(cut[:: point.motion_stride], float(STEPS[point.motion_step]))
        else:
            sent = paths.codes(cut[None], point.motion_stride, point.motion_step)[0]
        nothing = np.zeros((0, point.acoustic_layers), np.int64)
        out.append(Segment(len(cut), sent, np.zeros(0, np.int64), nothing))
    return out


def voice_segments(one: Codes, layers: int) -> list[Segment]:
    """A voice alone."""
    out = []
    for a in range(0, len(one.semantic), SEGMENT_FRAMES):
        token = one.semantic[a : a + SEGMENT_FRAMES]
        acoustic = one.acoustic[layers][a : a + SEGMENT_FRAMES]
        out.append(Segment(len(token), np.zeros((0, MOTION), np.int64), token, acoustic))
    return out


def shapes(cache: Path, arrays: dict[str, np.ndarray], tier: str) -> list[np.ndarray]:
    """Quantised shape vectors of key faces: some of each clip, and the stills."""
    bank = ShapeBank(arrays["shape.mean"], arrays["shape.directions"])
    meshes = []
    for name in ("hi_train", "lo_train"):
        clips = part(cache, name, tier)
        for row in clips.index:
            meshes += list(clip_meshes(clips, row)[::40][:8])
    stills = part(cache, "stills").mesh
    meshes += list(stills[~np.isnan(stills[:, 0, 0])])
    return [rounded(bank.vector(m), SHAPE_STEPS) for m in meshes]


def _voice_counts(voices: list[Codes]) -> np.ndarray:
    """Voice codes weigh by voice; the level, which training voices lack, is left to the prior."""
    counts = np.zeros((VOICE + 1, GAIN_LEVELS), np.int64)
    for one in voices:
        counts[np.arange(VOICE), one.voice] += 1
    return counts


def _prior(name: str, count: np.ndarray, book: Codebook) -> np.ndarray | float:
    """Pseudo-counts: what a row believes before it has seen anything, from its likes if it can."""
    if name == "voice":
        prior = np.zeros((VOICE + 1, GAIN_LEVELS))
        prior[:VOICE, :VOICE_LEVELS] = 2.0
        # Speech is recorded at -26 dB or so: index 18 of 2 dB steps up from -62 dB.
        prior[VOICE] = np.exp(-np.square((np.arange(GAIN_LEVELS) - 18) / 5.0) / 2) + 0.01
        return prior
    if name in ("motion", "motion_first", "shape"):
        value = np.abs(np.arange(SIGNED) - REACH)
        value[ESCAPE] = REACH + 1
        return 2.0 * np.exp(-value / 6.0)[None] + 0.02
    if name == "semantic_token":
        # One block of rows a class; a rank that the class doesn't have is never coded.
        sizes = np.bincount(book.token_class)
        inside = np.arange(count.shape[1]) < sizes[:, None]
        alike = count.reshape(len(sizes), -1, count.shape[1]).sum(1) + 1.0
        alike = alike * inside
        alike = BELIEF * alike / alike.sum(1, keepdims=True) + 0.05 * inside
        return np.repeat(alike, len(sizes) + 1, 0)
    if name.startswith("acoustic"):
        alike = count.sum(0, keepdims=True) + 1.0
        belief = BELIEF if book.words else OWN_BELIEF
        return belief * alike / alike.sum() + 0.02
    return 0.5


def bits(cache: Path, work: Path, book: Codebook) -> dict[str, float]:
    """What validation costs, in bits a second: motion by stride and step, voice by layers."""
    arrays = models(work)
    out: dict[str, float] = {}
    motion = clip_motion(cache, arrays, "val", "PW")
    seconds, paths = sum(map(len, motion)) / 25, MotionPaths(book)
    for stride, step in product(STRIDES, range(len(STEPS))):
        point = OperatingPoint(stride, step, 0, False)
        found = (s for m in motion for s in motion_segments(m, point, paths))
        spent = sum(segment_bits(s, point, book)[0] for s in found)
        out[f"motion_{stride}_{step}"] = spent / seconds
    voices = _sent(codes_of(cache, work, "val", "PW"), book)
    seconds = sum(len(v.semantic) for v in voices) / 25
    for layers in (n for n in SHOWN if n in book.depths):
        point = OperatingPoint(0, 0, layers, True)
        spent = 0.0
        for one in voices:
            for number, seg in enumerate(voice_segments(one, layers)):
                if book.acoustic_prior:
                    a = number * SEGMENT_FRAMES
                    latents = one.latents[a : a + seg.frames]
                    tokens = refined(book, latents, seg.semantic, seg.acoustic)
                    seg = replace(seg, acoustic=tokens)
                spent += segment_bits(seg, point, book)[1]
        out[f"voice_{layers}"] = spent / seconds
    return out
