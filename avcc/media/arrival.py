"""What live.py stands on: a stream that can only be read, its clock, and sound to be waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from avcc.errors import MediaError
from avcc.media.sound import GAP, converted, mono, place
from avcc.stages import SAMPLE_RATE

LEAP = 10.0  # seconds: a larger step in the pictures' times is a new clock, not a gap
LATE = 2.0  # seconds of pictures that come before their sound is given up
AHEAD = 12.0  # seconds of sound that are held; no sound is waited for longer than that
PROBED = 2_000_000  # microseconds of a stream that may be read to learn what it holds
BOX_LIMIT = 1 << 20  # bytes: in front of an MP4's index lies less
BEFORE_INDEX = {b"ftyp", b"styp", b"free", b"skip", b"wide", b"pnot", b"pdin", b"uuid", b"mdat"}


class Feed:
    """What PyAV sees of a stream: it is read, gives what is there at once, and isn't closed."""

    def __init__(self, source: BinaryIO) -> None:
        self._read = getattr(source, "read1", source.read)
        self._ahead = b""

    def read(self, size: int) -> bytes:
        if not self._ahead:
            return bytes(self._read(size) or b"")
        part, self._ahead = self._ahead[:size], self._ahead[size:]
        return part

    def ahead(self, size: int) -> bytes:
        """The next ``size`` bytes, or all there are, without taking them."""
        while len(self._ahead) < size:
            part = self._read(size - len(self._ahead))
            if not part:
                break
            self._ahead += part
        return self._ahead[:size]


def open_stream(feed: Feed, name: str) -> InputContainer:
    """Open what is read from its start; raises ``MediaError`` for what can't be."""
    try:
        if not feed.ahead(1):
            raise MediaError(f"{name} is empty")
        if _index_is_last(feed):
            raise MediaError(
                f"{name} is an MP4 with its index at the end and can't be read while it arrives;"
                " MPEG-TS, Matroska, fragmented MP4 and MP4 with its index in front can"
            )
        # No protocol at all: a playlist must never make the demuxer open anything else.
        options = {"protocol_whitelist": "none", "analyzeduration": str(PROBED)}
        return av.open(feed, mode="r", options=options)
    except (av.error.FFmpegError, ValueError, OSError):
        raise MediaError(f"{name} isn't a video, or it is cut off near its start") from None


def _index_is_last(feed: Feed) -> bool:
    """Whether this is an MP4 whose pictures come before its index."""
    at = 0
    while at < BOX_LIMIT:
        head = feed.ahead(at + 16)[at:]
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        # A size of 0 means up to the end; QuickTime puts an empty box of 8 or 16 in front.
        if kind == b"mdat" and not 8 <= size <= 16:
            return True
        if kind not in BEFORE_INDEX or size < 8:
            return False
        at += size
    return False


class Clock:
    """Seconds after the first picture, of pictures and sound; leaps of the source are undone."""

    def __init__(self, step: float, leapt: Callable[[], None]) -> None:
        self.step = step  # seconds that a picture stays, as far as the latest ones have said
        self.latest = 0.0  # where the pictures have come
        self.runs = False
        self._leapt = leapt
        self._pictures, self._sound = 0.0, 0.0  # to be added to the source's times
        self._stray = 0.0  # seconds of sound that belong nowhere near the pictures

    def picture(self, given: float | None, length: float) -> float:
        """Of a picture that the source shows at ``given``, for ``length`` or, if that is 0, for
        nobody knows how long; never goes back.
        """
        time = following = self.latest + self.step
        self.step = length if 0 < length < LEAP else self.step
        if not self.runs:
            self.runs, time = True, 0.0
            self._pictures = self._sound = -(given or 0.0)
        elif given is not None:
            time = given + self._pictures
            if abs(time - self.latest) > LEAP:
                time, self._pictures = following, following - given
                self._leapt()
        self.latest = max(self.latest, time)
        return self.latest

    def sound(self, given: float, length: float) -> float | None:
        """Of ``length`` seconds of sound; ``None`` where they belong nowhere.

        Pictures and sound leap alike, but not at the same place in the file.
        """
        self._sound = min(
            self._sound, self._pictures, key=lambda offset: abs(given + offset - self.latest)
        )
        if abs(given + self._sound - self.latest) > AHEAD:
            self._stray += length
            if self._stray < LATE:
                return None  # the pictures may be about to leap too
            self._sound = self.latest - given
            self._leapt()
        self._stray = 0.0
        return given + self._sound


class Voice:
    """The sound from the next piece on, float32 at 16 kHz: placed as it comes, taken once."""

    def __init__(self, clock: Clock) -> None:
        self.heard = False
        self._clock = clock
        # What comes before the first picture: its place isn't known yet.
        self._early: deque[tuple[AudioFrame, float | None]] = deque(maxlen=1000)
        self._wave = np.zeros(round(AHEAD * SAMPLE_RATE), np.float32)
        self._taken, self._reached = 0, 0  # samples after the first picture
        self._ended = False
        # In a fragmented MP4 all pictures of a fragment come before its sound: until some sound
        # has shown how late it comes, it is waited for as long as can be.
        self._patience = AHEAD
        # A stretch of sound without a jump, as in sound.py: each has a resampler.
        self._converter: AudioResampler | None = None
        self._begin, self._rate, self._put_in, self._got_out = 0.0, 0, 0, 0

    def hear(self, frame: AudioFrame, given: float | None) -> None:
        """Take in what was decoded, and plays at ``given`` seconds by the source's clock."""
        self._early.append((frame, given))
        while self._early and self._clock.runs:
            self._add(*self._early.popleft())

    def end(self) -> None:
        """There is no more: what the resampler holds back is placed too."""
        while self._early:
            self._add(*self._early.popleft())
        self._convert(None)
        self._ended = True

    def reaches(self, end: int) -> bool:
        """Whether sound up to sample ``end`` is there, or isn't waited for any more."""
        if self._ended or self._reached >= end:
            return True
        if self._clock.latest - end / SAMPLE_RATE <= self._patience:
            return False
        if not self.heard:
            self._patience = LATE
        return True

    def take(self, count: int) -> np.ndarray:
        """The next ``count`` samples; zeros where nothing came."""
        part = self._wave[:count].copy()
        self._wave[:-count] = self._wave[count:]
        self._wave[-count:] = 0
        self._taken += count
        return part

    def _add(self, frame: AudioFrame, given: float | None) -> None:
        rate = frame.sample_rate
        expected = self._begin + self._put_in / self._rate if self._rate else 0.0
        time: float | None = expected
        if given is not None:
            time = self._clock.sound(given, frame.samples / rate)
        if time is None or time < -1:
            return
        if rate != self._rate or abs(time - expected) > GAP:
            self._convert(None)
            self._converter = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            self._begin, self._rate, self._put_in, self._got_out = time, rate, 0, 0
        values = mono(frame)
        self._put_in += len(values)
        self._convert(values)

    def _convert(self, values: np.ndarray | None) -> None:
        if self._converter is None:
            return
        for run in converted(self._converter, values, self._rate):
            at = round(self._begin * SAMPLE_RATE) + self._got_out
            self._got_out += len(run)
            place(self._wave, run, at - self._taken)
            self._reached = max(self._reached, at + len(run))
            late = self._clock.latest - max(0, at) / SAMPLE_RATE
            known = self._patience if self.heard else LATE
            self._patience = max(known, min(AHEAD, late + 0.5))
            self.heard = True
