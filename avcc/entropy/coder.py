"""Integers to bytes and back: the range coder.

The only file that imports constriction. ``Encoder`` and ``Decoder`` offer one primitive to the
traversal of ``context.py``, as ``Cost`` and ``Counter`` of ``count.py`` do. ``encode`` and
``decode`` take whole clips.

constriction's ``Categorical(weights, perfect=False)`` gives symbol i the frequency
1 + floor(scale * weights[i] + carry) with scale = (2^24 - n) / sum(weights). With the weights
``w - 1`` of a row w that sums to 2^24 that scale is exactly 1.0 and every product and sum is an
integer below 2^53, so the frequencies are the row itself, to the unit, on every machine.
``tests/test_entropy_coder.py`` reads all of them back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import constriction
import numpy as np

from avcc.entropy.context import check_point, identity, pitch, segment
from avcc.entropy.count import Cost, Counter, Rows, segment_bits
from avcc.entropy.tables import Codebook
from avcc.errors import FormatError, ModelError
from avcc.stages import (
    PITCH_FRAMES,
    Copy,
    Head,
    Identity,
    OperatingPoint,
    Stream,
    Symbols,
)

_Read = TypeVar("_Read")
WORD = 1 << 32  # constriction's range coder shifts out words of 32 bits


def _model(row: np.ndarray) -> Any:
    """constriction's model of one table row, with exactly the row's frequencies."""
    weights = row.astype(np.float64) - 1.0
    return constriction.stream.model.Categorical(weights, perfect=False)


# Models cost a microsecond and some kilobytes each, so each codebook keeps its own; a process
# rarely has more than one codebook.
@lru_cache(maxsize=4)
def _models(book: Codebook) -> Rows:
    return Rows(book, _model)


class Encoder:
    """Writes one payload; ``close`` gives its bytes."""

    def __init__(self, book: Codebook) -> None:
        self.kind = ""
        self._rows = _models(book)
        self._coder = constriction.stream.queue.RangeEncoder()

    def code(self, table: str, row: int, symbol: int | None) -> int:
        """Write ``symbol`` and return it; ``FormatError`` if the row has no such symbol."""
        if symbol is None:
            raise ValueError("an encoder needs a symbol")
        try:
            self._coder.encode(symbol, self._rows[table, row])
        except (KeyError, IndexError, TypeError) as error:
            raise FormatError(f"Symbol {symbol} is not in row {row} of {table}.") from error
        return symbol

    def close(self) -> bytes:
        """The payload: as many bytes as always tell an interval of the final size from the others.

        constriction would round up to whole words; a decoder that pads with zeros needs less,
        which saves 13 bits a segment. Stripping zero bytes that come out by luck would save one
        more, but then the length would say nothing; so it follows from the symbols alone, and a
        decoder can check it.
        """
        count, (low, size) = self._coder.pos()
        words = self._coder.get_compressed()
        if not len(words):
            return b""
        # The last word that constriction seals with is the top of low + 2^32 - 1, carry included,
        # so the exact start of the interval follows from the words and the low bits of ``low``.
        sealed = int.from_bytes(words[: count + 1].astype(">u4").tobytes(), "big") * WORD
        start = sealed - (-low) % WORD  # of 32 * (count + 2) binary digits
        spare = (size.bit_length() - 1) // 8  # bytes of ``start`` that needn't be sent
        value = -(-start >> 8 * spare)
        return value.to_bytes(4 * (count + 2) - spare, "big")


class Decoder:
    """Reads one payload; bytes that are missing at its end read as zeros."""

    def __init__(self, book: Codebook, payload: bytes) -> None:
        self.kind = ""
        self._payload = payload
        self._rows = _models(book)
        words = np.frombuffer(payload + bytes(-len(payload) % 4), ">u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)
        # Everything that is read is written again: see ``close``.
        self._again = Encoder(book)
        self._write = self._again._coder.encode

    def code(self, table: str, row: int, symbol: int | None = None) -> int:
        """Read one symbol; ``FormatError`` if the bytes lie in no symbol's interval."""
        model = self._rows[table, row]
        try:
            found: int = self._coder.decode(model)
        except (AssertionError, ValueError, RuntimeError) as error:
            raise FormatError("The coded bytes make no sense.") from error
        self._write(found, model)
        return found

    def close(self) -> None:
        """``FormatError`` unless the symbols read so far are the payload, all of it, to the byte.

        A range decoder turns any bytes into symbols. There is one payload for each message, whose
        length follows from the message, so what was read must give the same bytes when it is
        written again. Most damage that gets past the CRC fails this.
        """
        if self._again.close() != self._payload:
            raise FormatError("The coded bytes go on after their last symbol, or end before it.")


def encode(symbols: Symbols, book: Codebook) -> Stream:
    """Code a clip. ``ModelError`` if its head names another codebook, ``FormatError`` if what it
    holds can't be coded; a segment that is ``None`` stays ``None``."""
    head = symbols.head
    _check(head, book, len(symbols.segments), len(symbols.pitch))
    identities = []
    for one in symbols.identities:
        code = _written(book, identity, one.shape, one.voice, head.samples > 0)
        identities.append((one.frame, one.side, code, one.picture))
    payloads = tuple(
        None if seg is None else coded(book, Copy(symbols.point(n), seg), head.frames_of(n))
        for n, seg in enumerate(symbols.segments)
    )
    parts = tuple(
        None if part is None else _written(book, pitch, pitch_frames(head, n), part)
        for n, part in enumerate(symbols.pitch)
    )
    copies = tuple(
        None if copy is None else (copy.point, coded(book, copy, head.frames_of(n)))
        for n, copy in enumerate(symbols.copies)
    )
    rest = symbols.cuts, parts, symbols.scene, copies, symbols.points
    return Stream(head, tuple(identities), payloads, (), *rest)


def decode(stream: Stream, book: Codebook) -> Symbols:
    """Read a clip's symbols. A segment, its copy, a part of the pitch, or an identity after the
    first, whose bytes make no sense is ``None``, or left out (``damage`` says which).
    ``ModelError`` if the head names another codebook, ``FormatError`` if the first identity, or the
    head, makes no sense."""
    head = stream.head
    _check(head, book, len(stream.segments), len(stream.pitch))
    identities: list[Identity] = []
    for frame, side, code, picture in stream.identities:
        try:
            shape, voice = _read(code, book, identity, None, None, head.samples > 0)
        except FormatError:
            if not identities:
                raise
            continue
        identities.append(Identity(picture, side, shape, voice, frame))
    found = (
        None if payload is None else _copy((stream.point(n), payload), book, head.frames_of(n))
        for n, payload in enumerate(stream.segments)
    )
    segments = tuple(None if one is None else one.segment for one in found)
    parts = tuple(
        _sound(payload, book, pitch, pitch_frames(head, n), None)
        for n, payload in enumerate(stream.pitch)
    )
    copies = tuple(
        None if copy is None else _copy(copy, book, head.frames_of(n))
        for n, copy in enumerate(stream.copies)
    )
    rest = stream.cuts, parts, stream.scene, copies, stream.points
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
    lost += [
        f"The pitch from frame {number * PITCH_FRAMES} on was left out: its bytes make no sense."
        for number, (payload, part) in enumerate(zip(stream.pitch, symbols.pitch, strict=True))
        if payload is not None and part is None
    ]
    return stream.damage + tuple(lost)


def pitch_frames(head: Head, number: int) -> int:
    """Frames of part ``number`` of the pitch: ``PITCH_FRAMES``, or what is left for the last."""
    return min(PITCH_FRAMES, head.frames - number * PITCH_FRAMES)


def _written(book: Codebook, walk: Callable[..., object], *given: object) -> bytes:
    """The payload of one walk of ``context.py``."""
    writer = Encoder(book)
    walk(writer, book, *given)
    return writer.close()


def _read(payload: bytes, book: Codebook, walk: Callable[..., _Read], *given: object) -> _Read:
    """What one walk finds in a payload; ``FormatError`` if that makes no sense."""
    reader = Decoder(book, payload)
    found = walk(reader, book, *given)
    reader.close()
    return found


def _sound(
    payload: bytes | None, book: Codebook, walk: Callable[..., _Read], *given: object
) -> _Read | None:
    """The same; ``None`` where there is no payload, or no sense in it."""
    try:
        return None if payload is None else _read(payload, book, walk, *given)
    except FormatError:
        return None


def coded(book: Codebook, copy: Copy, frames: int | None = None) -> bytes:
    """The payload of a segment at its operating point; ``frames``: as many as are due."""
    due = copy.segment.frames if frames is None else frames
    return _written(book, segment, copy.point, due, copy.segment)


def _copy(copy: tuple[OperatingPoint, bytes], book: Codebook, frames: int) -> Copy | None:
    """A copy of so many frames; ``None`` where there is no sense in it."""
    point, payload = copy
    found = _sound(payload, book, segment, point, frames, None)
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
