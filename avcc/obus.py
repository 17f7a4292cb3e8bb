"""AV1's open bitstream units (OBUs) of a still: as an encoder gives them, and what is sent of them.

In front of the picture stands a sequence header, of which a size and a few tools are all that
differs from still to still, and then the length of the picture, which ends where the bytes do. One
byte with the tools is sent instead of both (AV1 specification, 5.3 and 5.5).
"""

from __future__ import annotations

_SEQUENCE, _FRAME, _FRAME_TO_THE_END = b"\x0a", b"\x32", b"\x30"  # headers of OBUs
SHORT = 128  # flag in the first byte of what is sent; no OBU begins so
TOOLS = 6  # bits: large blocks, filters inside blocks, at their edges, superres, CDEF, restoration
# Eight bits, 4:2:0, nothing said of colours; no film grain.
_COLOURS = "00000000"


def short(obus: bytes, side: int) -> bytes:
    """What is sent of a still of ``side`` x ``side`` pixels: tools and frame, or all of it, if it
    isn't coded in the usual way."""
    for tools in range(1 << TOOLS):
        front = _sequence_header(side, tools) + _FRAME
        if obus.startswith(front):
            length, frame = _leb128(obus[len(front) :])
            return bytes((SHORT | tools,)) + frame if length == len(frame) else obus
    return obus


def whole(sent: bytes, side: int) -> bytes:
    """What a decoder of AV1 needs, of what was sent."""
    if not is_short(sent):
        return sent
    return _sequence_header(side, sent[0] - SHORT) + _FRAME_TO_THE_END + sent[1:]


def is_short(sent: bytes) -> bool:
    """Whether there is more to a still than was sent."""
    return bool(sent) and sent[0] >> TOOLS == SHORT >> TOOLS


def _sequence_header(side: int, tools: int) -> bytes:
    """The OBU in front of a still: main profile, level 2.0."""
    n = max(1, (side - 1).bit_length())
    size = f"{n - 1:04b}" * 2 + f"{side - 1:0{n}b}" * 2
    bits = "0001100000" + size + f"{tools:0{TOOLS}b}" + _COLOURS + "1"  # a still; the end
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return _SEQUENCE + bytes((len(body),)) + body


def _leb128(data: bytes) -> tuple[int, bytes]:
    """The number in front, and what follows it; -1 where there is none."""
    value = 0
    for place, byte in enumerate(data[:8]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, data[place + 1 :]
    return -1, b""
