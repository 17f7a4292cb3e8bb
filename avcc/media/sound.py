"""The voice: any sound stream as 16 kHz mono that starts with the first picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from avcc.errors import MediaError
from avcc.media.video import open_media
from avcc.stages import SAMPLE_RATE

GAP = 0.03  # seconds: a timestamp further than this from where the samples have come is a jump
CENTRE = {"FC"}  # where the voice of a surround mix is
FRONT = {"FL", "FR"}
BASS = {"LFE", "LFE2"}


def read_sound(
    path: Path, name: str, start: float, samples: int, warn: Callable[[str], None]
) -> np.ndarray | None:
    """float32 (samples,), 16 kHz mono in -1..1, from ``start`` seconds of the file's clock on.

    Zeros where the stream has nothing: before it starts, in its gaps, after its end. ``None``
    where the file has no sound, or none that decodes (``warn`` hears of that).
    """
    out = np.zeros(samples, np.float32)
    heard = False
    trouble: list[str] = []
    with open_media(path, name) as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            return None
        end = start + samples / SAMPLE_RATE
        for time, before, run in _runs(container, stream, start, end, trouble):
            heard = True
            place(out, run, round((time - start) * SAMPLE_RATE) + before)
    if not heard:
        warn(f"the sound of {name} can't be decoded and is left out")
        return None
    if trouble:
        warn(f"the sound of {name} is damaged in {len(trouble)} places")
    return out


def resampled(audio: np.ndarray, rate: int) -> np.ndarray:
    """float32 (samples,) at 16 kHz of ``audio`` (any real or integer type, one dimension).

    Integers are scaled by their type's range. Raises ``MediaError`` for any other shape or type,
    for values that aren't finite, and for a rate that isn't positive.
    """
    audio = np.asarray(audio)
    if audio.ndim != 1 or audio.dtype.kind not in "fiu":
        raise MediaError("sound must be an array of one dimension, of real or integer numbers")
    if rate <= 0:
        raise MediaError(f"a sample rate of {rate} makes no sense")
    values = _unit(audio)
    if not np.isfinite(values).all():
        raise MediaError("the sound holds values that aren't finite")
    if rate == SAMPLE_RATE or not len(values):
        return values
    converter = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    parts = []
    for at in range(0, len(values), rate):
        parts += converted(converter, values[at : at + rate], rate)
    parts += converted(converter, None, rate)
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _runs(
    container: InputContainer, stream: AudioStream, start: float, end: float, trouble: list[str]
) -> Iterator[tuple[float, int, np.ndarray]]:
    """(seconds, samples, float32 (n,) at 16 kHz): pieces of sound; each lies so many samples behind
    the start, at those seconds, of a stretch without a jump in its timestamps.

    What lies a second or more before ``start`` or behind ``end`` is left out: a file can hold a
    day of silence there, in few bytes.
    """
    converter: AudioResampler | None = None
    begin, taken, given, rate = 0.0, 0, 0, 0
    for frame in _frames(container, stream, trouble):
        expected = begin + taken / rate if rate else 0.0
        time = expected
        if frame.pts is not None and frame.time_base is not None:
            time = float(frame.pts * frame.time_base)
            if time + frame.samples / frame.sample_rate < start - 1:
                continue
        if converter is None or frame.sample_rate != rate or abs(time - expected) > GAP:
            if converter is not None:
                for piece in converted(converter, None, rate):
                    yield begin, given, piece
                    given += len(piece)
            converter = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            begin, taken, given, rate = time, 0, 0, frame.sample_rate
        if time > end + 1:
            break
        values = mono(frame)
        taken += len(values)
        for piece in converted(converter, values, rate):
            yield begin, given, piece
            given += len(piece)
    if converter is not None:
        for piece in converted(converter, None, rate):
            yield begin, given, piece
            given += len(piece)


def _frames(
    container: InputContainer, stream: AudioStream, trouble: list[str]
) -> Iterator[AudioFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError) as error:
            trouble.append(str(error))
            return
        if packet is None:
            return
        try:
            yield from stream.codec_context.decode(packet)
        except EOFError:
            return
        except (av.error.FFmpegError, RuntimeError) as error:
            trouble.append(str(error))


def converted(converter: AudioResampler, values: np.ndarray | None, rate: int) -> list[np.ndarray]:
    if values is None:
        return [part.to_ndarray().reshape(-1).copy() for part in converter.resample(None) if part]
    if not len(values):
        return []
    frame = AudioFrame.from_ndarray(values.reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    return [part.to_ndarray().reshape(-1).copy() for part in converter.resample(frame)]


def mono(frame: AudioFrame) -> np.ndarray:
    """float32 (n,): the channels' mean, the centre of a surround mix counting most.

    Not left to libswresample: for float samples its mix adds 3 dB to a voice in both channels.
    """
    channels = frame.layout.nb_channels
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    values = _unit(values)
    if channels == 1:
        return np.ascontiguousarray(values[0])
    names = [channel.name for channel in frame.layout.channels]
    weights = np.array([_weight(name) for name in names] if channels > 2 else [1.0] * channels)
    if len(weights) != channels or not weights.sum():
        weights = np.ones(channels)
    return np.asarray((weights / weights.sum()) @ values, np.float32)


def _weight(name: str) -> float:
    if name in BASS:
        return 0.0
    return 1.0 if name in CENTRE else 0.7 if name in FRONT else 0.35


def _unit(values: np.ndarray) -> np.ndarray:
    """float32 of the same shape; integers scaled to -1..1."""
    if values.dtype.kind == "f":
        return np.asarray(values, np.float32)
    half = 2.0 ** (8 * values.dtype.itemsize - 1)
    shift = half if values.dtype.kind == "u" else 0.0
    return np.asarray((values.astype(np.float64) - shift) / half, np.float32)


def place(out: np.ndarray, run: np.ndarray, at: int) -> None:
    """Write ``run`` into ``out`` from index ``at``, which may lie outside, as far as it fits."""
    first, last = max(at, 0), min(at + len(run), len(out))
    if first < last:
        out[first:last] = run[first - at : last - at]
