"""A second reader of `.avc` files, written from docs/format.md alone, in the order of that page.

It shares nothing with avcc and has a range coder of its own, on Python's integers: it shows that
the page says all that a reader needs. ``read(data, arrays)``, with ``arrays`` those of the
codebook (``safetensors.numpy.load_file``), raises ``Wrong`` for a file to refuse, or gives a dict:

    head        model (hexadecimal), seed, rate [numerator, denominator] in lowest terms, frames,
                samples, stride, layers, step, semantic (0 or 1), crop [x, y, side, width, height]
                or None; open (True) where the stream is open; each (frames a segment) where that
                isn't 100; sharpness where that isn't 0, restoration where
                it is told
    identities  a list of dicts: frame, side, shape, voice, picture (bytes)
    segments    a list of dicts, None where one is lost: motion (a list of codes, absolute values),
                semantic (a token a frame), acoustic (a list a frame, empty if it is silent), and
                stride, layers, step in an open stream
    pitch       a list of lists, None where a part is missing or says nothing; empty if all are
    scene       [side, picture (bytes)], None where there is none
    lips        a list of 32 numbers, None where there are none
    copies      a list of dicts as in segments, and stride, layers, step; None where a segment has
                none that says anything; empty if all are
    reports     a list of sentences on what was left out
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate
from math import log2
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

LIMITS = {"H": 64, "I": 1 << 21, "S": 1 << 18}  # longest payloads; of others 2^20
WORD = (1 << 64) - 1
BIT = [0, 1 << 23, 1 << 24]  # sums of the built-in table's frequencies
PRIOR = "lookup", "hidden", "hidden_bias", "out", "out_bias"
PART = [round(256 * log2(1 + i / 256)) for i in range(256)]
POWER = [round(2 ** (24 - i / 256)) for i in range(256)]
EDGES = 1, 2, 3, 5, 8, 12, 18, 28, 44, 72, 128
Chunk = tuple[str, int, bytes, int]  # type, flags, payload, where it ends


class Wrong(Exception):
    """Something is malformed, out of range or senseless."""


def need(condition: bool, what: str) -> None:
    if not condition:
        raise Wrong(what)


def fingerprint(clip: dict[str, Any]) -> str:
    """SHA-256, in hexadecimal, of all that ``read`` gave but cuts, reports, and pitch, scene,
    copies and lips if there are none.

    Hashed is a JSON text in ASCII: an object of head, identities and segments as they are, with
    pictures in lower-case hexadecimal, the keys of all objects sorted, and no white space. All
    numbers in it are integers, so the text is the same whoever writes it.
    """
    told = {key: clip[key] for key in ("head", "identities", "segments")}
    told |= {key: clip[key] for key in ("pitch", "scene", "copies", "lips") if clip.get(key)}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), default=bytes.hex)
    return sha256(text.encode("ascii")).hexdigest()


class Fields:
    """The fields of a payload, taken one after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        need(self.at + n <= len(self.data), "a field is cut off")
        self.at += n
        return self.data[self.at - n : self.at]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def varint(self, least: int, most: int) -> int:
        value = 0
        for i in range(5):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                need(byte > 0 or i == 0, "a varint is longer than it needs to be")
                need(least <= value <= most, f"{value} is not in {least} to {most}")
                return value
        raise Wrong("a varint is too long")

    def zigzag(self) -> int:
        u = self.varint(0, 1 << 35)
        return -(u + 1) // 2 if u % 2 else u // 2


def chunk_at(data: bytes, at: int) -> Chunk | None:
    """The chunk that begins there, if it counts."""
    kind, fields = chr(data[at]), Fields(data[at + 2 : at + 7])
    if not (kind.isascii() and kind.isalpha()):
        return None
    try:
        length = fields.varint(0, LIMITS.get(kind, 1 << 20))
    except Wrong:
        return None
    start = at + 2 + fields.at
    end = start + length
    if end + 4 > len(data) or crc32(data[at:end]) != int.from_bytes(data[end : end + 4], "big"):
        return None
    return kind, data[at + 1], data[start:end], end + 4


def chunks(data: bytes) -> Iterator[Chunk | None]:
    """The chunks that count, and None for each stretch of damage."""
    at = 10
    while at < len(data):
        chunk = chunk_at(data, at)
        yield chunk
        at = chunk[3] if chunk else at + 1
        while not chunk and at < len(data) and not (data[at] in b"ISeipqrs" and chunk_at(data, at)):
            at += 1


def read_length(fields: Fields, sound: bool) -> tuple[int, int]:
    """Frames and samples."""
    frames, samples = fields.varint(1, 2_160_000), 0
    if sound:
        samples = fields.zigzag() + 640 * frames
        need(1 <= samples <= 1_382_400_000, "the number of samples is out of range")
    return frames, samples


def read_number(fields: Fields, flags: int) -> int:
    """Of a segment, a copy, or a part of the pitch."""
    need(flags < 128, "unknown flags of a numbered chunk")
    return fields.varint(127, 1 << 35) if flags == 127 else flags


def read_point(fields: Fields) -> dict[str, int]:
    """An operating point."""
    stride, layers = divmod(fields.varint(0, 17 * 50 + 16), 17)
    return {"stride": stride, "layers": layers, "step": fields.varint(0, 255)}


def length_of(found: list[Chunk | None], sound: bool, each: int) -> tuple[int, int]:
    """Frames and samples of an open stream, of which all but the head is given."""
    last = -1
    for kind, flags, payload, _ in filter(None, found):
        fields = Fields(payload)
        try:
            if kind == "e":
                need(flags == 0, "unknown flags of the end")
                length = read_length(fields, sound)
                need(not fields.rest(), "bytes behind the end's fields")
                return length
            if kind == "S":
                number = read_number(fields, flags)
                last = max(last, number if each * number < 2_160_000 else -1)
        except Wrong:
            continue
    need(last >= 0, "an open stream without a segment")
    frames = each * (last + 1)
    return frames, 640 * frames if sound else 0


def read_head(flags: int, payload: bytes, minor: int, found: list[Chunk | None]) -> dict[str, Any]:
    """``found``: what follows."""
    need(flags < (64 if minor > 4 else 32), "unknown flags of the head")
    fields, rate, crop = Fields(payload), Fraction(25), None
    head: dict[str, Any] = {"model": fields.take(4).hex()}
    head["seed"] = int.from_bytes(fields.take(2), "big") if flags & 16 else 0
    need(head["seed"] > 0 or not flags & 16, "the seed is 0")
    if flags & 8:
        rate = Fraction(fields.varint(1, 1_000_000), fields.varint(1, 1_000_000))
        need(Fraction(1, 1000) <= rate <= 1000, "the frame rate is out of range")
    if flags & 32:
        head["each"] = fields.varint(5, 99)
    if minor >= 4 and payload[fields.at : fields.at + 1] == b"\0":
        fields.take(1)
        frames, samples = length_of(found, flags & 4 > 0, head.get("each", 100))
        head["open"] = True
    else:
        frames, samples = read_length(fields, flags & 4 > 0)
    head |= {"rate": [*rate.as_integer_ratio()], "frames": frames, "samples": samples}
    head |= read_point(fields) | {"semantic": int(flags & 2 > 0)}
    if flags & 1:
        crop = [fields.zigzag(), fields.zigzag(), *(fields.varint(1, 65_535) for _ in "123")]
        need(max(map(abs, crop)) <= 65_535, "the crop is out of range")
    if minor > 5 and fields.at < len(payload):
        sharpness, restoration = fields.zigzag(), fields.varint(0, 17)
        need(abs(sharpness) <= 16, "the sharpness is out of range")
        head |= {"sharpness": sharpness} if sharpness else {}
        head |= {"restoration": restoration - 1} if restoration else {}
    need(minor > 0 or not fields.rest(), "bytes behind the head's fields")
    return head | {"crop": crop}


class Decoder:
    """Symbols out of a payload; it notes them for the check at the end."""

    def __init__(self, payload: bytes, arrays: Any) -> None:
        self.payload, self.arrays = payload, arrays
        self.low, self.size = 0, WORD
        self.point, self.at = int.from_bytes(payload[:8].ljust(8, b"\0"), "big"), 8
        self.found: list[tuple[int, int]] = []  # f[0] + ... + f[s-1] and f[s] of each symbol

    def cut(self, sums: list[int]) -> int:
        scale = self.size >> 24
        q = ((self.point - self.low) & WORD) // scale
        need(q < 1 << 24, "senseless: not in the interval")
        s = bisect_right(sums, q) - 1
        before, f = sums[s], sums[s + 1] - sums[s]
        self.found.append((before, f))
        self.low, self.size = (self.low + scale * before) & WORD, scale * f
        if self.size < 1 << 32:
            more = int.from_bytes(self.payload[self.at : self.at + 4].ljust(4, b"\0"), "big")
            self.low, self.size = (self.low << 32) & WORD, self.size << 32
            self.point, self.at = (self.point << 32 | more) & WORD, self.at + 4
        return s

    def symbol(self, table: str, row: int) -> int:
        return self.cut([0, *accumulate(self.row(table, row))])

    def foretold(self, kind: str, slot: int, places: list[int], table: str, row: int) -> int:
        """A symbol by a prior, or by the table alone where there is none of its kind."""
        part = {p: self.arrays.get(f"prior.{kind}.{p}") for p in PRIOR}
        if part["lookup"] is None:
            return self.symbol(table, row)
        lookup, hidden, hidden_bias, out, out_bias = part.values()
        x = np.maximum(lookup[places].astype(np.int64).sum(0), 0)
        x = x + np.maximum((x @ hidden.astype(np.int64) + hidden_bias) >> 7, 0)
        z = (x @ out[slot].astype(np.int64) + out_bias[slot]) >> 4
        logits = [a + log(n) for a, n in zip(z.tolist(), self.row(table, row), strict=True)]
        d = [max(logits) - a for a in logits]
        w = [POWER[a % 256] >> a // 256 if a // 256 < 40 else 0 for a in d]
        f = [1 + a * ((1 << 24) - len(w)) // sum(w) for a in w]
        f[d.index(0)] += (1 << 24) - sum(f)
        return self.cut([0, *accumulate(f)])

    def row(self, table: str, row: int) -> list[int]:
        found: list[int] = self.arrays[f"table.{table}"][row].tolist()
        return found

    def signed(self, table: str, row: int) -> int:
        return self.value(self.symbol(table, row))

    def value(self, s: int, most: int = 30, escape: int = 61) -> int:
        """The value of a symbol, and of what follows an escape."""
        if s < escape:
            return s - most
        negative, n, x = self.cut(BIT), 0, 1
        while self.cut(BIT):
            n += 1
            need(n <= 20, "senseless: an escape is too long")
        for _ in range(n):
            x = 2 * x + self.cut(BIT)
        return -(x + most) if negative else x + most

    def close(self) -> None:
        need(encode(self.found) == self.payload, "senseless: its symbols make another payload")


def log(n: int) -> int:
    """Of a frequency, in 1/256 of a bit."""
    e = n.bit_length() - 1
    return 256 * e + PART[256 * n // (1 << e) % 256]


def encode(symbols: list[tuple[int, int]]) -> bytes:
    """The payload of symbols that are noted as in ``Decoder.found``."""
    low, size, places, n = 0, WORD, 0, 0
    for before, f in symbols:
        scale = size >> 24
        low, size = low + scale * before, scale * f
        if size < 1 << 32:
            low, size, places = low << 32, size << 32, places + 32
    while symbols and 1 << (64 + places - 8 * n) > size:
        n += 1
    return (-(-low >> (64 + places - 8 * n))).to_bytes(n, "big")


def read_code(code: bytes, head: Any, arrays: Any) -> dict[str, Any]:
    coder = Decoder(code, arrays)
    shape = [coder.signed("shape", i) for i in range(len(arrays["table.shape"]))]
    values = len(arrays["table.voice"]) if head["samples"] else 0
    voice = [coder.symbol("voice", i) for i in range(values)]
    coder.close()
    return {"shape": shape, "voice": voice}


def read_segment(code: bytes, frames: int, head: Any, arrays: Any) -> dict[str, Any]:
    coder = Decoder(code, arrays)
    motion = read_motion(coder, frames, head) if head["stride"] else []
    semantic, acoustic = read_audio(coder, frames, head["layers"]) if head["semantic"] else ([], [])
    coder.close()
    return {"motion": motion, "semantic": semantic, "acoustic": acoustic}


def read_copy(flags: int, payload: bytes, head: Any, arrays: Any) -> tuple[int, Any]:
    """The number of a segment, -1 where the chunk is malformed, and its copy, None if senseless."""
    fields = Fields(payload)
    try:
        number = read_number(fields, flags)
        need(head.get("each", 100) * number < head["frames"], "there is no such segment")
        point = read_point(fields)
    except Wrong:
        return -1, None
    try:
        return number, read_pointed(fields.rest(), number, point, head, arrays)
    except Wrong:
        return number, None


def read_pointed(code: bytes, number: int, point: Any, head: Any, arrays: Any) -> dict[str, Any]:
    """A segment, or a copy of one, with an operating point of its own."""
    steps = len(arrays["context.motion_first"])
    need(point["step"] < steps or not point["stride"], "no such step")
    need(point["layers"] <= len(arrays["context.acoustic_class"]), "no such layer")
    return point | read_segment(code, frames_of(number, head), head | point, arrays)


def frames_of(number: int, head: Any) -> int:
    """Frames of a segment."""
    each: int = head.get("each", 100)
    return min(each, head["frames"] - each * number)


def read_motion(coder: Decoder, frames: int, head: Any) -> list[list[int]]:
    rows = coder.arrays["context.motion_first"][head["step"]].tolist()
    m = coder.arrays["context.motion_start"][head["step"]].tolist()
    codes = [[coder.signed("motion_first", row) for row in rows]]
    count, steps = len(rows), len(coder.arrays["context.motion_first"])
    last = earlier = [30] * count
    finely = steps * sum(n <= head["stride"] for n in (2, 3, 5)) + head["step"]
    for _ in range(head["stride"], frames, head["stride"]):
        moved = expected = 0
        told = [62 * k + s for k, s in enumerate(last)]
        told += [62 * (count + k) + s for k, s in enumerate(earlier)]
        told += [186 * count + 81 * k + 40 + max(-40, min(40, v)) for k, v in enumerate(codes[-1])]
        buckets = [sum(edge <= mean for edge in EDGES) for mean in m]
        told += [267 * count + 12 * k + b for k, b in enumerate(buckets)] + [279 * count + finely]
        earlier, last = last, []
        codes.append(codes[-1].copy())
        for k in range(count):
            activity = 0 if 2 * moved < expected else 2 if moved > 2 * expected else 1
            bucket = sum(edge <= m[k] for edge in EDGES)
            so_far = [62 * (2 * count + i) + s for i, s in enumerate(last)]
            places = [*told, *so_far, 279 * count + 4 * steps + k]
            last.append(coder.foretold("motion", k, places, "motion", 3 * bucket + activity))
            r = coder.value(last[-1])
            codes[-1][k] += r
            moved, expected = moved + 16 * abs(r), expected + m[k]
            m[k] += (16 * abs(r) - m[k]) >> 2
    return codes


def read_audio(coder: Decoder, frames: int, layers: int) -> tuple[list[int], list[list[int]]]:
    names = "semantic_class", "semantic_rank", "acoustic_class"
    classes, ranks, groups = (coder.arrays[f"context.{name}"].tolist() for name in names)
    tokens = {pair: token for token, pair in enumerate(zip(classes, ranks, strict=True))}
    most = len(groups)
    silence, c, p = len(classes) - 1, max(classes) + 1, max(map(max, groups), default=0) + 1
    semantic: list[int] = []
    acoustic: list[list[int]] = []
    c1, c2, same = c, c, 0
    for _ in range(frames):
        same = coder.symbol("semantic_same", 2 * c1 + same) if semantic else 0
        if not same:
            g = coder.symbol("semantic_class", c1 * (c + 1) + c2)
            rank = coder.symbol("semantic_token", g * (c + 1) + c1) if classes.count(g) > 1 else 0
            need((g, rank) in tokens, "senseless: no such rank in the class")
            need(semantic[-1:] != [tokens[g, rank]], "senseless: the token before once more")
        semantic.append(semantic[-1] if same else tokens[g, rank])
        c1, c2 = classes[semantic[-1]], c1
        past = acoustic[-1] if acoustic else []  # empty as well if that frame was silent
        acoustic.append([])
        before = [a or [256] * layers for a in ([[], [], *acoustic])[-3:-1]][::-1]
        told = [
            257 * (block * most + i) + a for block in (0, 1) for i, a in enumerate(before[block])
        ]
        for i in range(layers if semantic[-1] != silence else 0):
            row = c1 * (p + 1) + (groups[i][past[i]] if past else p)
            so_far = [257 * (2 * most + j) + a for j, a in enumerate(acoustic[-1])]
            places = [*told, *so_far, 771 * most + layers - 1, 772 * most + i]
            acoustic[-1].append(coder.foretold("acoustic", i, places, f"acoustic_{i}", row))
    return semantic, acoustic


def glide_rows() -> list[list[int]]:
    """The built-in table ``glide``, from the page on the format."""
    page = (Path(__file__).parents[1] / "docs" / "format.md").read_text()
    block = page.split("**Glides.**")[1].split("\n\n")[1]
    rows = [[int(n) for n in line.split()] for line in block.splitlines()]
    table = [[1 + n * ((1 << 24) - 18) // sum(row) for n in row] for row in rows]
    for row, f in zip(rows, table, strict=True):
        f[row.index(max(row))] += (1 << 24) - sum(f)
    return table


GLIDES = glide_rows()


def read_finer(coder: Decoder, frames: int) -> list[int]:
    """Two pitches of each of so many frames."""
    pitch = [coder.signed("motion", 3 * sum(edge <= 64 for edge in EDGES) + 1)]
    moves: list[int] = []
    for _ in range(2 * frames - 1):
        a, b = (max(-2, min(2, m)) for m in [0, 0, *moves][:-3:-1])
        sign = -1 if (a, b) < (0, 0) else 1
        a, b = sign * a, sign * b
        still = next((n for n, m in enumerate(reversed(moves)) if m), len(moves))
        row = 3 + 5 * a + b
        if a == b == 0:
            row = sum(edge <= still for edge in (4, 10, 32))
        moves.append(sign * coder.value(coder.cut([0, *accumulate(GLIDES[row])]), 8, 17))
        pitch.append(pitch[-1] + moves[-1])
    return pitch


def read_coarse(coder: Decoder, frames: int) -> list[int]:
    """One pitch of each of so many frames."""
    m, pitch = 64, [0]
    for _ in range(frames):
        r = coder.signed("motion", 3 * sum(edge <= m for edge in EDGES) + 1)
        pitch.append(pitch[-1] + r)
        m += (16 * abs(r) - m) >> 2
    return pitch[1:]


def read_pitch(
    kind: str, flags: int, payload: bytes, frames: int, arrays: Any
) -> tuple[int, list[int] | None]:
    """The number of a part, -1 where it is malformed, and its pitches, None if senseless."""
    fields = Fields(payload)
    try:
        number = read_number(fields, flags)
        need(1000 * number < frames, "there is no such part")
    except Wrong:
        return -1, None
    coder, due = Decoder(fields.rest(), arrays), min(1000, frames - 1000 * number)
    try:
        pitch = read_finer(coder, due) if kind == "q" else read_coarse(coder, due)
        coder.close()
    except Wrong:
        return number, None
    return number, pitch


def read_lips(payload: bytes, arrays: Any) -> list[int] | None:
    """How lips follow the voice; nothing if it is senseless."""
    coder, m, numbers = Decoder(payload, arrays), 64, []
    try:
        for _ in range(32):
            numbers.append(coder.signed("motion", 3 * sum(edge <= m for edge in EDGES) + 1))
            m += (16 * abs(numbers[-1]) - m) >> 2
        coder.close()
    except Wrong:
        return None
    return numbers


def read_fields(flags: int, payload: bytes, head: Any) -> tuple[dict[str, Any], bytes]:
    """What stands in an identity beside the code of shape and voice, and that code."""
    need(flags < 2, "unknown flags of an identity")
    fields = Fields(payload)
    frame = fields.varint(1, head["frames"] - 1) if flags else 0
    side = 8 * fields.take(1)[0]
    need(side > 0, "the side is 0")
    code, picture = fields.take(fields.varint(0, 65_535)), fields.rest()
    need(1 <= len(picture) <= 1 << 20, "the picture's length is out of range")
    return {"frame": frame, "side": side, "picture": picture}, code


def obus_of(still: bytes, side: int) -> bytes:
    """What a decoder of AV1 needs."""
    if not 128 <= still[0] < 192:
        return still
    n = len(f"{side - 1:b}")
    bits = "0001100000" + 2 * f"{n - 1:04b}" + 2 * f"{side - 1:0{n}b}"
    bits += f"{still[0] - 128:06b}" + "000000001"
    size = -(-len(bits) // 8)
    header = int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")
    return bytes([10, size]) + header + bytes([48]) + still[1:]


def read_cuts(flags: int, payload: bytes, frames: int) -> list[int]:
    """The first frames of further shots; none where the chunk is malformed."""
    fields, cuts = Fields(payload), [0]
    try:
        need(flags == 0, "unknown flags of the cuts")
        while fields.at < len(payload):
            cuts.append(cuts[-1] + fields.varint(1, frames - 1 - cuts[-1]))
    except Wrong:
        return []
    return cuts[1:]


def read_scene(flags: int, payload: bytes, head: dict[str, Any]) -> list[Any] | None:
    """Side and picture; nothing where it is malformed, or where the head has no crop."""
    fields = Fields(payload)
    try:
        need(not flags, "unknown flags of the surroundings")
        side, picture = 8 * fields.take(1)[0], fields.rest()
        need(side > 0 and 0 < len(picture) <= 1 << 20, "the surroundings are out of range")
    except Wrong:
        return None
    return [side, picture] if head["crop"] else None


def read(data: bytes, arrays: Any) -> dict[str, Any]:
    """All there is in a file; ``arrays`` are those of the codebook that its head names."""
    need(len(data) >= 10 and data[:9] == b"\x89AVC\r\n\x1a\n\1", "not a file of this version")
    stream, nothing = list(chunks(data)), ("?", 0, b"", 0)
    kind, flags, payload, _ = (stream or [None])[0] or nothing
    need(kind == "H", "there is no head in front")
    head = read_head(flags, payload, data[9], stream[1:])
    frames, steps = head["frames"], len(arrays["context.motion_first"])
    need(head["step"] < steps or not head["stride"], "the codebook has no such step")
    need(head["layers"] <= len(arrays["context.acoustic_class"]), "it has no such layer")
    identities: list[dict[str, Any]] = []
    segments: list[dict[str, Any] | None] = [None] * -(-frames // head.get("each", 100))
    reports: list[str] = []
    cuts: list[int] | None = None
    pitch: dict[int, Any] = {}
    finer: dict[int, Any] = {}
    scenes: list[Any] = []
    lips: list[bytes] = []
    copies: dict[int, Any] = {}
    last, seen = -1, set()
    pieces: list[bytes] = []
    for chunk in stream[1:]:
        kind, flags, payload, _ = chunk or nothing
        if kind == "i" and identities:
            pieces = [] if flags % 128 == 0 else pieces
            if flags % 128 != len(pieces):
                pieces = []
                continue
            pieces.append(payload)
            if flags > 127 and sum(map(len, pieces)) <= 1 << 21:
                kind, flags, payload = "I", 1, b"".join(pieces)
                pieces = []
        need(kind in "IS" or not kind.isupper(), "there is a second head or an unknown chunk")
        need(bool(identities) or kind == "I" or kind.islower(), "first identity is damaged")
        try:
            need(kind != "?", "damage")
            if kind == "I":
                identity, code = read_fields(flags, payload, head)
                need(identity["frame"] > last, "out of order")
                last = identity["frame"]
                identities.append(identity | read_code(code, head, arrays))
            elif kind == "S":
                fields = Fields(payload)
                number = read_number(fields, flags)
                need(number < len(segments), "there is no such segment")
                point = read_point(fields) if head.get("open") else {}
                need(number not in seen, "the segment comes twice")
                seen.add(number)
                if point:
                    found = read_pointed(fields.rest(), number, point, head, arrays)
                    segments[number] = found
                else:
                    segments[number] = read_segment(
                        fields.rest(), frames_of(number, head), head, arrays
                    )
            elif kind == "c" and cuts is None:
                cuts = read_cuts(flags, payload, frames)
            elif kind in "pq":
                part, heard = read_pitch(kind, flags, payload, frames, arrays)
                (pitch if kind == "p" else finer).setdefault(part, heard)
            elif kind == "r":
                of, copy = read_copy(flags, payload, head, arrays)
                copies.setdefault(of, copy)
            elif kind == "s":
                scenes.append(read_scene(flags, payload, head))
            elif kind == "l" and flags == 0:
                lips.append(payload)
        except Wrong as error:
            need(bool(identities), str(error))
            reports.append(f"{kind}: {error}")
    need(bool(identities), "there is no identity")
    told: dict[str, Any] = {
        "head": head,
        "identities": identities,
        "segments": segments,
        "cuts": cuts or [],
    }
    parts = [finer.get(n) or pitch.get(n) for n in range(-(-frames // 1000))]
    told["scene"] = next(iter(scenes), None)
    alone = not head["stride"] and head["semantic"] and not head.get("open")
    told["lips"] = read_lips(lips[0], arrays) if lips and alone else None
    kept = [copies.get(n) for n in range(len(segments))]
    told["copies"] = kept if any(kept) else []
    return told | {"pitch": parts if any(parts) else [], "reports": reports}
