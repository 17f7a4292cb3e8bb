"""Features <-> integers, as an operating point asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from avcc.entropy.tables import Codebook
from avcc.quantise.codebook import nearest, residual_sum
from avcc.quantise.motion import MotionPaths
from avcc.quantise.pitch import between, hertz, path
from avcc.quantise.refine import refined
from avcc.quantise.scalar import (
    SHAPE_STEPS,
    STEPS,
    gain_index,
    gain_value,
    rounded,
    voice_levels,
    voice_values,
)
from avcc.quantise.trellis import Trellis
from avcc.stages import (
    LATENT,
    LIPS_MOST,
    MOTION,
    PITCH_FRAMES,
    SEGMENT_FRAMES,
    SHARPEST,
    SILENT,
    UNSENT,
    VOICE,
    Copy,
    Features,
    Identity,
    KeyFrame,
    OperatingPoint,
    Segment,
    Symbols,
)

# A stranger's file can name shapes that no face has. What is beyond these is brought to them, or
# pictures would be made of numbers that aren't finite.
FAR = 100.0  # any coefficient; real ones stay below 20
SIZES = (-8.0, 2.0)  # natural logarithm of a face's size, in sides of the picture


COARSE = OperatingPoint(5, len(STEPS) - 1, 0)  # of the copies that stand in for lost segments


@dataclass(frozen=True)
class Tokens:
    """``semantic`` int64 (N,); ``acoustic`` for each number of layers n from 0, int64 (N, n);
    ``pitch`` as in ``Symbols``. ``latents`` float32 (N, 32): what the acoustic ones stand for."""

    semantic: np.ndarray
    acoustic: list[np.ndarray]
    latents: np.ndarray
    pitch: tuple[np.ndarray, ...] = ()


class Quantiser:
    """All that is quantised with one codebook. ``features`` of one clip at a time."""

    def __init__(self, book: Codebook) -> None:
        self.centroids = book.arrays["semantic.centroids"].astype(np.float32)
        self.books = book.arrays["acoustic.books"].astype(np.float32)
        self._book = book

    def tokens(self, features: Features) -> Tokens:
        """What a clip's voice is coded as."""
        silent = features.silent
        if silent.all():
            count = len(silent)
            nothing = [np.zeros((count, n), np.int64) for n in range(len(self.books) + 1)]
            return Tokens(np.full(count, SILENT, np.int64), nothing, features.acoustic)
        semantic = np.where(silent, SILENT, nearest(features.semantic, self.centroids))
        semantic = semantic.astype(np.int64)
        acoustic = self._trellis.tokens(features.acoustic, semantic)
        return Tokens(semantic, acoustic, features.acoustic, _pitch(features.pitch))

    @cached_property
    def _trellis(self) -> Trellis:
        return Trellis(self._book)

    def identity(
        self, shape: np.ndarray, features: Features, sound: bool, frame: int = 0
    ) -> Identity:
        """The identity code but for its picture. ``shape``: float32 (M,), the key face's."""
        voice = np.zeros(0, np.int64)
        if sound:
            levels = voice_levels(features.voice[:VOICE])
            voice = np.append(levels, gain_index(float(features.voice[VOICE])))
        return Identity(b"", 0, rounded(shape, SHAPE_STEPS), voice, frame)

    def segments(
        self,
        features: Features,
        tokens: Tokens,
        point: OperatingPoint,
        numbers: Sequence[int] | None = None,
        draft: bool = False,
    ) -> list[Segment]:
        """A clip's features cut into segments of symbols; ``numbers``: which, all by default.
        ``draft``: some bits dearer, and sooner done, to learn about what they cost."""
        count = len(features.motion)
        if numbers is None:
            numbers = range(-(-count // SEGMENT_FRAMES))
        parts = [slice(n * SEGMENT_FRAMES, min(count, (n + 1) * SEGMENT_FRAMES)) for n in numbers]
        out = []
        for part, codes in zip(parts, self._codes(features, parts, point, draft), strict=True):
            semantic = tokens.semantic[part]
            acoustic = tokens.acoustic[point.acoustic_layers][part]
            if not point.semantic:
                semantic, acoustic = semantic[:0], acoustic[:0]
            elif self._book.acoustic_prior and not draft:
                acoustic = refined(self._book, tokens.latents[part], semantic, acoustic)
            out.append(Segment(part.stop - part.start, codes, semantic, acoustic))
        return out

    def moved(
        self, segments: Sequence[Segment], features: Features, point: OperatingPoint
    ) -> list[Segment]:
        """All segments of a clip with the motion of other ``features``."""
        ends = np.cumsum([segment.frames for segment in segments])
        parts = [slice(b - one.frames, b) for one, b in zip(segments, ends, strict=True)]
        codes = self._codes(features, parts, point)
        return [replace(one, motion=m) for one, m in zip(segments, codes, strict=True)]

    def _codes(
        self, features: Features, parts: Sequence[slice], point: OperatingPoint, draft: bool = False
    ) -> list[np.ndarray]:
        """Indices of the motion of each part, int64 (rows, K)."""
        motions = [features.motion[part] for part in parts]
        if not point.motion_stride:
            return [motion[:0].astype(np.int64) for motion in motions]
        return self._paths.parts(motions, point.motion_stride, point.motion_step, draft)

    @cached_property
    def _paths(self) -> MotionPaths:
        return MotionPaths(self._book)

    def copies(self, features: Features, tokens: Tokens, point: OperatingPoint) -> list[Copy]:
        """The same as coarse as can be made out, of what ``point`` sends at all."""
        coarse = replace(COARSE, semantic=point.semantic)
        if point.semantic:
            coarse = replace(coarse, acoustic_layers=self._book.depths[0])
        if not point.motion_stride:
            coarse = replace(coarse, motion_stride=0)
        return [Copy(coarse, seg) for seg in self.segments(features, tokens, coarse)]

    def features(self, symbols: Symbols, keys: tuple[KeyFrame, ...]) -> Features:
        """The way back, with gaps where nothing was sent or a segment was lost.

        ``keys``: the decoded pictures of the identities.
        """
        head, voice = symbols.head, symbols.identities[0].voice
        semantic = np.full(head.frames, UNSENT, np.int64)
        acoustic = np.zeros((head.frames, LATENT), np.float32)
        for a, _, seg in _received(symbols):
            if len(seg.semantic):
                semantic[a : a + seg.frames] = seg.semantic
                acoustic[a : a + seg.frames] = residual_sum(seg.acoustic, self.books)
        silent = semantic == SILENT
        acoustic[silent] = 0
        code = np.zeros(VOICE + 1, np.float32)
        if len(voice):
            code = np.append(voice_values(voice[:VOICE]), gain_value(int(voice[VOICE])))
        heard = semantic, acoustic, silent, code.astype(np.float32)
        shown = symbols.cuts, pitch_sent(symbols), head.sharpness / SHARPEST
        lips = None if symbols.lips is None else symbols.lips.clip(-LIPS_MOST, LIPS_MOST)
        return Features(keys, motion_sent(symbols), *heard, *shown, lips)


def motion_sent(symbols: Symbols) -> np.ndarray:
    """Of all frames, float32 (N, K), relative to the first identity; NaN where none was sent."""
    out = np.full((symbols.head.frames, MOTION), np.nan, np.float32)
    for a, point, seg in _received(symbols):
        if point.motion_stride:
            sent = np.clip(seg.motion * STEPS[point.motion_step], -FAR, FAR)
            out[a : a + seg.frames : point.motion_stride] = sent
    return out


def pitch_sent(symbols: Symbols) -> np.ndarray:
    """Of all mel frames, float32 (2 N,) in Hz; NaN where none was sent."""
    known = np.full((symbols.head.frames, 2), np.nan, np.float32)
    for number, part in enumerate(symbols.pitch):
        if part is not None:
            here = known[number * PITCH_FRAMES :][:PITCH_FRAMES]
            here[: len(part), : len(part) // len(here)] = hertz(part).reshape(len(here), -1)
    # where there is one a frame alone
    return np.where(np.isnan(known[:, 1:]), between(known[:, 0]).reshape(-1, 2), known).reshape(-1)


def _received(symbols: Symbols) -> Iterator[tuple[int, OperatingPoint, Segment]]:
    """What there is of all segments, with the first frame of each."""
    for number in range(len(symbols.segments)):
        received = symbols.received(number)
        if received is not None:
            yield number * symbols.head.segment_frames, received.point, received.segment


def fineness(symbols: Symbols) -> tuple[np.ndarray, np.ndarray]:
    """How finely each frame was sent: the step of its motion float32 (N,), the acoustic layers of
    its voice int64 (N,). Copies of lost segments are coarser than the rest."""
    head = symbols.head
    every = [symbols.received(n) for n in range(len(symbols.segments))]
    points = [head.point if one is None else one.point for one in every]
    # without motion any step will do, one that there isn't too
    steps = STEPS[[min(point.motion_step, len(STEPS) - 1) for point in points]]
    layers = np.array([point.acoustic_layers for point in points])
    whole = np.arange(head.frames) // head.segment_frames
    return steps[whole], layers[whole]


def shape_vector(identity: Identity) -> np.ndarray:
    """The quantised shape of an identity, float32 (M,)."""
    place, size, rest = np.split(identity.shape * SHAPE_STEPS, (2, 3))
    kept = np.clip(place, -2, 3), np.clip(size, *SIZES), np.clip(rest, -FAR, FAR)
    return np.concatenate(kept).astype(np.float32)


def _pitch(likely: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """A clip's pitch in its parts; none where nobody listened for it."""
    if likely is None:
        return ()
    codes = path(likely)
    return tuple(codes[a : a + 2 * PITCH_FRAMES] for a in range(0, len(codes), 2 * PITCH_FRAMES))
