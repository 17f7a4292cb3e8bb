"""A part of a clip is what the whole clip shows and says there, and needs no more of the file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import avcc
from avcc import weights
from avcc.codec import Codec
from avcc.container.read import read
from avcc.container.write import write
from avcc.diffusion.sample import WINDOW
from avcc.entropy import coder
from avcc.errors import AvccError, FormatError
from avcc.render import speak
from avcc.render.draw import Rendering
from avcc.span import HEARD, REACH, span
from avcc.stages import PITCH_FRAMES, SEGMENT_FRAMES, Clip, Symbols

VECTORS = Path(__file__).parent / "vectors"
FRAMES = 1630  # 65 s: seventeen segments, ten windows
LEVEL = 3.0  # dB: the level of a part follows from what is heard in it, not from all of the clip
DRAWN = (12.0, 62.0)  # the parts of which pictures are looked at
PARTS = [(0.0, 1.0), (12.0, 3.0), (23.92, 0.5), (62.0, None), (30.5, 0.04)]


def symbols_of(name: str) -> Symbols:
    stream = read((VECTORS / f"{weights.default().hex()}-{name}.avc").read_bytes())
    return coder.decode(stream, weights.codebook(stream.head.model))


@cache
def long() -> bytes:
    """A long clip: a vector's segments over and over, with three key frames and a cut."""
    symbols = symbols_of("segments")
    first, second = symbols.segments[:2]
    assert first is not None and second is not None
    count = -(-FRAMES // SEGMENT_FRAMES)
    segments = [(first, second)[n % 2] for n in range(count)]
    left = FRAMES - (count - 1) * SEGMENT_FRAMES
    rows = -(-left // symbols.head.point.motion_stride)
    end = segments[-1]
    segments[-1] = replace(
        end,
        frames=left,
        motion=end.motion[:rows],
        semantic=end.semantic[:left],
        acoustic=end.acoustic[:left],
    )
    key = symbols.identities[0]
    keys = tuple(replace(key, frame=frame) for frame in (40, 590, 1010))
    head = replace(symbols.head, frames=FRAMES, samples=FRAMES * 640 - 100)
    tune = np.rint(8 * np.sin(np.arange(FRAMES) / 20)).astype(np.int64)
    pitch = tune[:PITCH_FRAMES], tune[PITCH_FRAMES:]
    whole = Symbols(head, keys, tuple(segments), (600,), pitch)
    return write(coder.encode(whole, weights.codebook(head.model)))


@cache
def whole() -> Clip:
    return avcc.decode(long())


def motion(clip: Clip, first: int, count: int) -> np.ndarray:
    assert isinstance(clip.frames, Rendering)
    return clip.frames._motion[first : first + count]


def drawn(clip: Clip, first: int, count: int) -> np.ndarray:
    """Pictures of a clip from the middle of it, without those before."""
    frames = clip.frames
    assert isinstance(frames, Rendering)
    before = frames._wanted, frames._pairs
    frames._wanted, frames._pairs = frames._wanted[first:], frames._pairs[:, first:]
    try:
        return np.stack(list(islice(frames, count))).astype(int)
    finally:
        frames._wanted, frames._pairs = before


@pytest.mark.parametrize(("start", "duration"), PARTS)
def test_a_part_is_what_the_whole_is_there(start: float, duration: float | None) -> None:
    part = avcc.decode(long(), start=start, duration=duration)
    first = round(start * 25)
    count = FRAMES - first if duration is None else max(1, round(duration * 25))
    assert part.count == len(part.frames) == count  # type: ignore[arg-type]
    assert np.array_equal(motion(part, first, count), motion(whole(), first, count))
    if start in DRAWN:
        shown = drawn(part, 0, 2)
        assert abs(shown - drawn(whole(), first, len(shown))).max() <= 1
    assert part.audio is not None
    everything = whole().audio
    assert everything is not None
    said = everything[640 * first : 640 * (first + count)]
    assert part.audio.shape == said.shape
    free = (abs(said) < 1) & (abs(part.audio) < 1)  # a loud sample of one of them may be clipped
    here, there = part.audio[free], said[free]
    gain = np.sqrt(np.square(there).sum() / np.square(here).sum())
    assert abs(20 * np.log10(gain)) < LEVEL and free.mean() > 0.99
    np.testing.assert_allclose(here * gain, there, atol=1e-4 * np.abs(said).max())


@pytest.mark.parametrize(("start", "duration"), PARTS[1:4])
def test_a_part_needs_its_own_segments_only(start: float, duration: float | None) -> None:
    """All others may be senseless: nobody notices."""
    stream = read(long())
    part = span(stream, start, duration)
    rest = [n for n in range(len(stream.segments)) if n not in part.segments]
    assert rest
    first, last = part.first, part.last
    near = range((first - WINDOW - REACH) // 100, (last + WINDOW + REACH) // 100 + 1)
    keys = {n for n in part.segments if n not in near}
    assert len(keys) <= 7, "around one later key frame"
    assert speak.REACH == HEARD
    senseless = tuple(b"\xff" * 9 if n in rest else p for n, p in enumerate(stream.segments))
    data = write(replace(stream, segments=senseless))
    found = coder.decode(read(data), weights.codebook(stream.head.model))
    assert [n for n, seg in enumerate(found.segments) if seg is None] == rest
    told: list[str] = []
    clip = Codec("cpu").decode(data, start=start, duration=duration, warn=told.append)
    again = avcc.decode(long(), start=start, duration=duration)
    assert told == []
    assert clip.audio is not None and again.audio is not None
    assert np.array_equal(clip.audio, again.audio)
    assert np.array_equal(motion(clip, first, part.count), motion(again, first, part.count))


def test_the_whole_is_a_part_too() -> None:
    stream = read(long())
    every = span(stream)
    assert every == span(stream, 0, 1e9)
    assert (every.first, every.last) == (0, FRAMES)
    assert every.segments == frozenset(range(len(stream.segments)))
    assert every.of(stream) == stream
    assert every.samples(stream.head.samples) == stream.head.samples


def test_what_is_no_part() -> None:
    for start, duration in ((65.2, None), (1e9, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(AvccError, match=r"lasts 65\.20 s"):
            avcc.decode(long(), start=start, duration=duration)
    stream = read(long())
    other = replace(stream, head=replace(stream.head, rate=Fraction(30)))
    with pytest.raises(FormatError, match="30 pictures"):
        span(other)
