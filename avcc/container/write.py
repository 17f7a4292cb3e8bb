"""A ``Stream`` to the bytes of an ``.avc`` file."""

from __future__ import annotations

from itertools import pairwise

from avcc import obus
from avcc.container import layout
from avcc.container.layout import bounded, pack_chunk, varint
from avcc.errors import FormatError
from avcc.stages import PITCH_FRAMES, SEGMENT_FRAMES, Head, OperatingPoint, Stream


def write(stream: Stream, comment: str = "") -> bytes:
    """The whole file. ``comment``: text for people, in a chunk that decoders skip.

    ``FormatError`` for what the file can't hold: fields out of range, no identity, identities that
    are out of order, a number of segments that doesn't fit the frames. A segment that is ``None``
    (lost before) is left out, and will be reported as missing.
    """
    head = stream.head
    opened = bool(stream.points)
    count, each = head.segments, head.segment_frames
    if len(stream.segments) != count:
        raise FormatError(f"{head.frames} frames don't make {len(stream.segments)} segments.")
    for pitch in (stream.pitch, stream.finer):
        if len(pitch) not in (0, layout.pitches(head.frames)):
            raise FormatError(f"{head.frames} frames don't make {len(pitch)} parts of a pitch.")
    if len(stream.copies) not in (0, count):
        raise FormatError(f"{count} segments don't have {len(stream.copies)} copies.")
    if len(stream.points) not in (0, count):
        raise FormatError(f"{count} segments don't have {len(stream.points)} operating points.")
    if stream.lips is not None and (opened or not head.led):
        raise FormatError("Lips follow the voice only where nothing else moves them.")
    parts = [pack_start(head, _minor(stream), opened)]
    # The first key frame follows the head at once (a reader takes damage in between for its loss);
    # later ones stand in front of the segment that they lie in, so that a pipe has them in time.
    if not stream.identities:
        raise FormatError("A stream needs a key frame.")
    frames = [one[0] for one in stream.identities]
    if frames != sorted(set(frames)):
        raise FormatError("The identities are not in the order of their frames.")
    waiting = [pack_identity(*one, frames=head.frames) for one in stream.identities]
    parts.append(waiting.pop(0))
    frames.pop(0)
    if stream.cuts:
        parts.append(pack_cuts(stream.cuts, head.frames))
    if stream.scene:
        parts.append(pack_scene(*stream.scene))
    if stream.lips is not None:
        parts.append(pack_lips(stream.lips))
    for number, data in enumerate(stream.segments):
        while frames and frames[0] < (number + 1) * each:
            parts.append(waiting.pop(0))
            frames.pop(0)
        part, inside = divmod((number + 1) * each - 1, PITCH_FRAMES)
        for kind, pitch in ((layout.PITCH, stream.pitch), (layout.FINER, stream.finer)):
            payload = pitch[part] if inside < each and part < len(pitch) else None
            if payload is not None:
                parts.append(_numbered(kind, part, payload))
        if data is not None:
            point = stream.point(number) if opened else None
            parts.append(pack_segment(number, data, point))
        # Behind the next segment, so that what destroys a segment leaves its copy.
        last = number == count - 1
        for n in range(max(0, number - 1), number + last) if stream.copies else ():
            copy = stream.copies[n]
            if copy is not None:
                parts.append(pack_copy(n, *copy))
    if opened:
        parts.append(pack_end(head.frames, head.samples))
    if comment:
        parts.append(pack_chunk(layout.TEXT, 0, comment.encode()))
    return b"".join(parts)


def overhead(stream: Stream) -> int:
    """Bytes of the file that are neither picture, nor codes: signature, head, framing."""
    coded = sum(len(code) + len(picture) for _, _, code, picture in stream.identities)
    every = *stream.segments, *stream.pitch, *stream.finer
    coded += sum(len(data) for data in every if data is not None)
    coded += sum(len(copy[1]) for copy in stream.copies if copy is not None)
    coded += len(stream.scene[1]) if stream.scene else 0
    coded += len(stream.lips or b"")
    return len(write(stream)) - coded


def pack_identity(frame: int, side: int, code: bytes, picture: bytes, frames: int) -> bytes:
    """The chunk of one identity; ``FormatError`` for fields out of range."""
    bounded(frame, 0, frames - 1, "frame of an identity")
    bounded(len(code), 0, layout.CODE_MOST, "length of an identity's code")
    body = identity_payload(frame, side, code, picture)
    return pack_chunk(layout.IDENTITY, layout.LATER if frame else 0, body)


def identity_payload(frame: int, side: int, code: bytes, picture: bytes) -> bytes:
    """What stands in it."""
    front = varint(frame) if frame else b""
    return front + _side(side, picture) + varint(len(code)) + code + picture


def pack_cuts(cuts: tuple[int, ...], frames: int) -> bytes:
    """The chunk that says where shots begin; ``FormatError`` for frames out of range or order."""
    payload = b""
    for before, cut in pairwise((0, *cuts)):
        bounded(cut, before + 1, frames - 1, "frame of a cut")
        payload += varint(cut - before)
    return pack_chunk(layout.CUTS, 0, payload)


def pack_scene(side: int, picture: bytes) -> bytes:
    """The chunk of the surroundings; ``FormatError`` for fields out of range."""
    return pack_chunk(layout.SCENE, 0, _side(side, picture) + picture)


def pack_lips(payload: bytes) -> bytes:
    """The chunk that says how lips follow the voice."""
    return pack_chunk(layout.LIPS, 0, payload)


def pack_start(head: Head, minor: int, opened: bool = False) -> bytes:
    """Signature, version and head; ``opened``: of a stream whose length isn't known yet.
    ``minor``: the least version that has all the rest."""
    flags, payload = layout.pack_head(head, opened)
    if head.segment_frames != SEGMENT_FRAMES:
        minor = max(minor, layout.SHORT)
    if head.shown:
        minor = max(minor, layout.SHOWN)
    front = layout.SIGNATURE + bytes((layout.MAJOR, minor))
    return front + pack_chunk(layout.HEAD, flags, payload)


def pack_segment(number: int, data: bytes, point: OperatingPoint | None = None) -> bytes:
    """The chunk of one segment; ``point``: its own, in an open stream."""
    front = layout.pack_point(point) if point else b""
    return _numbered(layout.SEGMENT, number, front + data)


def pack_end(frames: int, samples: int) -> bytes:
    """The chunk at the end of an open stream."""
    return pack_chunk(layout.END, 0, layout.pack_length(frames, samples))


def pack_copy(number: int, point: OperatingPoint, data: bytes) -> bytes:
    """The chunk of the coarse copy of a segment."""
    return _numbered(layout.COPY, number, layout.pack_point(point) + data)


def _minor(stream: Stream) -> int:
    """The earliest minor version that has all that the stream has."""
    stills = [one[3] for one in stream.identities] + [stream.scene[1] if stream.scene else b""]
    if any(map(obus.is_short, stills)):
        return layout.BRIEF
    if stream.finer:
        return layout.FINE
    if stream.lips is not None:
        return layout.LED
    if stream.points:
        return layout.OPEN
    if stream.copies:
        return layout.COPIED
    if stream.scene:
        return layout.SCENIC
    return layout.PITCHED if stream.pitch else layout.PLAIN


def _numbered(kind: int, number: int, data: bytes) -> bytes:
    if number < layout.NUMBERED:
        return pack_chunk(kind, number, data)
    return pack_chunk(kind, layout.NUMBERED, varint(number) + data)


def _side(side: int, picture: bytes) -> bytes:
    """The byte that says how large a picture is; ``FormatError`` for one that can't be sent."""
    bounded(len(picture), 1, layout.PICTURE_MOST, "length of a picture")
    if side % 8 or not 8 <= side <= 8 * 255:
        raise FormatError(f"A picture's side must be a multiple of 8 up to 2040, not {side}.")
    return bytes((side // 8,))
