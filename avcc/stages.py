"""The dataclasses that flow through the codec, one a stage (docs/design.md, "One clip's journey").

``media.read -> Clip -> analysis -> Features -> quantise -> Symbols -> entropy -> Stream`` on the
way in, and the same names backwards, with ``Latents`` between diffusion and renderer, on the way
out. No torch here: ``info`` and the container import this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

SIDE = 256  # pixels, the canonical picture is SIDE x SIDE RGB
FRAME_RATE = Fraction(25)
SCENE_EDGE = 0.06  # of the crop's side: how far it fades into its surroundings
SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 640  # 16,000 / 25: one frame, one token of each branch
SEGMENT_FRAMES = 100  # 4 s, unless the head says less: each segment decodes on its own
SEGMENT_SECONDS = SEGMENT_FRAMES / float(FRAME_RATE)

MOTION = 20  # coefficients of a motion code
SHAPE = 24  # coefficients of a face's shape
MOUTH = 6  # directions that move lips and leave eyes, brows and nose where they are
LIPS, LIPS_MOST = 32, 30  # numbers that say how lips follow a voice; how large one may be
BANDS = 80  # of the log-mel spectrogram, two frames of which make a token
LATENT = 32  # numbers in an acoustic latent
VOICE = 24  # numbers in a voice code, beside the gain
TOKENS = 1024  # semantic tokens that sound
SHARPEST = 16  # sixteenths: how much sharper than they come, or softer, pictures can be shown
RESTORED = 16  # sixteenths: a restoration of key frames that counts in full
PITCH_FRAMES = 1000  # 40 s: so much of a voice's pitch decodes on its own
# Pitches that can be sent, in Hz: sixteenths of an octave around 120 Hz.
PITCH_LEAST, PITCH_MOST = -16, 32
PITCHES = 120.0 * 2.0 ** (np.arange(PITCH_LEAST, PITCH_MOST + 1) / 16)
SILENT, UNSENT = TOKENS, TOKENS + 1  # the token of silence; at the decoder: nothing was sent

# What an encoder may be asked to send: what is best at the rate, motion and voice, the voice alone
# (which drives the picture), motion alone (which drives the voice).
MODES = ("auto", "av", "audio-driven", "video-driven")


@dataclass(frozen=True)
class Crop:
    """Where the canonical picture lies in the source, in source pixels after rotation."""

    x: int  # left edge; may be negative (the source is extended by its border pixels)
    y: int
    side: int
    width: int  # of the whole source picture
    height: int


@dataclass(frozen=True)
class Clip:
    """Canonical picture and sound.

    ``frames``: any iterable of uint8 (256, 256, 3) RGB arrays that can be iterated more than once
    (an array (N, 256, 256, 3), or a lazy reader that decodes anew: long clips never stand in
    memory whole); a decoded clip that has its surroundings gives the whole picture, (H, W, 3).
    ``count`` frames at 25 a second. ``audio``: float32 (samples,), 16 kHz mono in -1..1, or
    ``None`` where the source has no sound; it starts with the first frame. ``around``: the source's
    whole picture at a frame, uint8 of any size, where there is more of it than the crop.
    """

    frames: Iterable[np.ndarray]
    count: int
    audio: np.ndarray | None
    crop: Crop | None = None
    around: Callable[[int], np.ndarray] | None = None

    @property
    def duration(self) -> Fraction:
        """Seconds, counted in whole frames."""
        return Fraction(self.count) / FRAME_RATE


@dataclass(frozen=True)
class OperatingPoint:
    """What the encoder chose to send; every field is a small integer that the head carries."""

    motion_stride: int  # one motion code every so many frames; 0: no motion sent
    motion_step: int  # index into the codebook's quantiser steps
    acoustic_layers: int  # residual layers a token, 0 to n
    semantic: bool = True  # False: no voice at all is sent


@dataclass(frozen=True)
class Identity:
    """The identity code C_id: how the person looks, and how the voice sounds.

    ``picture``: AV1 intra picture of ``side`` x ``side`` pixels (``obus``). ``shape``: int64
    (M,), quantised mesh of the key frame. ``voice``: int64 (V,), quantised voice code, empty where
    there is no sound. ``frame``: which frame of the clip the picture shows.
    """

    picture: bytes
    side: int
    shape: np.ndarray
    voice: np.ndarray
    frame: int = 0


@dataclass(frozen=True)
class Segment:
    """Symbols of at most ``Head.segment_frames`` frames; decodes without any other segment.

    ``motion``: int64 (ceil(frames / stride), K), quantiser indices (not differences) of the frames
    0, stride, 2 * stride... of the segment; (0, K) where none are sent. ``semantic``: int64
    (frames,), values below ``semantic_size``, the highest of which means silence; (0,) where no
    voice is sent. ``acoustic``: int64 (frames, layers); rows under silence are zero and free.
    """

    frames: int
    motion: np.ndarray
    semantic: np.ndarray
    acoustic: np.ndarray


@dataclass(frozen=True)
class Copy:
    """A segment at an operating point of its own: low-bitrate redundancy, as Opus has it (RFC
    6716)."""

    point: OperatingPoint
    segment: Segment


@dataclass(frozen=True)
class Head:
    """The fixed binary head of a file (docs/format.md). ``segment_frames``: of each segment but the
    last one. ``sharpness``: of the decoder's unsharp mask, in sixteenths, -16 to 16.
    ``restoration``: how much of it counts in key frames, in sixteenths, 0 to 16; ``None``: what
    their bytes say."""

    model: bytes  # 4 bytes: the start of the SHA-256 of the codebook file
    rate: Fraction  # frames a second
    frames: int
    samples: int  # of sound, 0 for none
    crop: Crop | None
    seed: int  # 16 bits, of the decoder's noise
    point: OperatingPoint
    segment_frames: int = SEGMENT_FRAMES
    sharpness: int = 0
    restoration: int | None = None

    @property
    def shown(self) -> bool:
        """Whether it says how pictures are to be shown."""
        return self.sharpness != 0 or self.restoration is not None

    @property
    def led(self) -> bool:
        """Whether the voice alone moves the picture."""
        return not self.point.motion_stride and self.point.semantic

    @property
    def restored(self) -> float | None:
        """The restoration, as key frames have it."""
        return None if self.restoration is None else self.restoration / RESTORED

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return -(-self.frames // self.segment_frames)

    def frames_of(self, number: int) -> int:
        """Frames of a segment: as many as of all, or what is left for the last one."""
        return min(self.segment_frames, self.frames - number * self.segment_frames)


@dataclass(frozen=True)
class Symbols:
    """Everything that is sent, as integers. ``None`` in ``segments``: lost, to be concealed.
    ``cuts``: frames at which another shot begins, rising. ``pitch``: int64, in sixteenths of an
    octave from 120 Hz, in parts of ``PITCH_FRAMES``, one of every frame or two (at its beginning
    and half-way); empty where none is sent.
    ``scene``: the surroundings, as side and AV1 picture. ``copies``: coarse copies of the segments,
    which count where the segments are lost; empty where none are sent. ``points``: as in
    ``Stream``. ``lips``: int64 (32,), how lips follow the voice; ``None`` where that isn't sent."""

    head: Head
    identities: tuple[Identity, ...]
    segments: tuple[Segment | None, ...]
    cuts: tuple[int, ...] = ()
    pitch: tuple[np.ndarray | None, ...] = ()
    scene: tuple[int, bytes] | None = None
    copies: tuple[Copy | None, ...] = ()
    points: tuple[OperatingPoint | None, ...] = ()
    lips: np.ndarray | None = None

    def point(self, number: int) -> OperatingPoint:
        """What was sent of a segment."""
        own = self.points[number] if self.points else None
        return self.head.point if own is None else own

    def received(self, number: int) -> Copy | None:
        """What there is of a segment: itself, or its copy, or nothing."""
        whole = self.segments[number]
        if whole is not None:
            return Copy(self.point(number), whole)
        return self.copies[number] if self.copies else None


@dataclass(frozen=True)
class Stream:
    """The coded payloads, before they are framed into chunks: bytes and nothing else.

    ``identities``: (frame, side, code of shape and voice, picture). ``segments``: payload, or
    ``None`` where the bytes were damaged. ``damage``: sentences for a person, empty if all is well.
    ``cuts``: frames at which another shot begins. ``pitch``: payloads of its parts, as segments;
    ``finer``: of those that have two pitches a frame, which count before the others.
    ``scene``: the surroundings, as side and AV1 picture. ``copies``: (operating point, payload) of
    coarse copies of the segments; empty where there are none. ``points``: the operating point of
    each segment (``None`` where it's lost) in an open stream, which is written before its length is
    known; empty in any other, where the head's is that of all. ``lips``: payload, or ``None`` where
    there is none. ``unended``: an open stream that doesn't say where it ends, for it was cut off or
    isn't over.
    """

    head: Head
    identities: tuple[tuple[int, int, bytes, bytes], ...]
    segments: tuple[bytes | None, ...]
    damage: tuple[str, ...] = field(default=())
    cuts: tuple[int, ...] = ()
    pitch: tuple[bytes | None, ...] = ()
    scene: tuple[int, bytes] | None = None
    copies: tuple[tuple[OperatingPoint, bytes] | None, ...] = ()
    points: tuple[OperatingPoint | None, ...] = ()
    lips: bytes | None = None
    unended: bool = False
    finer: tuple[bytes | None, ...] = ()

    def point(self, number: int) -> OperatingPoint:
        """What was sent of a segment."""
        own = self.points[number] if self.points else None
        return self.head.point if own is None else own


@dataclass(frozen=True)
class KeyFrame:
    """A frame that is sent as a picture, or may be.

    ``picture``: uint8 (256, 256, 3), decoded at the decoder. ``mesh``: float32 (478, 2), its
    face-mesh points in units of the side. ``frame``: where in the clip it stands. ``size``: bytes
    that it was sent in (0: not yet). ``restored``: how much of what it lost is restored, 0 to 1;
    ``None``: as much as its size says.
    """

    picture: np.ndarray
    mesh: np.ndarray
    frame: int = 0
    size: int = 0
    restored: float | None = None


@dataclass(frozen=True)
class Features:
    """The continuous side of ``Symbols``: from analysis at the encoder, dequantised at the decoder.

    ``keys``: key frames; at the encoder all that may be sent, the best first, at the decoder those
    that were, in the order of time. ``motion``: float32 (N, K), coefficients relative to
    ``keys[0]``; rows of NaN were not sent. ``semantic``: at the encoder float32
    (N, D) features of the AudioMAE, at the decoder int64 (N,) tokens, -1 where not sent.
    ``acoustic``: float32 (N, A), latents, zero where not sent. ``silent``: bool (N,). ``voice``:
    float32 (V,). ``cuts``: frames at which another shot begins. ``pitch``: of mel frames, two
    a frame, at the encoder float32 (2 N, 49), log likelihood of each of ``PITCHES``, at the decoder
    float32 (2 N,) in Hz, NaN where it was not sent; ``None``: nobody listened for it.
    ``sharpness``: what ``render.unsharp`` adds to pictures at the decoder. ``lips``: at the encoder
    float32 (N, 13), signals that lips may follow
    (``follower``), at the decoder int64 (32,), how they do; ``None`` where that isn't known.
    """

    keys: tuple[KeyFrame, ...]
    motion: np.ndarray
    semantic: np.ndarray
    acoustic: np.ndarray
    silent: np.ndarray
    voice: np.ndarray
    cuts: tuple[int, ...] = ()
    pitch: np.ndarray | None = None
    sharpness: float = 0.0
    lips: np.ndarray | None = None


@dataclass(frozen=True)
class Latents:
    """What AVDiff gives: ``motion`` float32 (N, K), ``mel`` float32 (2 N, 80) log-mel frames."""

    motion: np.ndarray
    mel: np.ndarray | None
