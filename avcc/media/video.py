"""Decoded pictures of any file that PyAV opens: upright, square pixels, with their times."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from avcc.errors import MediaError

MAX_PIXELS = 8192 * 4320  # of a source picture, unless more is asked for: 8K passes
THREADS = 4  # of the decoder at most: each holds pictures, of 8K 0.1 GB
NOMINAL = 25.0  # frames a second, where neither file nor codec knows


def open_media(path: Path, name: str) -> InputContainer:
    """Open a local file; ``name`` is what a person calls it.

    Raises ``MediaError``: missing, a folder, unreadable, empty, or not media.
    """
    try:
        if path.is_dir():
            raise MediaError(f"{name} is a folder, not a video")
        if path.stat().st_size == 0:
            raise MediaError(f"{name} is empty")
        # "file:" and the whitelist: a name such as "http:x.mp4", or a playlist inside the file,
        # must never make the demuxer open anything else.
        return av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except FileNotFoundError:
        raise MediaError(f"{name} doesn't exist") from None
    except PermissionError:
        raise MediaError(f"{name} can't be read: permission denied") from None
    except (av.error.FFmpegError, ValueError, OSError):
        raise MediaError(f"{name} isn't a video, or it is cut off before its index") from None


def video_stream(container: InputContainer, name: str, most: int = MAX_PIXELS) -> VideoStream:
    """The main video stream; a cover picture of a sound file is none.

    Raises ``MediaError``: no such stream, no decoder for it, or more than ``most`` pixels.
    """
    best = container.streams.best("video")
    if not isinstance(best, VideoStream) or Disposition.attached_pic in best.disposition:
        raise MediaError(f"{name} has no video stream")
    try:
        context = best.codec_context
        width, height = context.width, context.height
    except (av.error.FFmpegError, AttributeError, RuntimeError):
        raise MediaError(f"the video codec of {name} isn't supported") from None
    _check_size(width, height, name, most)
    best.thread_type = "AUTO"
    context.thread_count = min(THREADS, os.cpu_count() or 1)
    return best


def _check_size(width: int, height: int, name: str, most: int) -> None:
    if width * height > most:
        raise MediaError(
            f"the picture of {name} is too large: {width}x{height}, and at most {most} pixels are"
            " allowed here; --max-pixels (in Python: max_pixels) allows more"
        )


def decoded(
    container: InputContainer, stream: VideoStream, trouble: list[str]
) -> Iterator[tuple[float, VideoFrame]]:
    """(seconds, frame) in order of display; times never go back, missing ones are filled in.

    Errors on the way don't raise: a packet that doesn't decode is left out, a demuxer that gives
    up ends the iteration, and ``trouble`` gets a line for each.
    """
    step = 1.0 / nominal_rate(stream)
    last: float | None = None
    for frame in _frames(container, stream, trouble):
        if frame.pts is not None and frame.time_base is not None:
            time = float(frame.pts * frame.time_base)
        else:
            time = 0.0 if last is None else last + step
        last = time if last is None else max(last, time)
        yield last, frame


def _frames(
    container: InputContainer, stream: VideoStream, trouble: list[str]
) -> Iterator[VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError) as error:
            trouble.append(str(error))
            packet = None
        try:
            yield from stream.codec_context.decode(packet)
        except EOFError:
            pass  # the flush packet that PyAV sends at the end came through here before
        except av.error.FFmpegError as error:
            trouble.append(str(error))
        if packet is None:
            return


def nominal_rate(stream: VideoStream) -> float:
    """Frames a second as file or codec state it."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0.1 < float(rate) < 1000:
            return float(rate)
    return NOMINAL


def stated_seconds(container: InputContainer, stream: VideoStream) -> float:
    """How long the file's header says that the pictures last; 0 where it doesn't say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska's, "00:00:05.040000000"
    try:
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
        return 3600 * hours + 60 * minutes + seconds
    except ValueError:
        # The container's own figure counts a longer sound too, so it serves without one only.
        alone = not container.streams.audio and container.duration
        return container.duration / av.time_base if alone and container.duration else 0.0


@dataclass(frozen=True)
class Geometry:
    """How stored pixels become the picture on screen: size in square pixels, then orientation."""

    stored: tuple[int, int]  # width, height after the pixels are made square, before turning
    transpose: bool
    flip_x: bool  # after transposing
    flip_y: bool

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright picture."""
        width, height = self.stored
        return (height, width) if self.transpose else (width, height)

    def rgb(self, frame: VideoFrame, longest: int | None = None) -> np.ndarray:
        """uint8 (H, W, 3), upright; shrunk to ``longest`` pixels on the longer side if given."""
        width, height = self.stored
        if longest is not None and max(width, height) > longest:
            scale = longest / max(width, height)
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
        same = (frame.width, frame.height) == (width, height)
        # Bicubic upsamples the chroma smoothly; area is what doesn't alias when shrinking.
        how = Interpolation.BICUBIC if same or longest is None else Interpolation.AREA
        flags = how | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        picture = frame.reformat(width, height, format="rgb24", interpolation=flags, threads=1)
        array = picture.to_ndarray()
        if self.transpose:
            array = array.transpose(1, 0, 2)
        if self.flip_x:
            array = array[:, ::-1]
        if self.flip_y:
            array = array[::-1]
        return np.ascontiguousarray(array)


def geometry(frame: VideoFrame, stream: VideoStream, name: str, most: int = MAX_PIXELS) -> Geometry:
    """Of a clip, from its first frame; later frames of another size are scaled to it."""
    width, height = frame.width, frame.height
    _check_size(width, height, name, most)
    aspect = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
    if not 0.1 < aspect < 10:
        aspect = 1.0
    # Enlarge the coarser direction, so that no pixel is lost.
    if aspect > 1:
        width = round(width * aspect)
    elif aspect < 1:
        height = round(height / aspect)
    _check_size(width, height, name, most)
    # PyAV's stubs call this a mapping of strings; it iterates over the side data themselves.
    sides: list[Any] = list(frame.side_data)
    side = next((s for s in sides if s.type == Type.DISPLAYMATRIX), None)
    if side is None:
        return Geometry((width, height), False, False, False)
    # Row vectors, y down: x' = a x + c y, y' = b x + d y. Snapped to the nearest quarter turn.
    a, b, _, c, d = (float(v) for v in np.frombuffer(bytes(side), np.int32)[:5])
    if math.hypot(a, d) >= math.hypot(b, c):
        return Geometry((width, height), False, a < 0, d < 0)
    return Geometry((width, height), True, c < 0, b < 0)
