"""A clip's symbols to the bytes of its payloads, and back."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from avcc.entropy.context import (
    check_point,
    identity_walk,
    lips_walk,
    segment_walk,
)
from avcc.entropy.contour import finer_walk, pitch_walk
from avcc.entropy.count import Cost, Counter, segment_bits
from avcc.entropy.payload import Decoder, Encoder
from avcc.entropy.primitive import Walk, walked
from avcc.entropy.tables import Codebook
from avcc.entropy.together import read_together
from avcc.errors import FormatError, ModelError
from avcc.stages import (
    PITCH_FRAMES,
    Copy,
    Head,
    Identity,
    OperatingPoint,
    Segment,
    Stream,
    Symbols,
)

_Found = TypeVar("_Found")
AT_ONCE = 32  # segments that are read side by side


def encode(symbols: Symbols, book: Codebook) -> Stream:
    """Code a clip. ``ModelError`` if its head names another codebook, ``FormatError`` if what it
    holds can't be coded; a segment that is ``None`` stays ``None``."""
    head = symbols.head
    _check(head, book, len(symbols.segments), len(symbols.pitch))
    identities = []
    for one in symbols.identities:
        code = _written(book, identity_walk(book, one.shape, one.voice, head.samples > 0))
        identities.append((one.frame, one.side, code, one.picture))
    payloads = tuple(
        None if seg is None else coded(book, Copy(symbols.point(n), seg), head.frames_of(n))
        for n, seg in enumerate(symbols.segments)
    )
    parts, finer = _pitches(symbols, book)
    copies = tuple(
        None if copy is None else (copy.point, coded(book, copy, head.frames_of(n)))
        for n, copy in enumerate(symbols.copies)
    )
    lips = None if symbols.lips is None else _written(book, lips_walk(symbols.lips))
    rest = symbols.cuts, parts, symbols.scene, copies, symbols.points, lips
    return Stream(head, tuple(identities), payloads, (), *rest, finer=finer)


def decode(stream: Stream, book: Codebook) -> Symbols:
    """Read a clip's symbols. A segment, its copy, a part of the pitch, the lips, or an identity
    after the first, whose bytes make no sense is ``None``, or left out (``damage`` says which).
    ``ModelError`` if the head names another codebook, ``FormatError`` if the first identity, or the
    head, makes no sense."""
    head = stream.head
    for pitch in (stream.pitch, stream.finer):
        _check(head, book, len(stream.segments), len(pitch))
    identities: list[Identity] = []
    for frame, side, code, picture in stream.identities:
        try:
            walk = identity_walk(book, None, None, head.samples > 0)
            shape, voice = _read(code, book, walk)
        except FormatError:
            if not identities:
                raise
            continue
        identities.append(Identity(picture, side, shape, voice, frame))
    segments = _segments(stream, book)
    parts = _heard(stream, book)
    copies = tuple(
        None if copy is None else _copy(copy, book, head.frames_of(n))
        for n, copy in enumerate(stream.copies)
    )
    lips = _sound(stream.lips, book, lips_walk(None))
    rest = stream.cuts, parts, stream.scene, copies, stream.points, lips
    return Symbols(head, tuple(identities), segments, *rest)


def damage(stream: Stream, symbols: Symbols) -> tuple[str, ...]:
    """All that was lost between the file and ``decode(stream, book)``, in sentences."""
    lost = []
    for number, (payload, seg) in enumerate(zip(stream.segments, symbols.segments, strict=True)):
        if seg is not None:
            continue
        there = symbols.received(number) is not None
        if payload is not None:
            instead = "; a coarse copy is used" if there else ""
            lost.append(f"Segment {number} was left out: its bytes make no sense{instead}.")
        if stream.copies and stream.copies[number] is not None and not there:
            lost.append(f"The copy of segment {number} was left out: its bytes make no sense.")
    kept = {one.frame for one in symbols.identities}
    for frame, _, _, _ in stream.identities:
        if frame not in kept:
            lost.append(f"The identity of frame {frame} was left out: its bytes make no sense.")
    for number, part in enumerate(symbols.pitch):
        sent = [parts[number] for parts in (stream.finer, stream.pitch) if parts]
        if part is None and any(payload is not None for payload in sent):
            begins = number * PITCH_FRAMES
            lost.append(f"The pitch from frame {begins} on was left out: its bytes make no sense.")
    if stream.lips is not None and symbols.lips is None:
        lost.append("How lips follow the voice was left out: its bytes make no sense.")
    return stream.damage + tuple(lost)


def _pitches(symbols: Symbols, book: Codebook) -> tuple[tuple[bytes | None, ...], ...]:
    """Payloads of the parts with one pitch a frame, and of those with two; none of a kind that no
    part is of."""
    coarse: dict[int, bytes] = {}
    finer: dict[int, bytes] = {}
    for n, part in enumerate(symbols.pitch):
        frames = pitch_frames(symbols.head, n)
        if part is not None and len(part) > frames:
            finer[n] = _written(book, finer_walk(frames, part))
        elif part is not None:
            coarse[n] = _written(book, pitch_walk(frames, part))
    numbers = range(len(symbols.pitch))
    return tuple(tuple(map(some.get, numbers)) if some else () for some in (coarse, finer))


def _heard(stream: Stream, book: Codebook) -> tuple[np.ndarray | None, ...]:
    """The parts of the pitch, as fine as there is sense in them."""
    found: list[np.ndarray | None] = []
    for n in range(max(len(stream.pitch), len(stream.finer))):
        frames = pitch_frames(stream.head, n)
        finer = stream.finer[n] if stream.finer else None
        part = _sound(finer, book, finer_walk(frames, None))
        if part is None and stream.pitch:
            part = _sound(stream.pitch[n], book, pitch_walk(frames, None))
        found.append(part)
    return tuple(found)


def pitch_frames(head: Head, number: int) -> int:
    """Frames of part ``number`` of the pitch: ``PITCH_FRAMES``, or what is left for the last."""
    return min(PITCH_FRAMES, head.frames - number * PITCH_FRAMES)


def _written(book: Codebook, walk: Walk[object]) -> bytes:
    """The payload of one walk of ``context.py``."""
    writer = Encoder(book)
    walked(writer, walk)
    return writer.close()


def _read(payload: bytes, book: Codebook, walk: Walk[_Found]) -> _Found:
    """What one walk finds in a payload; ``FormatError`` if that makes no sense."""
    reader = Decoder(book, payload)
    found = walked(reader, walk)
    reader.close()
    return found


def _sound(payload: bytes | None, book: Codebook, walk: Walk[_Found]) -> _Found | None:
    """The same; ``None`` where there is no payload, or no sense in it."""
    try:
        return None if payload is None else _read(payload, book, walk)
    except FormatError:
        return None


def coded(book: Codebook, copy: Copy, frames: int | None = None) -> bytes:
    """The payload of a segment at its operating point; ``frames``: as many as are due."""
    due = copy.segment.frames if frames is None else frames
    return _written(book, segment_walk(book, copy.point, due, copy.segment))


def _segments(stream: Stream, book: Codebook) -> tuple[Segment | None, ...]:
    """All segments, some at a time side by side."""
    found: list[Segment | None] = []
    for a in range(0, len(stream.segments), AT_ONCE):
        some = enumerate(stream.segments[a : a + AT_ONCE], a)
        there = {n: payload for n, payload in some if payload is not None}
        pairs = (
            (
                Decoder(book, payload),
                segment_walk(book, stream.point(n), stream.head.frames_of(n), None),
            )
            for n, payload in there.items()
        )
        read = dict(zip(there, read_together(pairs), strict=True))
        found += [read.get(n) for n in range(a, min(a + AT_ONCE, len(stream.segments)))]
    return tuple(found)


def _copy(copy: tuple[OperatingPoint, bytes], book: Codebook, frames: int) -> Copy | None:
    """A copy of so many frames; ``None`` where there is no sense in it."""
    point, payload = copy
    found = _sound(payload, book, segment_walk(book, point, frames, None))
    return None if found is None else Copy(point, found)


def _check(head: Head, book: Codebook, segments: int, pitches: int) -> None:
    if head.model != book.id:
        raise ModelError(
            f"The stream needs the model {head.model.hex()}, this one is {book.id.hex()}."
        )
    check_point(head.point, book)
    if segments != head.segments:
        raise FormatError(f"{head.frames} frames don't make {segments} segments.")
    if pitches not in (0, -(-head.frames // PITCH_FRAMES)):
        raise FormatError(f"{head.frames} frames don't make {pitches} parts of a pitch.")


__all__ = [
    "Cost",
    "Counter",
    "Decoder",
    "Encoder",
    "coded",
    "damage",
    "decode",
    "encode",
    "pitch_frames",
    "segment_bits",
]
