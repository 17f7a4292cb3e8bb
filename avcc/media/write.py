"""A ``Clip`` as a file that any player opens (H.264 and AAC, VP9 and Opus), or uncompressed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream

from avcc.errors import MediaError
from avcc.media.safe import temporary
from avcc.stages import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, Clip

COMMENT = "Synthetic: decoded by avcc from a generative face video stream"
PIECE = 320  # samples handed to the sound encoder at a time, 20 ms
TAG_BT709 = 1  # of matrix, primaries and transfer alike


@dataclass(frozen=True)
class _Kind:
    """What a file name's extension stands for."""

    container: str
    video: str = "libx264"  # "" for none
    audio: str = "aac"
    rate: int = 96_000  # bits a second of the sound; AAC at 16 kHz allows no more
    options: dict[str, str] = field(default_factory=dict)  # of the muxer
    coding: dict[str, str] = field(
        default_factory=lambda: {"crf": "16", "preset": "veryfast", "tune": "film"}
    )


_VP9 = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "0"}
# Moving the index to the front lets a browser start before it has the whole file.
_FRONT = {"movflags": "+faststart"}
# A pipe can't go back to write an index: pieces of a second or so, each with its own. The first
# header waits for the first samples, else it couldn't say how many of them are the sound
# encoder's run-up, and the voice would be 64 ms late.
_PIECES = {"movflags": "+frag_keyframe+empty_moov+delay_moov+default_base_moof"}
KINDS = {
    ".mp4": _Kind("mp4", options=_FRONT),
    ".m4v": _Kind("mp4", options=_FRONT),
    ".mov": _Kind("mov", options=_FRONT),
    ".mkv": _Kind("matroska", audio="libopus", rate=48_000),
    ".webm": _Kind("webm", video="libvpx-vp9", audio="libopus", rate=48_000, coding=_VP9),
    ".y4m": _Kind("yuv4mpegpipe", video="rawvideo", audio="", coding={}),
    ".wav": _Kind("wav", video="", audio="pcm_s16le"),
}


def write(
    target: str | Path | BinaryIO,
    clip: Clip,
    *,
    ending: str | None = None,
    title: str | None = None,
    comment: str = COMMENT,
    progress: Callable[[float], None] | None = None,
    overwrite: bool = True,
) -> None:
    """Write ``clip`` at 25 frames a second and 16 kHz mono; frames are taken one by one.

    A path's extension, or ``ending``, chooses the container: .mp4, .m4v, .mov, .mkv, .webm, or
    uncompressed .y4m (pictures alone) and .wav (sound alone). The file appears whole, under its
    name, when all is done, and not at all if anything fails. A binary stream gets MP4 unless
    ``ending`` says another, in fragments where it can't seek back to where it stands, and stays
    open. The same clip gives the same bytes on the same machine. ``progress`` hears the share done,
    0 to 1.

    Raises ``MediaError``: an extension that isn't known, a clip with no frames or with frames of a
    wrong shape, or without sound where there is to be nothing else; ``AvccError``: the path can't
    be written. What the clip's frames or a stream raise goes through.
    """
    if isinstance(target, (str, Path)):
        kind = KINDS.get((ending or Path(target).suffix).lower())
        if kind is None:
            known = ", ".join(sorted(KINDS))
            raise MediaError(f"{target}: the name must end in one of {known}")
        with (
            temporary(target, overwrite=overwrite) as path,
            av.open(str(path), "w", format=kind.container, options=_muxing(kind)) as out,
        ):
            _encode(out, kind, clip, title, comment, progress)
        return
    whole = _can_go_back(target)
    kind = KINDS[ending] if ending else _Kind("mp4", options={} if whole else _PIECES)
    with av.open(_Open(target, whole), "w", format=kind.container, options=_muxing(kind)) as out:
        _encode(out, kind, clip, title, comment, progress)
    target.flush()


def _muxing(kind: _Kind) -> dict[str, str]:
    # Bit-exact: no version strings, no time of creation, the same random identifiers each time.
    return {"fflags": "+bitexact", **kind.options}


def _encode(
    out: OutputContainer,
    kind: _Kind,
    clip: Clip,
    title: str | None,
    comment: str,
    progress: Callable[[float], None] | None,
) -> None:
    out.metadata["comment"] = comment
    out.metadata["title"] = title or "avcc"
    if not kind.video:
        _encode_sound(out, kind, clip)
        return
    pictures = iter(clip.frames)
    first = next(pictures, None)
    if first is None or not clip.count:
        raise MediaError("there are no pictures to write")
    first = _checked(first, 0, np.shape(first))
    video = _video_stream(out, kind, first.shape)
    audio = _audio_stream(out, kind) if kind.audio and clip.audio is not None else None
    sound = _pieces(clip.audio, clip.count) if clip.audio is not None else iter(())
    for done, picture in enumerate(chain([first], pictures), 1):
        if done > clip.count:
            break
        frame = _frame(_checked(picture, done - 1, first.shape), done - 1, kind)
        for packet in video.encode(frame):
            out.mux(packet)
        # The sound goes along in step, so that a player, or a pipe, needn't wait for it.
        while audio is not None and (piece := next(sound, None)) is not None:
            for sound_packet in audio.encode(piece):
                out.mux(sound_packet)
            if (piece.pts or 0) + piece.samples >= done * SAMPLES_PER_FRAME:
                break
        if progress is not None:
            progress(done / max(1, clip.count))
    for stream in (video, audio):
        for packet in stream.encode(None) if stream is not None else ():
            out.mux(packet)


def _encode_sound(out: OutputContainer, kind: _Kind, clip: Clip) -> None:
    if clip.audio is None:
        raise MediaError("the clip has no sound")
    audio = _audio_stream(out, kind)
    for piece in _pieces(clip.audio, clip.count):
        out.mux(audio.encode(piece))
    out.mux(audio.encode(None))


def _video_stream(out: OutputContainer, kind: _Kind, shape: tuple[int, ...]) -> VideoStream:
    stream = out.add_stream(kind.video, rate=FRAME_RATE, options=dict(kind.coding))
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.gop_size = 50
    # A count of threads that doesn't follow the machine: x264's bits depend on it.
    context.thread_count = 2
    context.flags |= 1 << 23  # AV_CODEC_FLAG_BITEXACT
    context.color_range = int(ColorRange.MPEG)
    context.colorspace = context.color_primaries = context.color_trc = TAG_BT709
    return stream


def _audio_stream(out: OutputContainer, kind: _Kind) -> AudioStream:
    stream = out.add_stream(kind.audio, rate=SAMPLE_RATE, layout="mono")
    assert isinstance(stream, AudioStream)
    stream.codec_context.bit_rate = kind.rate
    stream.codec_context.flags |= 1 << 23
    return stream


def _checked(picture: np.ndarray, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """The picture, which must be uint8 (H, W, 3) with even sides, and like the first."""
    picture = np.asarray(picture)
    fits = len(shape) == 3 and shape[2] == 3 and not shape[0] % 2 and not shape[1] % 2
    if not fits or picture.shape != shape or picture.dtype != np.uint8:
        raise MediaError(
            f"picture {index} isn't uint8 of shape (H, W, 3), even sides, all pictures alike"
        )
    return np.ascontiguousarray(picture)


def _frame(picture: np.ndarray, index: int, kind: _Kind) -> VideoFrame:
    rgb = VideoFrame.from_ndarray(picture, format="rgb24")
    frame = rgb.reformat(
        format="yuv420p",
        # Y4M can't say which matrix it was: everybody takes it for that of standard definition.
        dst_colorspace=Colorspace.ITU601 if kind.video == "rawvideo" else Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INP
        | Interpolation.BITEXACT,
        threads=1,
    )
    frame.pts = index
    frame.time_base = 1 / FRAME_RATE
    return frame


def _pieces(audio: np.ndarray, count: int) -> Iterator[AudioFrame]:
    """The sound in pieces of 20 ms, cut where the last picture ends."""
    values = np.asarray(audio, np.float32).reshape(-1)[: count * SAMPLES_PER_FRAME]
    for at in range(0, len(values), PIECE):
        piece = np.clip(np.nan_to_num(values[at : at + PIECE]), -1, 1)
        frame = AudioFrame.from_ndarray(piece.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = at
        frame.time_base = Fraction(1, SAMPLE_RATE)
        yield frame


def _can_go_back(target: BinaryIO) -> bool:
    """Whether an index can be written into what lies behind: FFmpeg counts from byte 0.

    Not so where the stream begins with something else, or appends whatever is written to it.
    """
    try:
        if not target.seekable() or target.tell() != 0:
            return False
    except (AttributeError, OSError):
        return False
    if "a" in str(getattr(target, "mode", "")):
        return False
    try:  # "avcc decode talk.avc -o - >> all.mp4": only the system knows
        from fcntl import F_GETFL, fcntl

        return not fcntl(target.fileno(), F_GETFL) & os.O_APPEND
    except (ImportError, AttributeError, OSError):
        return True


class _Open:
    """A stream as PyAV sees it, which closing the container must not close."""

    def __init__(self, stream: BinaryIO, seekable: bool) -> None:
        self._stream = stream
        if seekable:
            self.seek, self.tell = stream.seek, stream.tell

    def write(self, data: bytes) -> int:
        """All of ``data``: one write of an unbuffered stream may take a part only."""
        at = 0
        while at < len(data):
            taken = self._stream.write(data[at:])
            at += len(data) if taken is None else taken
        return len(data)

    def writable(self) -> bool:
        return True
