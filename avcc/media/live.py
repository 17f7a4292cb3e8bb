"""A video while it arrives: one pass, from a pipe that can't seek or a file, cut to the face."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avcc.errors import MediaError
from avcc.media.arrival import Clock, Feed, Voice, open_stream
from avcc.media.clock import EARLY
from avcc.media.crop import cut
from avcc.media.face import find_crop
from avcc.media.read import FACE_SIDE, Warn
from avcc.media.video import MAX_PIXELS, geometry, nominal_rate, open_media, video_stream
from avcc.stages import FRAME_RATE, SAMPLES_PER_FRAME

PIECE = 5  # frames of a piece: 0.2 s
START = 2.0  # seconds of pictures that are held to find the face in
SAMPLES = 10  # of them are looked at
HELD = 256 << 20  # bytes of pictures that are held for that, at most


@dataclass(frozen=True)
class Piece:
    """``PIECE`` frames, or fewer in the last piece.

    ``pictures``: uint8 (n, 256, 256, 3), 25 a second. ``sound``: float32 (640 n,), 16 kHz mono in
    -1..1, ``None`` where the source has no sound stream.
    """

    pictures: np.ndarray
    sound: np.ndarray | None


def opened(
    source: str | Path | BinaryIO, *, max_pixels: int = MAX_PIXELS, warn: Warn | None = None
) -> LiveSource:
    """Open a file, or a binary stream of one that may still be growing; the stream stays open.

    Reads the first 2 s, to find the face. ``warn`` gets sentences about what was odd and went on.

    Raises ``MediaError`` with one sentence: no such file, not media, an MP4 in a stream with its
    index at the end, no video, nothing decodes, more than ``max_pixels`` a picture, or no face.
    """
    if isinstance(source, (str, Path)) and Path(source).is_fifo():
        source = open(source, "rb")  # noqa: SIM115 (as long as the container)
    if isinstance(source, (str, Path)):
        name = Path(source).name or str(source)
        container = open_media(Path(source), name)
    else:
        label = getattr(source, "name", None)
        name = Path(label).name if isinstance(label, str) and label[:1] != "<" else "the input"
        container = open_stream(Feed(source), name)
    try:
        return LiveSource(container, name, max_pixels, warn or (lambda sentence: None))
    except BaseException:
        container.close()
        raise


class LiveSource:
    """What arrives, cut to the face. Iterate once."""

    def __init__(self, container: InputContainer, name: str, most: int, warn: Warn) -> None:
        self._container, self._name, self._warn = container, name, warn
        self._stream = video_stream(container, name, most)
        sound = container.streams.best("audio")
        self._sound = sound if isinstance(sound, AudioStream) and sound.codec_context else None
        self.sounds = self._sound is not None
        self._clock = Clock(1 / nominal_rate(self._stream), self._leapt)
        self._voice = Voice(self._clock)
        self._trouble = 0  # packets that don't decode
        self._leaps = 0
        self._arrivals = self._arrive()
        self._held = self._start()
        if not self._held:
            raise MediaError(f"no picture of {name} can be decoded")
        self._on_screen = self._held[0][1]
        self._ready: list[np.ndarray] = []  # frames of the pieces to come
        self._given = 0  # frames
        self._geometry = geometry(self._on_screen, self._stream, name, most)
        chosen = {round(at) for at in np.linspace(0, len(self._held) - 1, SAMPLES)}
        samples = (
            (time, self._geometry.rgb(frame, FACE_SIDE))
            for number, (time, frame) in enumerate(self._held)
            if number in chosen
        )
        self.crop = find_crop(
            samples, *self._geometry.size, warn, name=f"the first {START:g} s of {name}"
        )

    def __iter__(self) -> Iterator[Piece]:
        with closing(self._container):
            while self._held:
                yield from self._show(*self._held.popleft())
            for arrival in self._arrivals:
                yield from self._show(*arrival) if arrival else self._pieces(self._clock.latest)
            yield from self._rest()
        if self._trouble:
            self._warn(f"{self._name} is damaged in {self._trouble} places; the rest is kept")
        if self.sounds and not self._voice.heard:
            self._warn(f"none of the sound of {self._name} could be used")

    def _start(self) -> deque[tuple[float, VideoFrame]]:
        """The pictures that the crop is found in."""
        held: deque[tuple[float, VideoFrame]] = deque()
        size = 0
        while size < HELD and not (held and held[-1][0] >= START):
            arrival = next(self._arrivals, ())
            if arrival == ():
                break
            if arrival:
                held.append(arrival)
                size += sum(plane.buffer_size for plane in arrival[1].planes)
        return held

    def _arrive(self) -> Iterator[tuple[float, VideoFrame] | None]:
        """(seconds after the first, picture) in order of display; ``None`` where sound came."""
        packets = self._container.demux([s for s in (self._stream, self._sound) if s])
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                self._trouble += 1
                packet = None
            if packet is None:
                break
            if packet.size:  # PyAV's signs of the end have none
                yield from self._decode(packet.stream, packet)
        # The pictures first: where sound lies isn't known before there is one.
        yield from self._decode(self._stream, None)
        if self._sound is not None:
            yield from self._decode(self._sound, None)
        self._voice.end()

    def _decode(
        self, stream: av.stream.Stream, packet: av.Packet | None
    ) -> Iterator[tuple[float, VideoFrame] | None]:
        assert isinstance(stream, (VideoStream, AudioStream))
        try:
            frames = stream.decode(packet)
        except EOFError:
            return
        except (av.error.FFmpegError, RuntimeError):
            self._trouble += 1
            return
        for frame in frames:
            # What a decoder gives at the end has no time base of its own.
            unit = float(frame.time_base or stream.time_base or 0)
            given = frame.pts * unit if frame.pts is not None and unit else None
            if isinstance(frame, VideoFrame):
                # A frame without a time has a made-up duration too.
                length = frame.duration * unit if given is not None else 0.0
                yield self._clock.picture(given, length), frame
            else:
                self._voice.hear(frame, given)
                yield None

    def _leapt(self) -> None:
        if not self._leaps:
            self._warn(f"the clock of {self._name} leaps; what follows is joined on")
        self._leaps += 1

    def _show(self, time: float, frame: VideoFrame) -> Iterator[Piece]:
        """The picture on screen stays until ``time``, by the rule of clock.py; then ``frame``."""
        count = len(self._ready)
        while (self._given + count) / FRAME_RATE + EARLY < time:
            count += 1
        self._fill(count)
        self._on_screen = frame
        yield from self._pieces(time)

    def _fill(self, count: int) -> None:
        missing = count - len(self._ready)
        if missing > 0:
            self._ready += [cut(self._geometry.rgb(self._on_screen), self.crop)] * missing

    def _pieces(self, time: float) -> Iterator[Piece]:
        """The pieces that are whole, now that there is a picture at ``time``."""
        # The clip's length will be rounded: a last frame that is on screen may fall away again.
        certain = round(time * FRAME_RATE)
        while len(self._ready) >= PIECE and self._given + PIECE <= certain:
            if self.sounds and not self._voice.reaches((self._given + PIECE) * SAMPLES_PER_FRAME):
                return
            yield self._piece()

    def _rest(self) -> Iterator[Piece]:
        """What is left at the end of the input; the last picture stays as long as it says."""
        end = self._clock.latest + self._clock.step
        left = max(1, round(end * FRAME_RATE)) - self._given
        self._fill(left)
        del self._ready[left:]
        while self._ready:
            yield self._piece()

    def _piece(self) -> Piece:
        pictures = np.stack(self._ready[:PIECE])
        del self._ready[:PIECE]
        self._given += len(pictures)
        sound = self._voice.take(len(pictures) * SAMPLES_PER_FRAME)
        return Piece(pictures, sound if self.sounds else None)
