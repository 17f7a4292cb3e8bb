"""Files that no encoder made: a clip or a documented error, in bounded memory and time."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from avcc import weights
from avcc.analysis.identity import coded_picture, shown_picture
from avcc.cli import FAILED, main
from avcc.codec import Codec
from avcc.container import layout
from avcc.container.layout import pack_chunk, varint
from avcc.container.limits import BYTES_MOST, CHUNKS_MOST, TOLD_MOST, Limits
from avcc.container.read import chunks, read
from avcc.container.write import write
from avcc.diffusion.schedule import between
from avcc.entropy import coder
from avcc.entropy.signed import VALUE_MOST
from avcc.errors import FormatError
from avcc.stages import Head, Identity, OperatingPoint, Segment, Stream, Symbols
from tests.faces import as_encoded, picture
from tests.fuzz import case, clip_of, corpus, little_memory, symbols_of

CASES, WHOLE = 1500, 24
FRAMES = 2  # of the clips that are decoded in whole


@cache
def short() -> Symbols:
    """The first frames of a test vector."""
    stream = read(corpus()[-1])
    symbols = coder.decode(stream, weights.codebook(stream.head.model))
    head, seg = symbols.head, symbols.segments[0]
    assert seg is not None
    rows = -(-FRAMES // head.point.motion_stride)
    parts = seg.motion[:rows], seg.semantic[:FRAMES], seg.acoustic[:FRAMES]
    head = replace(head, frames=FRAMES, samples=FRAMES * 640)
    key = replace(symbols.identities[0], frame=0)
    return Symbols(head, (key,), (Segment(FRAMES, *parts),))


def coded(symbols: Symbols) -> bytes:
    return write(coder.encode(symbols, weights.codebook(symbols.head.model)))


def test_a_step_that_nothing_needs_may_be_any() -> None:
    """Without motion the head's step says nothing (docs/format.md), in copies neither."""
    data = next(file for file in corpus() if not read(file).head.point.motion_stride)
    stream = read(data)
    point = replace(stream.head.point, motion_step=200)
    stream = replace(stream, head=replace(stream.head, point=point))
    for copies in ((), tuple((point, payload or b"") for payload in stream.segments)):
        assert clip_of(write(replace(stream, copies=copies))) == "decoded"


def test_spoiled_files_are_read_or_refused() -> None:
    files = corpus()
    outcomes = Counter(map(symbols_of, files))
    assert outcomes["decoded"] == len(files)
    with little_memory():
        outcomes = Counter(symbols_of(case(7, number, files)) for number in range(CASES))
    assert outcomes["decoded"] > CASES // 5
    assert outcomes["FormatError"] > CASES // 5
    assert set(outcomes) == {"decoded", "FormatError", "no such model"}


def test_spoiled_files_through_all_of_the_decoder() -> None:
    files = (coded(short()),)
    assert clip_of(files[0]) == "decoded"
    found = (case(8, number, files) for number in range(1000))
    changed = (data for data in found if data != files[0] and symbols_of(data) == "decoded")
    with little_memory():
        outcomes = [clip_of(data) for data, _ in zip(changed, range(WHOLE), strict=False)]
    assert len(outcomes) == WHOLE
    assert outcomes.count("decoded") >= WHOLE // 2, "some have a picture that can't be read"


def _extremes() -> dict[str, Symbols]:
    """Files that are right to the last bit, with values that no face has."""
    symbols = short()
    one, seg = symbols.identities[0], symbols.segments[0]
    assert seg is not None

    def face(shape: np.ndarray) -> Symbols:
        return replace(symbols, identities=(replace(one, shape=shape.astype(np.int64)),))

    def moved(motion: np.ndarray) -> Symbols:
        return replace(symbols, segments=(replace(seg, motion=motion.astype(np.int64)),))

    tall = one.shape.copy()
    tall[2] = VALUE_MOST  # e to the power of 8,192 of a picture's side
    flat = one.shape.copy()
    flat[2] = -VALUE_MOST
    leaps = np.where(np.indices(seg.motion.shape).sum(0) % 2, 1, -1) * (VALUE_MOST // 2)
    return {
        "every value": face(np.full_like(one.shape, VALUE_MOST)),
        "too large": face(tall),
        "a point": face(flat),
        "leaps": moved(leaps),
        "far away": moved(np.full_like(seg.motion, -VALUE_MOST)),
    }


@pytest.mark.parametrize("name", ["every value", "too large", "a point", "leaps", "far away"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_that_no_face_has(name: str) -> None:
    assert clip_of(coded(_extremes()[name])) == "decoded"


def test_sound_ends_with_the_pictures() -> None:
    symbols = short()
    long = replace(symbols, head=replace(symbols.head, samples=60 * 16_000))
    clip = Codec("cpu").decode(coded(long))
    assert clip.audio is not None and len(clip.audio) == FRAMES * 640


def test_a_long_clip_must_be_asked_for(tmp_path, capsys) -> None:
    symbols = short()
    for head in (
        replace(symbols.head, frames=2 * 3600 * 25 + 1),
        replace(symbols.head, samples=2 * 3600 * 16_000 + 1),
    ):
        count = head.segments
        data = coded(replace(symbols, head=head, segments=(None,) * count))
        with pytest.raises(FormatError, match=r"7200 s are allowed.*--max-duration"):
            read(data, Limits())
        assert len(read(data, Limits(7300)).segments) == count
        path = tmp_path / "long.avc"
        path.write_bytes(data)
        assert main(["info", str(path)]) == 0, "to describe it is cheap"
        assert main(["decode", str(path)]) == FAILED
        said = capsys.readouterr().err
        assert said.startswith("avcc: ") and said.count("\n") == 1
        assert main(["decode", "--max-duration", "0:01", str(path)]) == FAILED
        assert "at most 1 s are allowed" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


def _stream(identities: int = 1, frames: int = 100 * 150) -> Stream:
    """A stream of another's model whose codes are never looked into."""
    head = Head(b"none", short().head.rate, frames, 0, None, 0, OperatingPoint(0, 0, 0, False))
    keys = tuple((frame, 8, b"", b"p") for frame in range(identities))
    return Stream(head, keys, (b"",) * head.segments)


def test_key_frames_have_a_limit() -> None:
    most = Limits().key_frames
    assert len(read(write(_stream(most)), Limits()).identities) == most
    with pytest.raises(FormatError, match=f"more than {most} key frames"):
        read(write(_stream(most + 1)), Limits())


def test_chunks_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data, more = write(_stream()), pack_chunk(layout.TEXT, 0, b"hi")
    there = sum(1 for _ in chunks(data))
    head = replace(_stream().head, frames=layout.FRAMES_MOST)
    assert head.segments * 3 < CHUNKS_MOST, "a day with copies"
    assert replace(head, segment_frames=10).segments < CHUNKS_MOST
    monkeypatch.setattr("avcc.container.read.CHUNKS_MOST", there + 5)
    whole = data + more * 5
    assert read(whole) == read(data)
    with pytest.raises(FormatError, match="chunks"):
        read(whole + more)


def test_bytes_have_a_limit() -> None:
    with pytest.raises(FormatError, match="256 MiB"):
        read(write(_stream()) + bytes(BYTES_MOST))


def test_what_is_told_of_damage_is_short() -> None:
    data = write(_stream())
    strangers = pack_chunk(layout.SEGMENT, layout.NUMBERED, varint(1)) * 5000
    told = read(data + strangers).damage
    assert len(told) == TOLD_MOST + 1 and told[-1] == f"And {5000 - TOLD_MOST} more of that kind."
    holes = replace(_stream(), segments=(b"", None) * 75)
    assert len(read(write(holes)).damage) == 75


def test_a_key_frame_is_one_frame() -> None:
    """Further frames aren't even decoded: a megabyte has room for thirty thousand of them."""
    short = coded_picture(picture(), 64, 40, preset=8)
    one = as_encoded(short, 64)
    assert (shown_picture(short + 5000 * one, 64) == shown_picture(short, 64)).all()
    assert shown_picture(one, 64).shape == (256, 256, 3)
    tracemalloc.start()
    for bad in (one * 5000, b"", b"\x0a", one[:20], b"\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff"):
        with pytest.raises(FormatError):
            shown_picture(bad, 64)
    with pytest.raises(FormatError):
        shown_picture(one, 128)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_an_hour_of_motion_takes_little_memory() -> None:
    motion = np.full((3600 * 25, 2), np.nan, np.float32)
    motion[::2] = 1
    tracemalloc.start()
    full, off = between(motion, np.ones(2, np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (full == 1).all() and off.shape == full.shape
    assert peak < 32 << 20


def test_a_voice_code_beyond_its_levels_is_no_crash() -> None:
    symbols = short()
    one = symbols.identities[0]
    book = weights.codebook(symbols.head.model)
    highest = book.table("voice").shape[1] - 1
    loud = Identity(one.picture, one.side, one.shape, np.full_like(one.voice, highest))
    assert clip_of(coded(replace(symbols, identities=(loud,)))) == "decoded"
