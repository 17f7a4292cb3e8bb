"""A ``Clip`` as a file that any player opens (H.264 and AAC, VP9 and Opus), or uncompressed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import chain, islice
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
from avcc.media.safe import Ends, temporary
from avcc.media.sink import Sink, can_go_back
from avcc.stages import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, Clip

COMMENT = "Synthetic: decoded by avcc from a generative face video stream"
PIECE = 320  # samples handed to the sound encoder at a time, 20 ms
Part = tuple[Iterable[np.ndarray], np.ndarray | None]  # pictures and their sound
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
    whole = islice(iter(clip.frames), clip.count), clip.audio
    if clip.audio is not None:
        whole = whole[0], np.asarray(clip.audio).reshape(-1)[: clip.count * SAMPLES_PER_FRAME]

    def told(done: int) -> None:
        if progress is not None:
            progress(done / max(1, clip.count))

    how = partial(write_parts, ending=ending, title=title, comment=comment, overwrite=overwrite)
    how(target, iter([whole]), progress=told)


def write_parts(
    target: str | Path | BinaryIO,
    parts: Iterator[Part],
    *,
    ending: str | None = None,
    title: str | None = None,
    comment: str = COMMENT,
    progress: Callable[[int], None] | None = None,
    overwrite: bool = True,
    keep: bool = False,
) -> int:
    """``write`` for what isn't a whole clip yet: parts of pictures, uint8 (H, W, 3) each, and their
    sound, float32 (640 a picture,), or ``None`` in all of them.

    Each part is written before the next one is asked for. Gives the number of frames (of WAV: of
    samples), which ``progress`` hears as they grow. ``keep``: where somebody ends the program, what
    was written so far becomes a file all the same.
    """
    ends = Ends(keep)
    with _opened(target, ending, overwrite) as (out, kind):
        out.metadata["comment"] = comment
        out.metadata["title"] = title or "avcc"
        if kind.video:
            done = _encode(out, kind, _Parts(parts), progress or (lambda done: None), ends)
        else:
            done = _encode_sound(out, kind, parts, ends)
    if ends.reason:
        raise ends.reason
    return done


class _Parts:
    """Pictures one by one; ``sound`` holds what of their sound hasn't been taken yet."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self.sound: Iterator[AudioFrame] = iter(())
        self.sounds = False

    def __iter__(self) -> Iterator[np.ndarray]:
        begin = 0
        for pictures, sound in self._parts:
            if sound is not None:
                self.sound = chain(self.sound, _pieces(sound, begin))
                begin += len(sound)
                self.sounds = True
            yield from pictures


@contextmanager
def _opened(
    target: str | Path | BinaryIO, ending: str | None, overwrite: bool
) -> Iterator[tuple[OutputContainer, _Kind]]:
    """The container to write, which appears under its name when the block ends well."""
    if isinstance(target, (str, Path)):
        kind = KINDS.get((ending or Path(target).suffix).lower())
        if kind is None:
            known = ", ".join(sorted(KINDS))
            raise MediaError(f"{target}: the name must end in one of {known}")
        with (
            temporary(target, overwrite=overwrite) as path,
            av.open(str(path), "w", format=kind.container, options=_muxing(kind)) as out,
        ):
            yield out, kind
        return
    whole = can_go_back(target)
    kind = KINDS[ending] if ending else _Kind("mp4", options={} if whole else _PIECES)
    with av.open(Sink(target, whole), "w", format=kind.container, options=_muxing(kind)) as out:
        yield out, kind
    target.flush()


def _muxing(kind: _Kind) -> dict[str, str]:
    # Bit-exact: no version strings, no time of creation, the same random identifiers each time.
    return {"fflags": "+bitexact", **kind.options}


def _encode(
    out: OutputContainer,
    kind: _Kind,
    parts: _Parts,
    progress: Callable[[int], None],
    ends: Ends,
) -> int:
    pictures = iter(parts)
    first = next(pictures, None)
    if first is None:
        raise MediaError("there are no pictures to write")
    first = _checked(first, 0, np.shape(first))
    video = _video_stream(out, kind, first.shape)
    audio = _audio_stream(out, kind) if kind.audio and parts.sounds else None
    done = 0
    with ends:
        for done, picture in enumerate(chain([first], pictures), 1):
            frame = _frame(_checked(picture, done - 1, first.shape), done - 1, kind)
            for packet in video.encode(frame):
                out.mux(packet)
            # The sound goes along in step, so that a player, or a pipe, needn't wait for it.
            while audio is not None and (piece := next(parts.sound, None)) is not None:
                for sound_packet in audio.encode(piece):
                    out.mux(sound_packet)
                if (piece.pts or 0) + piece.samples >= done * SAMPLES_PER_FRAME:
                    break
            progress(done)
    for stream in (video, audio):
        for packet in stream.encode(None) if stream is not None else ():
            out.mux(packet)
    return done


def _encode_sound(out: OutputContainer, kind: _Kind, parts: Iterator[Part], ends: Ends) -> int:
    audio, begin = _audio_stream(out, kind), 0
    with ends:
        for _, sound in parts:
            if sound is None:
                raise MediaError("the clip has no sound")
            for piece in _pieces(sound, begin):
                out.mux(audio.encode(piece))
            begin += len(sound)
    out.mux(audio.encode(None))
    return begin


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


def _pieces(audio: np.ndarray, begin: int) -> Iterator[AudioFrame]:
    """Sound in pieces of 20 ms, the first of which begins with the sample ``begin``."""
    values = np.asarray(audio, np.float32).reshape(-1)
    for at in range(0, len(values), PIECE):
        piece = np.clip(np.nan_to_num(values[at : at + PIECE]), -1, 1)
        frame = AudioFrame.from_ndarray(piece.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = begin + at
        frame.time_base = Fraction(1, SAMPLE_RATE)
        yield frame
