"""avcc against tests/reader.py, which knows nothing but docs/format.md; and the test vectors."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import books
import numpy as np
import pytest
import reader
from safetensors.numpy import load_file

from avcc import weights
from avcc.container.layout import HEAD, IDENTITY, SEGMENT, pack_chunk
from avcc.container.read import read
from avcc.container.write import pack_identity, write
from avcc.entropy.coder import decode, encode
from avcc.entropy.tables import Codebook
from avcc.errors import FormatError
from avcc.stages import Crop, OperatingPoint, Stream

BOOK = books.book()
VECTORS = Path(__file__).parent / "vectors"
SPREADS = (0.0, 0.5, 4.0, 40.0, 20_000.0)  # the last two need escapes
FIELDS = "model seed rate frames samples stride layers step semantic crop"


def by_avcc(data: bytes, book: Codebook = BOOK) -> dict[str, Any] | None:
    """What avcc reads in a file, in the form of tests/reader.py; ``None`` if it refuses it."""
    try:
        stream = read(data)
        clip = decode(replace(stream, head=replace(stream.head, model=book.id)), book)
    except FormatError:
        return None
    h, p, silence = stream.head, stream.head.point, len(book.token_class) - 1
    crop = list(vars(h.crop).values()) if h.crop else None
    head = [h.model.hex(), h.seed, [*h.rate.as_integer_ratio()], h.frames, h.samples]
    head += [p.motion_stride, p.acoustic_layers, p.motion_step, int(p.semantic), crop]
    identities = [
        {**vars(one), "shape": one.shape.tolist(), "voice": one.voice.tolist()}
        for one in clip.identities
    ]
    segments: list[dict[str, Any] | None] = []
    for seg in clip.segments:
        if seg is None:
            segments.append(None)
            continue
        tokens, rows = seg.semantic.tolist(), seg.acoustic.tolist()
        rows = [row if token != silence else [] for token, row in zip(tokens, rows, strict=True)]
        segments.append({"motion": seg.motion.tolist(), "semantic": tokens, "acoustic": rows})
    told = dict(zip(FIELDS.split(), head, strict=True))
    return {"head": told, "identities": identities, "segments": segments}


def by_page(data: bytes, arrays: Any = BOOK.arrays) -> dict[str, Any] | None:
    """What the page's reader reads in a file, but its reports; ``None`` if it refuses it."""
    try:
        clip = reader.read(data, arrays)
    except reader.Wrong:
        return None
    del clip["reports"]
    return clip


def clip_of(seed: int) -> Stream:
    """A clip whose every property hangs on the seed."""
    rng = np.random.default_rng(seed)
    stride, step, layers = seed % 8, seed % books.STEPS, seed // 3 % (books.LAYERS + 1)
    point = OperatingPoint(stride, step, layers, seed % 5 < 4)
    crop = Crop(-800 * seed, 65_535 - seed, 1 + seed, 720, 65_535) if seed % 3 else None
    frames, sound = 1 + int(rng.integers(330)), seed % 4 < 3
    clip = books.symbols(seed, frames, point, sound, SPREADS[seed % 7 % 5], crop, 1 + seed)
    # Key frames: the first is not always frame 0; large values in the shapes of later ones.
    first = replace(clip.identities[0], frame=int(rng.integers(frames)) if seed % 6 > 3 else 0)
    wild = np.rint(rng.normal(0, 10.0 ** (seed % 6), books.SHAPE)).astype(np.int64)
    later = [
        replace(first, frame=frame, side=8 * (1 + frame % 255), shape=wild // (n + 1))
        for n, frame in enumerate(sorted(set(rng.integers(0, frames, seed % 4).tolist())))
        if frame > first.frame
    ]
    rate = Fraction(int(rng.integers(1, 1000)), int(rng.integers(1, 1000)))
    head = replace(clip.head, rate=rate if seed % 2 else Fraction(25))
    return encode(replace(clip, head=head, identities=(first, *later)), BOOK)


def chunks_of(data: bytes) -> list[bytes]:
    """A sound file cut into its chunks, without the signature."""
    ends = [10, *(chunk[3] for chunk in reader.chunks(data) if chunk)]
    return [data[start:end] for start, end in pairwise(ends)]


def test_every_symbol_agrees() -> None:
    for seed in range(60):
        data = write(clip_of(seed), comment="hello" if seed % 2 else "")
        found = by_page(data)
        assert found == by_avcc(data), seed
        assert found is not None and None not in found["segments"]


def test_more_segments_than_flags_can_number() -> None:
    clip = books.symbols(5, 130 * 100 + 7, OperatingPoint(50, 0, 0, False), picture=9)
    data = write(encode(clip, BOOK))
    found = by_page(data)
    assert found == by_avcc(data) and found is not None and len(found["segments"]) == 131
    last = chunks_of(data)[-1]
    numbers = [(127, b"\x7e"), (127, b"\xff\0"), (130, last[5:-4])]
    for bad in [pack_chunk(SEGMENT, flags, payload) for flags, payload in numbers]:
        assert by_page(data + bad) == by_avcc(data + bad) == found
        without = data.removesuffix(last) + bad
        assert by_page(without) == by_avcc(without)


def test_damaged_files_agree() -> None:
    """Bytes changed, put in and taken out, half of the time behind a right checksum."""
    rng = np.random.default_rng(11)
    points = [OperatingPoint(10, 1, 1, True), OperatingPoint(20, 2, 0, False)]
    files = [write(encode(books.symbols(3, 105, p, picture=9), BOOK), "hi") for p in points]
    refused = lost = 0
    for trial in range(300):
        parts = chunks_of(files[trial % 2])
        which = int(rng.integers(len(parts)))
        body = bytearray(parts[which])
        for _ in range(rng.integers(1, 4)):
            at, action = int(rng.integers(len(body) - 4)), rng.integers(4)
            if action < 2:
                body[at] ^= 1 << int(rng.integers(8))
            elif action == 2 and len(body) > 8:
                del body[at]
            else:
                body.insert(at, int(rng.integers(256)))
        if trial % 4 > 1:
            body[-4:] = crc32(body[:-4]).to_bytes(4, "big")
        data = b"".join([files[0][:10], *parts[:which], body, *parts[which + 1 :]])
        found = by_page(data)
        assert found == by_avcc(data), trial
        refused += found is None
        lost += found is not None and None in found["segments"]
    assert refused > 30 and lost > 30
    for cut in range(0, len(files[0]), 17):
        assert by_page(files[0][:cut]) == by_avcc(files[0][:cut]), cut


def test_chunks_in_any_order_agree() -> None:
    """Files of chunks drawn at random: doubles, strangers, senseless ones, wrong numbers."""
    stream = encode(books.symbols(6, 305, OperatingPoint(25, 0, 0, True), picture=12), BOOK)
    head, first, *parts = chunks_of(write(stream, "hi"))
    code = stream.identities[0][2]
    pool = [head, first, *parts, *parts, b"IS", b"S\0\0\0\0\0\0", pack_chunk(HEAD, 0, b"")]
    pool += [pack_identity(frame, 64, code, b"p", 305) for frame in (40, 150, 304, 40, 150)]
    pool += [pack_identity(160, 64, code + b"\1", b"p", 305)]  # senseless
    pool += [pack_chunk(SEGMENT, n, b"") for n in (0, 4, 127, 128, 255)]
    pool += [pack_chunk(IDENTITY, flags, b"\x20\0p") for flags in (0, 1, 2)]
    pool += [pack_chunk(ord(kind), 200, b"what") for kind in "qTz"]
    rng, refused = np.random.default_rng(5), 0
    for trial in range(500):
        drawn = [pool[i] for i in rng.integers(1, len(pool), trial % 9)]
        front = [[head], [head, first], [head, parts[-1], first], [first]][trial % 5 % 4]
        data = b"\x89AVC\r\n\x1a\n\1" + bytes([trial % 2]) + b"".join(front + drawn)
        found = by_page(data)
        assert found == by_avcc(data), trial
        refused += found is None
    assert 100 < refused < 500
    for bad in (b"", b"RIFF", b"\x89AVC\r\n\x1a\n\1", b"\x89AVC\r\n\x1a\n\2\0" + head + first):
        assert by_page(bad) is None is by_avcc(bad)


def test_the_fingerprint_stays_what_it_is() -> None:
    clip = {"head": {"b": [1, None], "a": -2}, "identities": [{"picture": b"\xab"}], "segments": []}
    text = b'{"head":{"a":-2,"b":[1,null]},"identities":[{"picture":"ab"}],"segments":[]}'
    assert reader.fingerprint(clip | {"reports": ["x"]}) == sha256(text).hexdigest()


def test_heads_beyond_the_codebook_agree() -> None:
    stream = encode(books.symbols(2, 30, OperatingPoint(0, 0, 0, False), picture=9), BOOK)
    kept = 0
    for point in [OperatingPoint(i, j, k, False) for i, j, k in np.ndindex(2, 5, 4)]:
        data = write(replace(stream, head=replace(stream.head, point=point)))
        assert by_page(data) == by_avcc(data), point
        kept += by_page(data) is not None
    assert kept == 5 * 3 + 3 * 3


@pytest.mark.skipif(not list(VECTORS.glob("*.avc")), reason="there are no test vectors yet")
def test_vectors() -> None:
    """The files of tests/vectors say what they always said; new ones join by AVCC_REGENERATE=1."""
    index, found = VECTORS / "sha256.json", {}
    known: dict[str, str] = json.loads(index.read_text("utf-8")) if index.is_file() else {}
    for path in sorted(VECTORS.glob("*.avc")):
        data = path.read_bytes()
        model = data[13:17]
        file = weights.path_of(model, "codebook")
        assert sha256(file.read_bytes()).digest()[:4] == model
        clip = reader.read(data, load_file(file))
        found[path.name] = reader.fingerprint(clip)
        del clip["reports"]
        assert clip == by_avcc(data, weights.codebook(model)), path.name
    if os.environ.get("AVCC_REGENERATE") == "1":
        known = found | known
        index.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", "utf-8")
    assert found == known
