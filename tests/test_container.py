"""The container: round trips, limits, damage, truncation, mutations, overhead, ``info``."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from zlib import crc32

import books
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avcc.container import layout
from avcc.container.describe import info, lines
from avcc.container.layout import Chunk, Cursor, pack_chunk, pack_head, parse_head, varint, zigzag
from avcc.container.read import chunks, read, version
from avcc.container.write import overhead, write
from avcc.entropy.coder import decode, encode
from avcc.errors import FormatError
from avcc.stages import Crop, Head, OperatingPoint, Stream, Symbols

BOOK = books.book()
CROP = Crop(-12, 104, 720, 1280, 720)


def _stream(seed: int = 3, frames: int = 250, picture: int = 900) -> Stream:
    return encode(books.symbols(seed, frames, crop=CROP, picture=picture), BOOK)


def _small() -> bytes:
    """A file of three short segments' worth of chunks, with a later key frame and a comment."""
    stream = encode(books.symbols(4, 205, OperatingPoint(20, 1, 0, False), picture=12), BOOK)
    frame, side, code, picture = stream.identities[0]
    stream = replace(stream, identities=((frame, side, code, picture), (150, side, code, b"xy")))
    return write(stream, comment="hi")


def _use(data: bytes) -> Symbols | None:
    """All that a decoder does with bytes, or ``None`` if it refuses them."""
    try:
        stream = read(data)
        info(data, BOOK)
        if stream.head.model != BOOK.id:
            return None
        return decode(stream, BOOK)
    except FormatError as error:
        assert str(error)
        return None


def test_varints() -> None:
    for value in (0, 1, 127, 128, 300, 1 << 20, (1 << 35) - 1):
        assert Cursor(varint(value)).varint(1 << 35, "value") == value
        for signed in (value, -value):
            assert Cursor(zigzag(signed >> 1)).zigzag(1 << 34, "value") == signed >> 1
    for bad in (b"", b"\x80", b"\x80\x00", b"\xff" * 6, b"\x81\x80\x00"):
        with pytest.raises(FormatError):
            Cursor(bad).varint(1 << 40, "value")


@settings(max_examples=200, deadline=None)
@given(
    head=st.builds(
        Head,
        model=st.binary(min_size=4, max_size=4),
        rate=st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(1, 7), Fraction(999)]),
        frames=st.integers(1, layout.FRAMES_MOST),
        samples=st.integers(0, layout.SAMPLES_MOST),
        crop=st.none()
        | st.builds(
            Crop,
            st.integers(-65_535, 65_535),
            st.integers(-65_535, 65_535),
            *[st.integers(1, 65_535)] * 3,
        ),
        seed=st.integers(0, 65_535),
        point=st.builds(
            OperatingPoint,
            st.integers(0, 50),
            st.integers(0, 255),
            st.integers(0, 16),
            st.booleans(),
        ),
    )
)
def test_heads(head: Head) -> None:
    flags, payload = pack_head(head)
    assert parse_head(flags, payload) == head
    assert len(payload) <= layout.PAYLOAD_MOST[layout.HEAD]
    with pytest.raises(FormatError):
        parse_head(flags, payload + b"\0")
    assert parse_head(flags, payload + b"\0", minor=layout.SCENIC + 1) == head
    with pytest.raises(FormatError):
        parse_head(flags, payload[:-1])
    with pytest.raises(FormatError):
        parse_head(flags | 128, payload)


@pytest.mark.parametrize(
    ("sharpness", "restoration"), [(-16, None), (16, 16), (0, 0), (-1, 3), (0, 16)]
)
def test_how_pictures_are_shown(sharpness: int, restoration: int | None) -> None:
    """Behind all else in the head, where earlier versions read no further."""
    stream = _stream()
    told = replace(stream.head, sharpness=sharpness, restoration=restoration)
    data = write(replace(stream, head=told))
    assert version(data) == (1, layout.SHOWN) and read(data).head == told
    assert len(data) == len(write(stream)) + 2
    flags, payload = pack_head(told)
    assert parse_head(flags, payload, layout.SHOWN) == told
    assert parse_head(flags, payload + b"\7", layout.SHOWN + 1) == told
    assert parse_head(flags, payload, layout.SHORT) == stream.head
    assert parse_head(flags, payload[:-2], layout.SHOWN) == stream.head
    for bad in (payload[:-1], payload[:-2] + b"\x80"):
        with pytest.raises(FormatError, match="end inside"):
            parse_head(flags, bad, layout.SHOWN)
    with pytest.raises(FormatError, match="sharpness"):
        parse_head(flags, payload[:-2] + varint(33) + b"\0", layout.SHOWN)
    with pytest.raises(FormatError, match="restoration"):
        parse_head(flags, payload[:-1] + varint(18), layout.SHOWN)


def test_head_limits() -> None:
    head = _stream().head
    for bad in (
        {"frames": 0},
        {"frames": layout.FRAMES_MOST + 1},
        {"samples": -1},
        {"samples": layout.SAMPLES_MOST + 1},
        {"rate": Fraction(1001)},
        {"rate": Fraction(1, 1_000_001)},
        {"seed": 65_536},
        {"model": b"abc"},
        {"crop": replace(CROP, side=0)},
        {"crop": replace(CROP, x=65_536)},
        {"point": OperatingPoint(51, 0, 0)},
        {"point": OperatingPoint(1, 256, 0)},
        {"point": OperatingPoint(1, 0, 17)},
        {"sharpness": 17},
        {"sharpness": -17},
        {"restoration": -1},
        {"restoration": 17},
    ):
        with pytest.raises(FormatError):
            pack_head(replace(head, **bad))


def test_round_trip_and_overhead() -> None:
    # 10 s of 2 kbps: 2,500 bytes in all.
    stream = _stream(picture=1650)
    data = write(stream)
    assert read(data) == stream
    assert 2350 < len(data) < 2650
    assert overhead(stream) == 72  # 2.9 %, with a crop and a seed
    assert overhead(stream) / 2500 < 0.03
    assert len(pack_head(stream.head)[1]) <= 24


def test_many_segments_and_identities() -> None:
    stream = encode(books.symbols(1, 100 * 140 + 7, OperatingPoint(50, 0, 0, False)), BOOK)
    frame, side, code, picture = stream.identities[0]
    more = ((frame, side, code, picture), (99, 64, code, b"p"), (14_006, 2040, b"", b"q"))
    stream = replace(stream, identities=more)
    assert read(write(stream, "comment")) == stream


def test_write_refuses() -> None:
    stream = _stream()
    one = stream.identities[0]
    for bad in (
        {"identities": ()},
        {"identities": (one, one)},
        {"identities": ((0, 250, one[2], one[3]),)},
        {"identities": ((250, 256, one[2], one[3]),)},
        {"identities": ((0, 256, one[2], b""),)},
        {"segments": stream.segments[1:]},
        {"segments": (bytes(1 << 19), *stream.segments[1:])},
    ):
        with pytest.raises(FormatError):
            write(replace(stream, **bad))


def _chunks(data: bytes) -> list[Chunk]:
    found = list(chunks(data))
    assert all(isinstance(c, Chunk) for c in found)
    return [c for c in found if isinstance(c, Chunk)]


def test_foreign_files_are_refused_with_a_sentence() -> None:
    data = _small()
    cases = [
        (b"", "signature"),
        (b"RIFF" + data, "signature"),
        (data.replace(b"\r\n", b"\n", 1), "signature"),
        (data[:9], "ends"),
        (data[:10], "head"),
        (data[:8] + b"\2\0" + data[10:], "version 2.0"),
    ]
    head, first, *rest = (data[c.start : c.end] for c in _chunks(data))
    sign, tail = data[:10], b"".join(rest)
    cases += [
        (sign + first + head + tail, "head"),
        (sign + head + tail, "key frame|order"),
        (sign + head + first + head + tail, "more than one head"),
        (sign + head + pack_chunk(ord("Q"), 0, b"") + first + tail, "feature 'Q'"),
        (sign + head[:5] + b"\0" + head[6:] + first + tail, "damaged"),
        (sign + head + first[:9] + b"\0" + first[10:] + tail, "key frame"),
    ]
    for bad, word in cases:
        with pytest.raises(FormatError, match=word):
            read(bad)


def test_unknown_ancillary_chunks_and_later_minors_pass() -> None:
    data = _small()
    head, *rest = (data[c.start : c.end] for c in _chunks(data))
    strange = pack_chunk(ord("q"), 99, b"what")
    again = data[:9] + b"\7" + head + strange + strange.join(rest) + strange
    assert read(again) == read(data)


def test_damage_costs_the_segment_it_hits() -> None:
    stream = _stream()
    data = write(stream)
    parts = [c for c in _chunks(data) if c.type == layout.SEGMENT]
    for number, chunk in enumerate(parts):
        for at in range(chunk.start, chunk.end):
            bad = data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :]
            found = read(bad)
            assert [p is None for p in found.segments] == [n == number for n in range(3)], at
            assert any(f"Segment {number} is" in said for said in found.damage)
        gone = read(data[: chunk.start] + data[chunk.end :])
        assert gone.segments[number] is None and sum(p is None for p in gone.segments) == 1
        cut = read(data[: chunk.start + 5] + data[chunk.start + 9 :])  # bytes lost in transit
        assert cut.segments[number] is None and sum(p is None for p in cut.segments) == 1


def test_duplicates_order_and_strangers() -> None:
    stream = _stream()
    data = write(stream)
    head, key, *parts = (data[c.start : c.end] for c in _chunks(data))
    front = data[:10] + head + key
    mixed = read(front + parts[2] + parts[0] + parts[1])
    assert mixed == stream
    twice = read(front + parts[0] + parts[0] + parts[1] + parts[2])
    assert twice.segments == stream.segments and "twice" in twice.damage[0]
    for stranger in (
        pack_chunk(layout.SEGMENT, 3, b""),
        pack_chunk(layout.SEGMENT, 255, b""),
        pack_chunk(layout.SEGMENT, 127, b"\5"),
        pack_chunk(layout.SEGMENT, 127, b""),
        pack_chunk(layout.IDENTITY, 0, b"\x20\0p"),
        pack_chunk(layout.IDENTITY, 1, varint(250) + b"\x20\0p"),
        pack_chunk(layout.IDENTITY, 1, varint(120) + b"\0\0p"),
        pack_chunk(layout.IDENTITY, 1, varint(120) + b"\x20\0"),
        pack_chunk(layout.IDENTITY, 2, varint(120) + b"\x20\0p"),
    ):
        found = read(front + stranger + b"".join(parts))
        assert found.segments == stream.segments and found.identities == stream.identities
        assert len(found.damage) == 1


def test_truncation_at_every_byte() -> None:
    data = write(_stream(frames=250, picture=30))
    whole = read(data)
    ends = [c.end for c in _chunks(data)]
    for cut in range(len(data)):
        try:
            found = read(data[:cut])
        except FormatError:
            assert cut < ends[1]
            continue
        assert cut >= ends[1]
        kept = sum(end <= cut for end in ends) - 2
        assert found.segments[:kept] == whole.segments[:kept]
        assert all(p is None for p in found.segments[kept:])
        assert any("missing" in said for said in found.damage)


def test_every_single_byte_mutation() -> None:
    data = _small()
    read_anyway = 0
    for at in range(len(data)):
        for value in {0, 255, data[at] ^ 1, data[at] ^ 32, data[at] ^ 128, (at * 37) & 255}:
            if value != data[at]:
                read_anyway += _use(data[:at] + bytes([value]) + data[at + 1 :]) is not None
    assert read_anyway > 100


def test_senseless_payloads_with_right_checksums() -> None:
    files = [_small(), write(_stream(frames=120, picture=20))]
    rng = np.random.default_rng(11)
    used = 0
    for trial in range(2000):
        data = files[trial % 2]
        found = _chunks(data)
        chunk = found[rng.integers(len(found))]
        body = bytearray(data[chunk.start : chunk.end - 4])
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(body)))
            action = rng.integers(4)
            if action == 0:
                body[at] = int(rng.integers(256))
            elif action == 1:
                body[at] ^= 1 << int(rng.integers(8))
            elif action == 2 and len(body) > 3:
                del body[at]
            else:
                body.insert(at, int(rng.integers(256)))
        bad = bytes(body) + crc32(body).to_bytes(4, "big")
        used += _use(data[: chunk.start] + bad + data[chunk.end :]) is not None
    assert used > 200


def test_declared_sizes_allocate_nothing() -> None:
    data = write(_stream(frames=120, picture=20))
    head, key, *_ = _chunks(data)
    huge = []
    big = replace(_stream().head, frames=layout.FRAMES_MOST, samples=layout.SAMPLES_MOST)
    flags, payload = pack_head(big)
    long = data[:10] + pack_chunk(layout.HEAD, flags, payload) + data[key.start : key.end]
    huge.append(long)
    for length in (0xFFFFFFFF, 1 << 21, (1 << 18) - 1):
        huge.append(long + b"S\0" + varint(length) + b"abc")
        huge.append(data[: head.end] + b"I\0" + varint(length) + b"abc")
    huge.append(data[: head.end] + pack_chunk(layout.IDENTITY, 0, b"\x20" + varint(65_535) + b"p"))
    for bad in huge:
        tracemalloc.start()
        _use(bad)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 << 20
    assert len(read(long).damage) == 1


def test_looking_for_chunks_is_bounded() -> None:
    data = write(_stream(frames=120, picture=20))
    traps = b"S\0\xff\xff\x0f" * 60_000
    found = read(data + b"\0" + traps)
    assert found.segments == read(data).segments
    assert len(found.damage) == 1


def test_info() -> None:
    stream = _stream()
    data = write(stream, comment="made\nfor a test\x1b[31m")
    told = info(data, BOOK)
    assert json.loads(json.dumps(told)) == told
    assert told["bytes"] == len(data) and told["duration_s"] == 10
    assert told["bps"] == pytest.approx(0.8 * len(data), abs=0.1)
    assert sum(part["bytes"] for part in told["streams"].values()) == pytest.approx(len(data))
    assert told["streams"]["motion"]["bytes"] > 50 and told["streams"]["audio"]["bytes"] > 50
    assert told["synthetic"] is True and "synthetic" in told["synthetic_note"]
    assert told["crop"]["x"] == -12 and told["model"] == BOOK.id.hex()
    text = "\n".join(lines(told))
    assert "synthetic" in text and "\x1b" not in text and "made for a test" in text
    without = info(data)
    assert without["streams"]["motion_and_audio"]["bytes"] == sum(
        len(p) for p in stream.segments if p is not None
    )
    assert "codebook" in "\n".join(lines(without))
    broken = info(data[:-200], BOOK)
    assert broken["damage"] and "damage" in "\n".join(lines(broken))


def test_info_of_a_long_file_reads_some_segments() -> None:
    stream = encode(books.symbols(1, 100 * 70, OperatingPoint(25, 0, 0, True)), BOOK)
    assert "first 64" in info(write(stream), BOOK)["note"]
