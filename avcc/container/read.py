"""The bytes of an ``.avc`` file to a ``Stream``, with whatever damage they have.

Nothing is allocated on the word of the file: a length is compared with its limit and with the
bytes that are there before anything is taken. What a checksum doesn't vouch for isn't used at all,
not even the length, so damage costs the chunk that it hits and no other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import groupby
from zlib import crc32

from avcc.container import layout
from avcc.container.layout import OPEN, Chunk, Cursor, parse_chunk
from avcc.container.length import Length, numbered
from avcc.container.limits import ALL, BYTES_MOST, CHUNKS_MOST, Limits, few
from avcc.container.pieces import Pieces
from avcc.errors import FormatError
from avcc.stages import Head, OperatingPoint, Stream

# Bytes that looking for the next sound chunk may checksum in all; real files need a fraction, and
# bytes that were made to look like chunk after chunk shall not keep a reader busy for hours.
SEARCH_MOST = 1 << 26
_WANTED = re.compile(b"[ISeipqrs]")  # what a search looks for: all that is large, and the end


def version(data: bytes) -> tuple[int, int]:
    """(major, minor); ``FormatError`` if this isn't an ``.avc`` file of a version known here."""
    if data[: len(layout.SIGNATURE)] != layout.SIGNATURE:
        raise FormatError("This isn't an .avc file: its first bytes are not the signature.")
    if len(data) < layout.START:
        raise FormatError("The file ends inside its signature.")
    major, minor = data[len(layout.SIGNATURE) : layout.START]
    if major != layout.MAJOR:
        raise FormatError(
            f"The file is of format version {major}.{minor}; this program reads version"
            f" {layout.MAJOR}. A newer avcc may read it."
        )
    return major, minor


def is_open(data: bytes) -> bool | None:
    """Whether a stream that begins like this is an open one; ``None``: more of it has to come.

    ``FormatError`` where it is no ``.avc`` stream, or its head is damaged.
    """
    most = layout.START + 16 + layout.PAYLOAD_MOST[layout.HEAD]  # bytes, framing and all
    if len(data) < layout.START:
        if not layout.SIGNATURE.startswith(data[: len(layout.SIGNATURE)]):
            version(data.ljust(layout.START, b"\0"))
        return None
    _, minor = version(data)
    try:
        first = parse_chunk(data, layout.START)
    except FormatError:
        if len(data) < most:
            return None
        raise
    length = Length([])
    with suppress(FormatError):  # said by ``read``, with all that follows
        layout.parse_head(first.flags, first.payload, minor, length if minor >= OPEN else None)
    return length.opened


def chunks(data: bytes) -> Iterator[Chunk | str]:
    """All sound chunks in order, and between them a sentence for each stretch that isn't.

    ``FormatError`` behind ``CHUNKS_MOST`` of them.
    """
    at, budget, left = layout.START, SEARCH_MOST, CHUNKS_MOST
    while at < len(data):
        left -= 1
        if left < 0:
            raise FormatError(f"The file has more than {CHUNKS_MOST} chunks.")
        try:
            chunk = parse_chunk(data, at)
        except FormatError:
            found, budget = _next(data, at + 1, budget)
            stop = found if found is not None else len(data)
            yield f"Bytes {at} to {stop - 1} are damaged or cut off."
            at = stop
            continue
        yield chunk
        at = chunk.end


def read(data: bytes, limits: Limits = ALL) -> Stream:
    """The stream, with a sentence in ``damage`` for everything that was lost.

    ``FormatError`` if the file can't be used at all: no signature, another major version, a head
    or first identity that is damaged or out of range, a second head, or a chunk that is critical
    and unknown. Segments that are damaged, missing or cut off are ``None``. The first of two
    chunks for the same segment counts; chunks that don't fit the head are left out and reported.
    So is a file refused that asks for more than ``limits``.
    """
    if len(data) > BYTES_MOST:
        raise FormatError(f"The file has more than {BYTES_MOST >> 20} MiB; no .avc file has.")
    _, minor = version(data)
    found = chunks(data)
    first = next(found, "The file ends behind its signature.")
    if isinstance(first, str):
        raise FormatError(f"The head is damaged: {first}")
    if first.type != layout.HEAD:
        raise FormatError("The file does not begin with a head.")
    length = Length(found)
    head = layout.parse_head(first.flags, first.payload, minor, length if minor >= OPEN else None)
    limits.check(head)
    damage: list[str] = []
    points: dict[int, OperatingPoint] = {}
    identities: list[tuple[int, int, bytes, bytes]] = []
    segments: dict[int, bytes] = {}
    pitch: dict[int, bytes] = {}
    finer: dict[int, bytes] = {}
    copies: dict[int, tuple[OperatingPoint, bytes]] = {}
    pieces = Pieces()
    cuts: tuple[int, ...] | None = None
    scenes: list[tuple[int, bytes] | None] = []
    lips: bytes | None = None
    for chunk in length.chunks:
        if isinstance(chunk, Chunk) and chunk.type == layout.PIECE:
            whole = pieces.add(chunk) if identities else None
            if whole is None:
                continue
            chunk = whole
        if isinstance(chunk, str):
            damage.append(chunk)
        elif chunk.type == layout.HEAD:
            raise FormatError("The file has more than one head.")
        elif chunk.type == layout.IDENTITY:
            try:
                one = _identity(chunk, head.frames)
            except FormatError as error:
                damage.append(f"An identity was left out: {error}")
                continue
            if identities and one[0] <= identities[-1][0]:
                damage.append(f"The identity of frame {one[0]} is out of order and was left out.")
                continue
            if not identities and (damage or segments):
                break  # the key frame was lost, and this is another one
            if len(identities) == limits.key_frames:
                raise FormatError(f"The file has more than {limits.key_frames} key frames.")
            identities.append(one)
        elif chunk.type == layout.SEGMENT:
            try:
                number, payload = numbered(chunk, head.segments)
                if length.opened:
                    point, payload = _pointed(payload, head)
            except FormatError as error:
                damage.append(f"A segment was left out: {error}")
                continue
            if number in segments:
                damage.append(f"Segment {number} comes twice; the second was left out.")
            else:
                segments[number] = payload
                if length.opened:
                    points[number] = point
        elif chunk.type in (layout.PITCH, layout.FINER):
            with suppress(FormatError):  # they are ancillary
                number, payload = numbered(chunk, layout.pitches(head.frames))
                (pitch if chunk.type == layout.PITCH else finer).setdefault(number, payload)
        elif chunk.type == layout.COPY:
            with suppress(FormatError):
                number, copied = _copy(chunk, head)
                copies.setdefault(number, copied)
        elif chunk.type == layout.CUTS:
            cuts = _cuts(chunk, head.frames) if cuts is None else cuts
        elif chunk.type == layout.SCENE:
            scenes.append(_scene(chunk, head))
        elif chunk.type == layout.LIPS and not chunk.flags and lips is None:
            lips = chunk.payload
        elif chr(chunk.type).isupper():
            raise FormatError(f"The file needs a feature {chr(chunk.type)!r} unknown to this avcc.")
    if not identities:
        raise FormatError("The key frame is damaged or missing.")
    payloads = tuple(segments.get(n) for n in range(head.segments))
    unended = length.opened and not length.said
    if unended:
        damage.append("The stream has no end: it was cut off, or is still being written.")
    told = tuple(few(damage) + few(_missing(payloads, copies)))
    numbers = range(layout.pitches(head.frames))
    parts, fine = (tuple(some.get(n) for n in numbers) if some else () for some in (pitch, finer))
    scene = scenes[0] if scenes else None
    kept = tuple(copies.get(n) for n in range(len(payloads))) if copies else ()
    own = tuple(points.get(n) for n in range(len(payloads))) if length.opened else ()
    led = lips if head.led and not length.opened else None
    coded = tuple(identities), payloads, told, cuts or (), parts, scene, kept, own, led
    return Stream(head, *coded, unended, fine)


def _next(data: bytes, at: int, budget: int) -> tuple[int | None, int]:
    """(where the next sound chunk of ``_WANTED`` starts, what is left of the budget)."""
    view = memoryview(data)
    for match in _WANTED.finditer(data, at):
        at = match.start()
        budget -= 64  # for the look itself
        if budget < 0:
            break
        try:
            cursor = Cursor(data, at + 2)
            length = cursor.varint(layout.payload_most(data[at]), "length of a chunk")
            end = cursor.at + length
            if end + 4 <= len(data):
                budget -= end - at
                if int.from_bytes(data[end : end + 4], "big") == crc32(view[at:end]):
                    return at, budget
        except FormatError:
            continue
    return None, budget


def _identity(chunk: Chunk, frames: int) -> tuple[int, int, bytes, bytes]:
    """(frame, side, code, picture) of an identity's chunk; ``FormatError`` if out of range."""
    if chunk.flags > layout.LATER:
        raise FormatError("it has flags that this version does not know.")
    cursor = Cursor(chunk.payload)
    frame = cursor.varint(frames - 1, "frame of an identity", 1) if chunk.flags else 0
    side = _side(cursor)
    length = cursor.varint(layout.CODE_MOST, "length of an identity's code")
    return frame, side, cursor.take(length), _picture(cursor)


def _side(cursor: Cursor) -> int:
    return layout.bounded(8 * cursor.take(1)[0], 8, 8 * 255, "side of a picture")


def _picture(cursor: Cursor) -> bytes:
    picture = cursor.rest()
    layout.bounded(len(picture), 1, layout.PICTURE_MOST, "length of a picture")
    return picture


def _scene(chunk: Chunk, head: Head) -> tuple[int, bytes] | None:
    """(side, picture) of the surroundings; ``None`` if the chunk makes no sense."""
    cursor = Cursor(chunk.payload)
    try:
        layout.bounded(chunk.flags, 0, 0, "flags of the surroundings")
        return (_side(cursor), _picture(cursor)) if head.crop else None
    except FormatError:
        return None


def _copy(chunk: Chunk, head: Head) -> tuple[int, tuple[OperatingPoint, bytes]]:
    """(number, (point, payload)) of a segment's copy; ``FormatError`` if out of range."""
    number, rest = numbered(chunk, head.segments)
    return number, _pointed(rest, head)


def _pointed(payload: bytes, head: Head) -> tuple[OperatingPoint, bytes]:
    """The operating point in front of a code, and the code; ``FormatError`` if out of range."""
    cursor = Cursor(payload)
    return layout.parse_point(cursor, head.point.semantic), cursor.rest()


def _cuts(chunk: Chunk, frames: int) -> tuple[int, ...]:
    """The frames at which shots begin; none if the chunk makes no sense: it is ancillary."""
    cursor, out, at = Cursor(chunk.payload), [], 0
    try:
        layout.bounded(chunk.flags, 0, 0, "flags of the cuts")
        while cursor.at < len(chunk.payload):
            at += cursor.varint(frames - 1 - at, "frame of a cut", 1)
            out.append(at)
    except FormatError:
        return ()
    return tuple(out)


def _missing(payloads: tuple[bytes | None, ...], copies: Collection[int]) -> list[str]:
    """A sentence for each run of segments that aren't there. ``copies``: numbers of those that have
    one."""
    said = []
    lost = (n for n, payload in enumerate(payloads) if payload is None)
    for copied, run in groupby(
        enumerate(lost), lambda pair: (pair[1] in copies, pair[1] - pair[0])
    ):
        numbers = [number for _, number in run]
        one = len(numbers) == 1
        which = f"Segment {numbers[0]} is" if one else f"Segments {numbers[0]} to {numbers[-1]} are"
        instead = "; a coarse copy is used" if copied[0] else " and will be concealed"
        said.append(f"{which} damaged or missing{instead}.")
    return said
