"""Ways to spoil an ``.avc`` file, by a random generator: the bytes, the chunks, what they say.

Those of the last kind leave every checksum right, and some of them every code too: what comes out
is a file that the container and the range coder accept and that no encoder would write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from zlib import crc32

import numpy as np

from avcc import weights
from avcc.container import layout
from avcc.container.layout import Chunk, pack_chunk, varint, zigzag
from avcc.container.read import chunks, read
from avcc.container.write import write
from avcc.entropy import coder
from avcc.entropy.signed import VALUE_MOST
from avcc.errors import AvccError
from avcc.stages import Symbols

Files = tuple[bytes, ...]
Mutation = Callable[[np.random.Generator, bytes, Files], bytes]
TYPES = b"HISceilprstqQZ\x00\xff1"
NUMBERS = (0, 1, 2, 99, 126, 127, 128, 255, 2047, 65_535, 65_536, 1 << 20, 1 << 28, 1 << 34)


def mutated(rng: np.random.Generator, files: Files, data: bytes | None = None) -> bytes:
    """``data``, or a file of ``files``, spoiled in one to three ways."""
    data = files[rng.integers(len(files))] if data is None else data
    for _ in range(rng.integers(1, 4)):
        data = _WAYS[rng.integers(len(_WAYS))](rng, data, files)
    return data


def _parts(data: bytes) -> list[bytes]:
    """The chunks that count, as bytes; empty if there are none."""
    return [data[c.start : c.end] for c in chunks(data) if isinstance(c, Chunk)]


def _joined(data: bytes, parts: list[bytes]) -> bytes:
    return data[: layout.START] + b"".join(parts)


def _one(rng: np.random.Generator, data: bytes) -> tuple[list[bytes], int, Chunk] | None:
    """(all chunks, the number of one of them, and that one parsed)."""
    found = [c for c in chunks(data) if isinstance(c, Chunk)]
    if not found:
        return None
    which = int(rng.integers(len(found)))
    return [data[c.start : c.end] for c in found], which, found[which]


def flip_bits(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """One to eight bits, anywhere."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 9) if out else 0):
        out[rng.integers(len(out))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def cut_off(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """The end is missing."""
    return data[: rng.integers(len(data) + 1)]


def cut_out(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """Some bytes are missing, doubled, or another file's."""
    a, b = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    other = files[rng.integers(len(files))]
    start = int(rng.integers(len(other)))
    between = (b"", data[a:b] * 2, other[start : start + b - a])[rng.integers(3)]
    return data[:a] + between + data[b:]


def set_version(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """Signature or version of another kind."""
    at = int(rng.integers(8, 10) if rng.random() < 0.8 else rng.integers(8))
    return data[:at] + rng.bytes(1) + data[at + 1 :]


def move_chunks(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """Chunks that are shuffled, doubled, missing, or another file's."""
    parts = _parts(data)
    if not parts:
        return data
    at = int(rng.integers(len(parts)))
    action = rng.integers(5)
    if action == 0:
        parts.pop(at)
    elif action == 1:
        parts.insert(int(rng.integers(len(parts) + 1)), parts[at])
    elif action == 2:
        parts.insert(int(rng.integers(len(parts) + 1)), parts.pop(at))
    elif action == 3:
        parts[1:] = rng.permutation(np.array(parts[1:], object)).tolist()
    else:
        others = _parts(files[rng.integers(len(files))])
        parts.insert(at, others[rng.integers(len(others))])
    return _joined(data, parts)


def spoil_frame(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """A chunk of another type, with other flags or another length; its checksum is right."""
    found = _one(rng, data)
    if found is None:
        return data
    parts, at, chunk = found
    kind, flags = chunk.type, chunk.flags
    length = varint(len(chunk.payload))
    action = rng.integers(3)
    if action == 0:
        kind = TYPES[rng.integers(len(TYPES))]
    elif action == 1:
        flags = int(rng.integers(256))
    else:
        length = varint(NUMBERS[rng.integers(len(NUMBERS))]) + bytes(rng.integers(2))
    body = bytes((kind, flags)) + length + chunk.payload
    parts[at] = body + crc32(body).to_bytes(4, "big")
    return _joined(data, parts)


def spoil_payload(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """A payload with other bytes, with bytes missing or too many; its checksum is right."""
    found = _one(rng, data)
    if found is None:
        return data
    parts, at, chunk = found
    body = bytearray(chunk.payload)
    for _ in range(rng.integers(1, 5)):
        where = int(rng.integers(len(body) + 1))
        action = rng.integers(5)
        if action == 0:
            body[where : where + 1] = rng.bytes(1)
        elif action == 1:
            del body[where : where + int(rng.integers(1, 9))]
        elif action == 2:
            body[where:where] = rng.bytes(int(rng.integers(1, 9)))
        elif action == 3:
            body[where : where + 1] = varint(NUMBERS[rng.integers(len(NUMBERS))])
        else:
            del body[where:]
    parts[at] = pack_chunk(chunk.type, chunk.flags, bytes(body[: layout.PAYLOAD_MOST[layout.HEAD]])
                           if chunk.type == layout.HEAD else bytes(body))  # fmt: skip
    return _joined(data, parts)


def spoil_head(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """A head of numbers that are possible, or just beyond, in front of chunks that belong to
    another."""
    parts = _parts(data)
    flags = int(rng.integers(32))

    def number() -> bytes:
        if rng.random() < 0.5:
            return varint(int(rng.integers(0, 400)))
        return varint(NUMBERS[rng.integers(len(NUMBERS))])

    model = data[13:17] if rng.random() < 0.9 else rng.bytes(4)
    out = model + (rng.bytes(2) if flags & layout.SEEDED else b"")
    out += number() + number() if flags & layout.RATED else b""
    out += number()
    if flags & layout.SOUND:
        spread = int(rng.choice([0, 700, 1 << 20, 1 << 29]))
        out += zigzag(int(rng.integers(-spread, spread + 1)))
    out += varint(int(rng.integers(0, 868))) + varint(int(rng.integers(0, 5)))
    out += b"".join(number() for _ in range(5)) if flags & layout.CROPPED else b""
    parts[:1] = [pack_chunk(layout.HEAD, flags, out[:64])]
    return _joined(data, parts)


def spoil_symbols(rng: np.random.Generator, data: bytes, files: Files) -> bytes:
    """A file that is right to the last bit, with symbols of any size."""
    try:
        stream = read(data)
        book = weights.codebook(stream.head.model)
        symbols = coder.decode(stream, book)
    except AvccError:  # spoiled before: nothing to go on with
        return data
    size = int(rng.choice([3, 30, 1000, VALUE_MOST]))
    identities = list(symbols.identities)
    at = int(rng.integers(len(identities)))
    one = identities[at]
    if rng.random() < 0.5:
        shape = one.shape.copy()
        where = rng.random(len(shape)) < rng.choice([0.05, 0.5, 1])
        shape[where] = rng.integers(-size, size + 1, int(where.sum()))
        voice = rng.integers(0, 8, len(one.voice))
        identities[at] = replace(one, shape=shape, voice=voice)
    segments, reach = [], min(size, VALUE_MOST // 2)
    for seg in symbols.segments:
        if seg is not None and rng.random() < 0.7:
            motion = seg.motion.copy()
            where = rng.random(motion.shape) < rng.choice([0.01, 0.5])
            motion[where] = rng.integers(-reach, reach + 1, int(where.sum()))
            seg = replace(seg, motion=motion)
        segments.append(seg)
    pitch = [
        p if p is None or rng.random() < 0.5 else rng.integers(-reach, reach + 1, len(p))
        for p in symbols.pitch
    ]
    copies = list(symbols.copies)
    for n, copy in enumerate(copies):
        if copy is not None and rng.random() < 0.5:
            moved = rng.integers(-reach, reach + 1, copy.segment.motion.shape)
            copies[n] = replace(copy, segment=replace(copy.segment, motion=moved))
            segments[n] = None if rng.random() < 0.5 else segments[n]
    parts = tuple(identities), tuple(segments), symbols.cuts, tuple(pitch), symbols.scene
    lips = symbols.lips
    if lips is not None and rng.random() < 0.7:
        lips = rng.integers(-reach, reach + 1, len(lips))
    spoiled = Symbols(symbols.head, *parts, tuple(copies), symbols.points, lips)
    return write(coder.encode(spoiled, book))


_WAYS: tuple[Mutation, ...] = (
    flip_bits, cut_off, cut_out, set_version, move_chunks, move_chunks, spoil_frame, spoil_payload,
    spoil_payload, spoil_head, spoil_symbols, spoil_symbols,
)  # fmt: skip
