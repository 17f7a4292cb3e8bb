"""avcc against tests/reader.py, which knows nothing but docs/format.md; and the test vectors."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import books
import numpy as np
import pytest
import reader
from safetensors.numpy import load_file

from avcc import weights
from avcc.analysis.identity import shown_picture
from avcc.container.layout import COPY, CUTS, END, FINER, PITCH, SEGMENT, pack_chunk, varint
from avcc.container.layout import LIPS as LIPS_CHUNK
from avcc.container.pieces import pack_pieces
from avcc.container.read import read
from avcc.container.write import identity_payload, pack_identity, write
from avcc.entropy.coder import Encoder, decode, encode
from avcc.entropy.tables import Codebook
from avcc.errors import FormatError
from avcc.stages import LIPS, Copy, Crop, OperatingPoint, Segment, Stream

BOOK, FORETELLING = books.book(), books.book(foretells=True)
VECTORS = Path(__file__).parent / "vectors"
FIELDS = "model seed rate frames samples stride layers step semantic crop"


def by_avcc(data: bytes, book: Codebook) -> dict[str, Any]:
    """What avcc reads in a file, in the form of tests/reader.py; nothing if it refuses it."""
    try:
        stream = read(data)
        clip = decode(replace(stream, head=replace(stream.head, model=book.id)), book)
    except FormatError:
        return {}
    h, p, silence = stream.head, stream.head.point, len(book.token_class) - 1
    crop = h.crop and [*vars(h.crop).values()]
    head = [h.model.hex(), h.seed, [*h.rate.as_integer_ratio()], h.frames, h.samples]
    head += [p.motion_stride, p.acoustic_layers, p.motion_step, int(p.semantic), crop]
    identities = [
        vars(i) | {"shape": i.shape.tolist(), "voice": i.voice.tolist()} for i in clip.identities
    ]
    segments = [seg and told_of(seg, silence) for seg in clip.segments]
    named = dict(zip(FIELDS.split(), head, strict=True))
    if h.segment_frames != 100:
        named["each"] = h.segment_frames
    if h.sharpness:
        named["sharpness"] = h.sharpness
    if h.restoration is not None:
        named["restoration"] = h.restoration
    if stream.points:
        named["open"] = True
        own = enumerate(clip.segments)
        segments = [seg and copied(Copy(clip.point(n), seg), silence) for n, seg in own]
    told: dict[str, Any] = {"head": named, "identities": identities, "segments": segments}
    pitch = [None if part is None else part.tolist() for part in clip.pitch]
    told |= {"scene": clip.scene and list(clip.scene)}
    told |= {"lips": None if clip.lips is None else clip.lips.tolist()}
    copies = [copy and copied(copy, silence) for copy in clip.copies]
    told |= {"copies": copies if any(copies) else []}
    return told | {"cuts": list(clip.cuts), "pitch": pitch if any(pitch) else []}


def told_of(seg: Segment, silence: int) -> dict[str, Any]:
    """A segment in the form of tests/reader.py."""
    tokens, rows = seg.semantic.tolist(), seg.acoustic.tolist()
    rows = [row if t != silence else [] for t, row in zip(tokens, rows, strict=True)]
    return {"motion": seg.motion.tolist(), "semantic": tokens, "acoustic": rows}


def copied(copy: Copy, silence: int) -> dict[str, Any]:
    """A copy in that form."""
    p = copy.point
    told = {"stride": p.motion_stride, "layers": p.acoustic_layers, "step": p.motion_step}
    return told | told_of(copy.segment, silence)


def agree(data: bytes, book: Codebook = BOOK) -> dict[str, Any]:
    """What both read in a file, reports aside; nothing if both refuse it."""
    found: dict[str, Any] = {}
    with suppress(reader.Wrong):
        found = reader.read(data, book.arrays)
        del found["reports"]
    assert found == by_avcc(data, book)
    return found


def clip_of(seed: int, book: Codebook = BOOK) -> Stream:
    """A clip whose every property hangs on the seed, also where its key frames lie."""
    rng = np.random.default_rng(seed)
    point = OperatingPoint(seed % 8, seed % books.STEPS, seed // 3 % 3, seed % 5 < 4)
    crop = Crop(-800 * seed, 65_535 - seed, 1 + seed, 720, 65_535) if seed % 3 else None
    frames, spread = 1 + int(rng.integers(330)), (0.0, 0.5, 4.0, 40.0, 20_000.0)[seed % 7 % 5]
    tune = (0.0, 0.3, 3.0, 300.0)[seed // 2 % 4]
    coarse = OperatingPoint(seed % 7, seed % 2, seed % 2, point.semantic) if seed % 3 else None
    own = tuple(replace(point, motion_stride=n, motion_step=n % 3) for n in (seed % 9, 1, 50))
    each = (100, 5 + seed, 99)[seed % 3]
    how = crop, 1 + seed, tune, coarse, own if seed % 5 > 2 else (), each
    clip = books.symbols(seed, frames, point, seed % 4 < 3, spread, *how)
    head = replace(clip.head, rate=Fraction(1 + seed, 1 + seed % 9) if seed % 2 else Fraction(25))
    first = replace(clip.identities[0], frame=int(rng.integers(frames)) if seed % 6 > 3 else 0)
    wild = np.rint(rng.normal(0, 10.0 ** (seed % 6), books.SHAPE)).astype(np.int64)
    later = [
        replace(first, frame=frame, side=8 * (1 + frame % 255), shape=wild // (1 + frame % 4))
        for frame in range(first.frame + 7, frames, 50 + seed)
    ]
    cuts = tuple(range(1 + seed, frames, 40)) if seed % 4 else ()
    sharpness = seed % 34 - 17 if seed % 34 and seed % 3 else 0
    restoration = seed % 17 if seed % 4 > 1 else None
    head = replace(head, model=book.id, sharpness=sharpness, restoration=restoration)
    wide = np.rint(rng.normal(0, 2.0 ** (seed % 7), LIPS)).astype(np.int64)
    lips = wide if head.led and not clip.points else None
    rest = {"head": head, "identities": (first, *later), "cuts": cuts, "lips": lips}
    return encode(replace(clip, **rest), book)


def chunks_of(data: bytes) -> list[bytes]:
    ends = [10, *(chunk[3] for chunk in reader.chunks(data) if chunk)]
    return [data[start:end] for start, end in pairwise(ends)]


def test_every_symbol_agrees() -> None:
    for seed in range(60):
        assert None not in agree(write(clip_of(seed), "hello" if seed % 2 else ""))["segments"]


def test_every_symbol_that_priors_foretell_agrees() -> None:
    sizes = []
    for seed in range(24):
        data = write(clip_of(seed, FORETELLING))
        assert None not in agree(data, FORETELLING)["segments"]
        sizes.append((len(data), len(write(clip_of(seed)))))
    assert all(ours != plain for ours, plain in sizes if ours > 2000)  # they were asked


@pytest.mark.parametrize("finer", [False, True])
def test_parts_of_a_pitch_agree(finer: bool) -> None:
    """Each in its place; one that is lost, senseless, malformed or doubled says nothing."""
    point, kind = OperatingPoint(50, 0, 0, False), FINER if finer else PITCH
    clip = books.symbols(3, 2100, point, picture=9, pitch=2.0, finer=finer)
    data = write(encode(clip, BOOK))
    parts = chunks_of(data)
    at = [i for i, part in enumerate(parts) if part[0] == kind]
    found = agree(data)
    assert data[9] == (8 if finer else 1)
    assert [len(part) // (1 + finer) for part in found["pitch"]] == [1000, 1000, 100]
    # in front of the segment that the first frame lies in: that of the number 10 n
    assert [parts[i + 1][:2] for i in at] == [b"S\0", b"S\n", b"S\x14"]

    def without(which: int, *instead: bytes) -> list[Any]:
        rest = [*parts[: at[which]], *instead, *parts[at[which] + 1 :]]
        return agree(data[:10] + b"".join(rest))["pitch"]

    start = 3 + (len(parts[at[1]]) > 134)
    code = parts[at[1]][start:-4]
    good = pack_chunk(kind, 1, code)
    assert good == parts[at[1]]
    for bad in (pack_chunk(kind, 1, code[:-1]), pack_chunk(kind, 1, code + b"\0")):
        assert without(1, bad, good) == [found["pitch"][0], None, found["pitch"][2]]
    for bad in (pack_chunk(kind, 3, code), pack_chunk(kind, 128, code), good[:-1] + b"!", b""):
        assert without(1, bad) == [found["pitch"][0], None, found["pitch"][2]]
        assert without(1, bad, good) == found["pitch"]
    assert without(1, good, pack_chunk(kind, 1, b"")) == found["pitch"]
    # a decoder of version 1.0 skips what this one reads, whatever the minor version says
    assert agree(data[:9] + b"\0" + data[10:]) == found


def test_lips_agree() -> None:
    """Where nothing else moves them; the first chunk that is well-formed counts."""
    clip = books.symbols(7, 120, OperatingPoint(0, 0, 1, True), picture=9)
    numbers = np.arange(LIPS) - 10
    data = write(encode(replace(clip, lips=numbers), BOOK))
    found, parts = agree(data), chunks_of(data)
    at = next(i for i, part in enumerate(parts) if part[:1] == b"l")
    code = parts[at][3:-4]
    assert data[9] == 7 and at == 2 and found["lips"] == numbers.tolist()

    def instead(*chunks: bytes, front: bytes = parts[0]) -> Any:
        return agree(data[:10] + b"".join([front, parts[1], *chunks, *parts[at + 1 :]]))["lips"]

    good, bad = pack_chunk(LIPS_CHUNK, 0, code), pack_chunk(LIPS_CHUNK, 1, code)
    senseless = [pack_chunk(LIPS_CHUNK, 0, wrong) for wrong in (code[:-1], code + b"\0", b"")]
    assert instead(good, senseless[0]) == instead(bad, good) == numbers.tolist()
    assert instead(bad) is instead(good[:-1] + b"!") is instead() is None
    assert all(instead(one, good) is None for one in senseless)
    # earlier versions skip the chunk, whatever the minor version says
    assert agree(data[:9] + b"\0" + data[10:]) == found
    # where motion is sent, or no voice, it says nothing, and isn't written
    for point in (OperatingPoint(5, 0, 1, True), OperatingPoint(0, 0, 1, False)):
        stream = encode(books.symbols(7, 120, point, picture=9), BOOK)
        other = write(stream)
        assert agree(other + good)["lips"] is None
        with pytest.raises(FormatError, match="nothing else moves"):
            write(replace(stream, lips=code))
    assert write(replace(encode(clip, BOOK), lips=code)) == data


def test_numbers_at_their_limits_agree() -> None:
    data = write(encode(books.symbols(5, 13_100, OperatingPoint(50, 0, 0, False)), BOOK))
    found, last = agree(data), chunks_of(data)[-5:]
    for flags, number in ((127, b"\x7e"), (127, b"\xff\0"), (126, b""), (130, b"")):
        chunk = pack_chunk(SEGMENT, flags, number + last[0][3:-4])
        assert agree(data + chunk) == found != {}
        agree(data.removesuffix(b"".join(last)) + chunk)
    stream, kept = encode(books.symbols(2, 30, OperatingPoint(0, 0, 0, False)), BOOK), 0
    for point in [OperatingPoint(i, j, k, False) for i, j, k in np.ndindex(2, 5, 4)]:
        kept += bool(agree(write(replace(stream, head=replace(stream.head, point=point)))))
    assert kept == 5 * 3 + 3 * 3  # steps (without motion any will do) times layers


def test_damaged_files_agree() -> None:
    """Bytes changed, put in and taken out, half of the time behind a right checksum."""
    rng, refused, lost = np.random.default_rng(11), 0, 0
    points = [OperatingPoint(10, 1, 1, True), OperatingPoint(20, 2, 0, False)]
    clips = [books.symbols(3, 105, p, picture=9, pitch=i) for i, p in enumerate(points)]
    files = [write(encode(clip, BOOK), "hi") for clip in clips]
    for trial in range(300):
        parts, which = chunks_of(files[trial % 2]), int(rng.integers(5))
        body = bytearray(parts[which])
        for _ in range(rng.integers(1, 4)):
            at, taken, put = rng.integers(0, (max(1, len(body) - 4), 3, 3)).tolist()
            body[at : at + taken] = rng.bytes(put)
        if trial % 4 > 1:
            body[-4:] = crc32(body[:-4]).to_bytes(4, "big")
        found = agree(b"".join([files[0][:10], *parts[:which], body, *parts[which + 1 :]]))
        refused += not found
        lost += None in found.get("segments", [])
    assert refused > 30 and lost > 30
    for cut in range(0, len(files[0]), 17):
        agree(files[0][:cut])


def test_chunks_in_any_order_agree() -> None:
    """Files of chunks drawn at random: doubles, strangers, senseless ones, wrong numbers."""
    point = OperatingPoint(25, 0, 0, True)
    coarse = OperatingPoint(50, 1, 0, True)
    clip = books.symbols(6, 305, point, picture=12, pitch=0.2, coarse=coarse)
    stream = encode(clip, BOOK)
    head, first, *parts = chunks_of(write(stream, "hi"))
    codes = [stream.identities[0][2] + more for more in (b"", b"\1")]  # the second is senseless
    later = [pack_identity(n, 64, codes[n == 160], b"p", 305) for n in (40, 150, 304, 150, 160)]
    pool = [head, first, *parts, *parts, *later, b"I", b"S\0\0\0\0\0\0"]
    pool += [pack_chunk(kind, n, b"\x20\0p") for kind in b"SIz" for n in (0, 1, 2, 4, 127, 255)]
    pool += [pack_chunk(kind, 0, b"") for kind in b"HTSIt"] + [pack_chunk(73, 2, later[0][3:-4])]
    pool += [pack_chunk(CUTS, n // 4, varint(47 * n) * (1 + n % 3)) for n in range(6)]
    fronts = [[head, first], [head], [head, parts[-1], first], [first], [head, first]]
    longer, strange = (head[1], head[3:-4] + b"\0"), (head[1] | 32, head[3:-4])
    fronts += [[pack_chunk(72, *longer), first], [pack_chunk(72, *strange), first]]
    rng, refused, shots, pitched, doubled = np.random.default_rng(5), 0, 0, 0, 0
    pool += [pack_chunk(PITCH, n, parts[0][4:-4]) for n in range(3)]
    assert stream.copies[0] is not None
    code = stream.copies[0][1]
    for front in (b"\xd2\6\1", b"\xd2\6\3", b"\xd3\6\1", b"\xd4\6\1", b"\xff\xff\3\1", b""):
        pool += [pack_chunk(COPY, n, front + code) for n in (0, 1, 3, 4, 127, 255)]
    for trial in range(500):
        drawn = [pool[i] for i in rng.integers(1, len(pool), trial % 9)]
        data = b"\x89AVC\r\n\x1a\n\1" + bytes([trial % 2]) + b"".join(fronts[trial % 7] + drawn)
        found = agree(data)
        refused += not found
        shots += len(found.get("cuts", []))
        pitched += bool(found.get("pitch"))
        doubled += bool(found.get("copies"))
    assert 100 < refused < 500 and shots > 20 and pitched > 20
    assert doubled > 20
    for bad in (b"", b"RIFF", b"\x89AVC\r\n\x1a\n\1", b"\x89AVC\r\n\x1a\n\2\0" + head + first):
        assert not agree(bad)


def test_identities_in_pieces_agree() -> None:
    """Whole, with pieces missing, twice, in the wrong order, in front of the first identity."""
    clip = books.symbols(4, 305, OperatingPoint(25, 0, 0, False), picture=12)
    stream = encode(clip, BOOK)
    data, code = write(stream), stream.identities[0][2]
    head, first, *segments = chunks_of(data)
    payload = identity_payload(120, 64, code, b"picture")
    pieces = pack_pieces(payload, len(payload) // 4)
    assert len(pieces) == 5 and len(pack_pieces(bytes(300), 1)) == 100
    found = agree(b"".join([data[:10], head, first, *segments[:2], *pieces, *segments[2:]]))
    assert [one["frame"] for one in found["identities"]] == [0, 120]
    assert found["identities"][1]["picture"] == b"picture"
    assert len(agree(b"".join([data[:10], head, *pieces, first]))["identities"]) == 1
    pool = [*pieces, *pieces, *segments, pack_identity(120, 64, code, b"p", 305)]
    pool += [pack_pieces(identity_payload(n, 64, code, b"q"), 99)[0] for n in (0, 90, 200, 305)]
    rng, more = np.random.default_rng(3), 0
    for trial in range(300):
        drawn = [pool[i] for i in rng.integers(0, len(pool), trial % 14)]
        if trial % 3:
            drawn[trial % 5 : trial % 5] = pieces[: 3 + trial % 3]
        more += len(agree(data[:10] + head + first + b"".join(drawn))["identities"]) > 1
    assert 50 < more < 290


def test_open_streams_agree() -> None:
    """Ended or not, twice, wrongly; numbers that aren't due; operating points that aren't there."""
    own = OperatingPoint(25, 1, 1, True), OperatingPoint(0, 200, 0, True)
    clip = books.symbols(8, 410, OperatingPoint(5, 0, 2, True), picture=9, own=own)
    data = write(encode(clip, BOOK))
    head, first, *segments, end = chunks_of(data)
    assert end[:1] == b"e" and data[9] == 4
    found = agree(data)
    assert found["head"]["frames"] == 410 and found["head"]["open"]
    assert [seg["stride"] for seg in found["segments"]] == [25, 0, 25, 0, 25]
    cut = agree(b"".join([data[:10], head, first, *segments[:4]]))
    assert (cut["head"]["frames"], cut["head"]["samples"]) == (400, 256_000)
    assert cut["segments"] == found["segments"][:4]
    assert not agree(data[:10] + head + first), "nothing came"
    assert not agree(data[:9] + b"\3" + data[10:]), "earlier versions have no open streams"
    assert not agree(data[:10] + head + first + end[:-1]), "the end is damaged"
    closed = write(encode(replace(clip, points=(), segments=(None,) * 5), BOOK))
    assert agree(closed + end)["head"] == agree(closed)["head"], "an end says nothing there"
    ends = [pack_chunk(END, n % 2, number + more) for n in (0, 0, 1)
            for number in (b"\0", b"\1\0", b"\xe3\2\0", b"\xff\xff\xff\x7f\0", b"\x9a\3\xc7\1", b"")
            for more in (b"", b"\0")]  # fmt: skip
    code = segments[1][3:-4]
    assert code[:2] == b"\0\xc8", "without motion, at a step that there isn't"
    points = b"\0\xc8", b"\x12\1", b"\x12\3", b"\x12\xc8\1", b"\xd3\6\1", b"\3\0", b""
    pool = [head, first, end, *ends, *segments, *segments]
    pool += [pack_chunk(SEGMENT, n, p + code[3:]) for n in (0, 1, 4, 5, 126, 130) for p in points]
    numbers = (varint(127), varint(21_599), varint(21_600), b"\xff\xff\xff\xff\x7f")
    pool += [pack_chunk(SEGMENT, 127, n + code) for n in numbers]
    rng, refused, lost, ended = np.random.default_rng(9), 0, 0, 0
    for trial in range(300):
        drawn = [pool[i] for i in rng.integers(1 + trial % 2, len(pool), trial % 11)]
        if trial % 7 == 0 and drawn:
            drawn[0] = drawn[0][:-1]
        found = agree(data[:9] + bytes([3 + (trial % 9 > 0)]) + head + first + b"".join(drawn))
        refused += not found
        lost += None in found.get("segments", [])
        ended += bool(found) and found["head"]["frames"] % 100 > 0
    assert refused > 30 and lost > 30 and ended > 30


def test_senseless_symbols_agree() -> None:
    """Payloads that are right to the byte: escapes of n bits; ranks, one beyond its class."""
    arrays = books.contexts()
    arrays["context.semantic_class"] = np.array([0, 0, 0, 1, 1, 2], np.uint8)
    arrays["context.semantic_rank"] = np.array([0, 1, 2, 0, 1, 0], np.uint16)
    book = Codebook.blank(arrays, 1, (1, 2))
    clip = books.symbols(1, 2, OperatingPoint(0, 0, 0, True), sound=False)

    def payload(*walk: tuple[str, int, int]) -> bytes:
        writer = Encoder(book)
        for step in walk:
            writer.code(*step)
        return writer.close()

    for n in range(27):
        bits = [("bit", 0, bit) for bit in (1, *[1] * n, 0, *[1] * n)]
        escape = payload(("shape", 0, 61), *bits)
        keys = (0, 8, payload(("shape", 0, 30)), b"p"), (1, 8, escape, b"q")
        one = [("semantic_class", 15, 1), ("semantic_token", 7, n // 3 % 3)]
        two = [("semantic_same", 2, 0), ("semantic_class", 7, 1), ("semantic_token", 5, n % 3)]
        found = agree(write(Stream(clip.head, keys, (payload(*one, *two),))), book)
        assert len(found["identities"]) == 1 + (n <= 20)
        assert (found["segments"] != [None]) == (n % 9 in (1, 3))


def test_the_fingerprint_stays_what_it_is() -> None:
    clip = {"head": {"b": [1, None], "a": -2}, "identities": [{"picture": b"\xab"}], "segments": []}
    text = b'{"head":{"a":-2,"b":[1,null]},"identities":[{"picture":"ab"}],"segments":[]}'
    assert reader.fingerprint(clip | {"reports": ["x"]}) == sha256(text).hexdigest()


@pytest.mark.skipif(not list(VECTORS.glob("*.avc")), reason="there are no test vectors yet")
def test_vectors() -> None:
    """The files of tests/vectors say what they always said; new ones join by AVCC_REGENERATE=1."""
    index, found = VECTORS / "sha256.json", {}
    known: dict[str, str] = json.loads(index.read_text("utf-8")) if index.is_file() else {}
    for path in sorted(VECTORS.glob("*.avc")):
        data = path.read_bytes()
        model = data[13:17]  # the head's first field
        clip = reader.read(data, load_file(weights.path_of(model, "codebook")))
        found[path.name] = reader.fingerprint(clip)
        agree(data, weights.codebook(model))
        for one in clip["identities"]:
            still, side = one["picture"], one["side"]
            seen = shown_picture(reader.obus_of(still, side), side)
            assert (seen == shown_picture(still, side)).all()
    if os.environ.get("AVCC_REGENERATE") == "1":
        known = found | known
        index.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", "utf-8")
    assert found == known
