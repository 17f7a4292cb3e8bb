"""The bytes of an ``.avc`` file: signature, chunks, varints, the head (docs/format.md, "Bytes").

Shared by writer, reader and ``info``. A chunk is ``type, flags, varint length, payload, crc``; what
the flags mean is up to the type, because at 2 kbps every byte is a thousandth of a short file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from zlib import crc32

from avcc.entropy.tables import LAYERS_MOST
from avcc.errors import FormatError
from avcc.stages import (
    PITCH_FRAMES,
    RESTORED,
    SAMPLES_PER_FRAME,
    SEGMENT_FRAMES,
    SHARPEST,
    Crop,
    Head,
    OperatingPoint,
)

SIGNATURE = b"\x89AVC\r\n\x1a\n"
MAJOR = 1
# Minor versions: the first that have such a chunk, open streams, segments of another length, a head
# that says how pictures are shown, lips that follow the voice, two pitches a frame, and stills
# without what goes without saying.
PLAIN, PITCHED, SCENIC, COPIED, OPEN, SHORT, SHOWN, LED, FINE, BRIEF = range(10)
START = len(SIGNATURE) + 2  # where the first chunk lies

# Chunk types, as numbers.
HEAD, IDENTITY, SEGMENT, PIECE, COPY, CUTS, END, LIPS, PITCH, FINER, SCENE, TEXT = b"HISircelpqst"
# Largest payloads, by type. Nothing is read before its length was compared with these.
PAYLOAD_MOST = {HEAD: 64, IDENTITY: 1 << 21, SEGMENT: 1 << 18}
OTHER_MOST = 1 << 20

CROPPED, SEMANTIC, SOUND, RATED, SEEDED, PARTED = 1, 2, 4, 8, 16, 32  # flags of the head
LATER = 1  # flag of an identity: a varint frame number stands in front
# Flags of a segment, copy or part of the pitch: its number, or this, and a varint number in front.
NUMBERED = 127

FRAMES_MOST = 25 * 3600 * 24
SEGMENT_LEAST = 5  # frames a segment
SAMPLES_MOST = FRAMES_MOST * SAMPLES_PER_FRAME
RATE_TERM_MOST = 1_000_000  # numerator and denominator of the frame rate
RATE_MOST = 1000  # frames a second
STRIDE_MOST = 50
STEP_MOST = 255
CROP_MOST = 65_535  # pixels, of any size; positions lie in +- this
PICTURE_MOST = 1 << 20  # bytes
CODE_MOST = 65_535  # bytes of the code of shape and voice
VARINT_BYTES = 5

# Whether there is sound, and frames a segment -> frames, samples.
Ending = Callable[[bool, int], tuple[int, int]]


@dataclass(frozen=True)
class Chunk:
    """A chunk whose CRC was right: ``type`` and ``flags`` as numbers, ``start`` and ``end`` in
    the file."""

    type: int
    flags: int
    payload: bytes
    start: int
    end: int


class Cursor:
    """Reads numbers from the front of some bytes; ``FormatError`` where they run out."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count > len(self.data) - self.at:
            raise FormatError("The bytes end inside a field.")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self.data) - self.at)

    def varint(self, most: int, what: str, least: int = 0) -> int:
        """An unsigned LEB128 number in ``least..most``, in as few bytes as it needs."""
        value = 0
        for place in range(VARINT_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * place
            if byte < 128:
                if place and not byte:
                    raise FormatError(f"The {what} is written in more bytes than it needs.")
                return bounded(value, least, most, what)
        raise FormatError(f"The {what} is a number of more than {VARINT_BYTES} bytes.")

    def zigzag(self, most: int, what: str) -> int:
        """A signed number in ``-most..most``: 0, -1, 1, -2, ... are the varints 0, 1, 2, 3, ..."""
        value = self.varint(2 * most, what)
        return -(value + 1 >> 1) if value & 1 else value >> 1


def bounded(value: int, least: int, most: int, what: str) -> int:
    """``value``, or ``FormatError`` if it lies outside ``least..most``."""
    if not least <= value <= most:
        raise FormatError(f"The {what} is {value}, outside {least}..{most}.")
    return value


def varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, lowest first, the high bit set on all but the last."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> bytes:
    """A signed number as a varint: 2 v for v >= 0, -2 v - 1 below."""
    return varint(2 * value if value >= 0 else -2 * value - 1)


def payload_most(kind: int) -> int:
    """The largest payload of a chunk of this type."""
    return PAYLOAD_MOST.get(kind, OTHER_MOST)


def pack_chunk(kind: int, flags: int, payload: bytes) -> bytes:
    """A whole chunk."""
    bounded(len(payload), 0, payload_most(kind), "length of a chunk")
    body = bytes((kind, flags)) + varint(len(payload)) + payload
    return body + crc32(body).to_bytes(4, "big")


def parse_chunk(data: bytes, start: int) -> Chunk:
    """The chunk at ``start``; ``FormatError`` if it isn't whole, sound and of a known form."""
    cursor = Cursor(data, start)
    kind, flags = cursor.take(2)
    if not chr(kind).isalpha() or kind > 127:
        raise FormatError(f"No chunk starts at byte {start}.")
    length = cursor.varint(payload_most(kind), "length of a chunk")
    payload = cursor.take(length)
    end = cursor.at
    if int.from_bytes(cursor.take(4), "big") != crc32(memoryview(data)[start:end]):
        raise FormatError(f"The chunk at byte {start} is damaged: its checksum is wrong.")
    return Chunk(kind, flags, payload, start, cursor.at)


def pitches(frames: int) -> int:
    """How many parts the pitch of a clip of ``frames`` frames has."""
    return -(-frames // PITCH_FRAMES)


def check_head(head: Head) -> None:
    """``FormatError`` unless every field is one that the file can hold and a decoder accepts."""
    rate, point, crop = head.rate, head.point, head.crop
    bounded(len(head.model), 4, 4, "length of the model's id")
    bounded(rate.numerator, 1, RATE_TERM_MOST, "numerator of the frame rate")
    bounded(rate.denominator, 1, RATE_TERM_MOST, "denominator of the frame rate")
    if not Fraction(1, RATE_MOST) <= rate <= RATE_MOST:
        raise FormatError(f"The frame rate {rate} is out of range.")
    bounded(head.frames, 1, FRAMES_MOST, "number of frames")
    bounded(head.samples, 0, SAMPLES_MOST, "number of samples")
    bounded(head.seed, 0, 0xFFFF, "seed")
    bounded(head.sharpness, -SHARPEST, SHARPEST, "sharpness")
    if head.restoration is not None:
        bounded(head.restoration, 0, RESTORED, "restoration")
    bounded(head.segment_frames, SEGMENT_LEAST, SEGMENT_FRAMES, "length of a segment")
    bounded(point.motion_stride, 0, STRIDE_MOST, "motion stride")
    bounded(point.motion_step, 0, STEP_MOST, "motion step")
    bounded(point.acoustic_layers, 0, LAYERS_MOST, "number of acoustic layers")
    if crop is not None:
        bounded(crop.x, -CROP_MOST, CROP_MOST, "left edge of the crop")
        bounded(crop.y, -CROP_MOST, CROP_MOST, "upper edge of the crop")
        bounded(crop.side, 1, CROP_MOST, "side of the crop")
        bounded(crop.width, 1, CROP_MOST, "width of the source")
        bounded(crop.height, 1, CROP_MOST, "height of the source")


def pack_point(point: OperatingPoint) -> bytes:
    """The numbers of an operating point; whether there is a voice stands in the head's flags."""
    both = point.motion_stride * (LAYERS_MOST + 1) + point.acoustic_layers
    return varint(both) + varint(point.motion_step)


def parse_point(cursor: Cursor, semantic: bool) -> OperatingPoint:
    """The way back."""
    both = cursor.varint(STRIDE_MOST * (LAYERS_MOST + 1) + LAYERS_MOST, "operating point")
    stride, layers = divmod(both, LAYERS_MOST + 1)
    return OperatingPoint(stride, cursor.varint(STEP_MOST, "motion step"), layers, semantic)


def pack_head(head: Head, opened: bool = False) -> tuple[int, bytes]:
    """(flags, payload) of the head's chunk; ``FormatError`` for fields out of range. ``opened``: of
    an open stream, which doesn't say how long it is."""
    check_head(head)
    point, crop = head.point, head.crop
    flags, out = 0, bytearray(head.model)
    if head.seed:
        flags |= SEEDED
        out += head.seed.to_bytes(2, "big")
    if head.rate != 25:
        flags |= RATED
        out += varint(head.rate.numerator) + varint(head.rate.denominator)
    if head.segment_frames != SEGMENT_FRAMES:
        flags |= PARTED
        out += varint(head.segment_frames)
    flags |= SOUND if head.samples else 0
    out += varint(0) if opened else pack_length(head.frames, head.samples)
    flags |= SEMANTIC if point.semantic else 0
    out += pack_point(point)
    if crop is not None:
        flags |= CROPPED
        out += zigzag(crop.x) + zigzag(crop.y)
        out += varint(crop.side) + varint(crop.width) + varint(crop.height)
    if head.shown:
        restoration = 0 if head.restoration is None else 1 + head.restoration
        out += zigzag(head.sharpness) + varint(restoration)
    return flags, bytes(out)


def pack_length(frames: int, samples: int) -> bytes:
    """How long pictures and sound are. Sound nearly always ends with the picture, so the difference
    is what is short."""
    return varint(frames) + (zigzag(samples - frames * SAMPLES_PER_FRAME) if samples else b"")


def parse_length(cursor: Cursor, sound: bool) -> tuple[int, int]:
    """The way back: (frames, samples)."""
    frames, samples = cursor.varint(FRAMES_MOST, "number of frames", 1), 0
    if sound:
        samples = frames * SAMPLES_PER_FRAME + cursor.zigzag(SAMPLES_MOST, "number of samples")
        bounded(samples, 1, SAMPLES_MOST, "number of samples")
    return frames, samples


def parse_head(
    flags: int, payload: bytes, minor: int = PLAIN, ending: Ending | None = None
) -> Head:
    """The head; ``FormatError`` for anything out of range. Fields that a later minor version
    appends are passed over. ``ending``: tells frames and samples of an open stream, from whether it
    has sound and the length of a segment; without it there are no open streams."""
    if flags >= 2 * (SEEDED if minor < SHORT else PARTED):
        raise FormatError("The head has flags that this version does not know.")
    cursor = Cursor(payload)
    model = cursor.take(4)
    seed = int.from_bytes(cursor.take(2), "big") if flags & SEEDED else 0
    if flags & SEEDED and not seed:
        raise FormatError("The head writes out a seed of zero.")
    rate = Fraction(25)
    if flags & RATED:
        numerator = cursor.varint(RATE_TERM_MOST, "numerator of the frame rate", 1)
        rate = Fraction(numerator, cursor.varint(RATE_TERM_MOST, "denominator of the rate", 1))
    each = SEGMENT_FRAMES
    if flags & PARTED:
        each = cursor.varint(SEGMENT_FRAMES - 1, "length of a segment", SEGMENT_LEAST)
    sound = bool(flags & SOUND)
    if ending and payload[cursor.at : cursor.at + 1] == varint(0):
        cursor.take(1)
        frames, samples = ending(sound, each)
    else:
        frames, samples = parse_length(cursor, sound)
    point = parse_point(cursor, bool(flags & SEMANTIC))
    crop = None
    if flags & CROPPED:
        x, y = cursor.zigzag(CROP_MOST, "crop"), cursor.zigzag(CROP_MOST, "crop")
        side, width, height = (cursor.varint(CROP_MOST, "size of the crop", 1) for _ in range(3))
        crop = Crop(x, y, side, width, height)
    sharpness, restoration = 0, None
    if minor >= SHOWN and cursor.at < len(payload):
        sharpness = cursor.zigzag(SHARPEST, "sharpness")
        restoration = cursor.varint(RESTORED + 1, "restoration") - 1
        restoration = None if restoration < 0 else restoration
    if minor == PLAIN and cursor.rest():
        raise FormatError("The head is longer than its fields.")
    head = Head(model, rate, frames, samples, crop, seed, point, each, sharpness, restoration)
    check_head(head)
    return head
