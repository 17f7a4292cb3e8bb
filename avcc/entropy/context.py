"""The one traversal of a segment that encoder, decoder, bit counter and table trainer share.

Everything that decides *which* table row codes *which* symbol is here and nowhere else. The walk
yields (table, row, symbol): an encoder writes the symbol and sends it back, a decoder gets ``None``
and sends what it read, and the walk goes on with what came back (``primitive.py``). So the two
sides can't diverge. All arithmetic is on integers; ``>>`` rounds towards minus infinity
(docs/format.md, "Symbols and contexts").
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from avcc.entropy.outlook import AcousticOutlook, MotionOutlook
from avcc.entropy.primitive import Coder, Walk, walked
from avcc.entropy.signed import escaped, signed
from avcc.entropy.tables import BOUNDS, ESCAPE, REACH, Codebook
from avcc.errors import FormatError
from avcc.stages import LIPS, OperatingPoint, Segment

LIPS_START = 64  # the mean that rows go by, for the first number of the lips


def segment(
    coder: Coder, book: Codebook, point: OperatingPoint, frames: int, seg: Segment | None
) -> Segment:
    """``segment_walk`` with this coder."""
    return walked(coder, segment_walk(book, point, frames, seg))


def segment_walk(
    book: Codebook, point: OperatingPoint, frames: int, seg: Segment | None
) -> Walk[Segment]:
    """Walk through one segment of ``frames`` frames; ``seg`` is ``None`` where it is to be read.

    Returns the segment: ``seg`` normalised to int64, or what was read. ``FormatError`` where the
    operating point is beyond the codebook, or ``seg`` has values that can't be coded, or the
    symbols that were read make no sense.
    """
    check_point(point, book)
    if seg is not None:
        _check_segment(seg, book, point, frames)
    yield "motion"
    motion = yield from _motion(book, point, frames, None if seg is None else seg.motion.tolist())
    yield "audio"
    if not point.semantic:
        empty = np.zeros((0, point.acoustic_layers), np.int64)
        return Segment(frames, motion, np.zeros(0, np.int64), empty)
    tokens = None if seg is None else seg.semantic.tolist()
    residual = None if seg is None else seg.acoustic.tolist()
    semantic, acoustic = yield from _audio(book, point.acoustic_layers, frames, tokens, residual)
    return Segment(frames, motion, semantic, acoustic)


def identity_walk(
    book: Codebook, shape: np.ndarray | None, voice: np.ndarray | None, has_voice: bool
) -> Walk[tuple[np.ndarray, np.ndarray]]:
    """Walk through the shape (M,) and, if the clip has sound, the voice code (V,) of an identity.

    ``shape`` and ``voice`` are ``None`` where they are to be read. Returns both as int64; the
    voice is (0,) without sound. ``FormatError`` on sizes or values that can't be coded.
    """
    yield "identity"
    count, (voices, levels) = len(book.table("shape")), book.table("voice").shape
    if not has_voice:
        voices = 0
    if shape is not None and shape.shape != (count,):
        raise FormatError(f"The shape has {shape.shape} values, the codebook wants {count}.")
    if shape is not None and voice is not None:
        if voice.shape != (voices,):
            raise FormatError(f"The voice code has {voice.shape} values, not {voices}.")
        if voices and not 0 <= int(voice.min()) <= int(voice.max()) < levels:
            raise FormatError(f"The voice code has values outside 0..{levels - 1}.")
    given = [None] * count if shape is None else shape.tolist()
    spoken = [None] * voices if voice is None else voice.tolist()
    mesh, code = [], []
    for row, value in enumerate(given):
        mesh.append((yield from signed("shape", row, value)))
    for row, value in enumerate(spoken):
        code.append((yield "voice", row, value))
    return np.array(mesh, np.int64), np.array(code, np.int64)


def lips_walk(given: np.ndarray | None) -> Walk[np.ndarray]:
    """Walk through the numbers int64 (32,) that say how lips follow the voice; ``None`` where they
    are to be read. Each by the row that a coefficient of motion would have if it were alone, by the
    size of those before it. ``FormatError`` on values that can't be coded."""
    yield "lips"
    if given is not None and given.shape != (LIPS,):
        raise FormatError(f"The lips have {given.shape} numbers where {LIPS} are due.")
    out, mean = np.zeros(LIPS, np.int64), LIPS_START
    for i in range(LIPS):
        row = bisect_right(BOUNDS, mean) * 3 + 1
        out[i] = yield from signed("motion", row, None if given is None else int(given[i]))
        mean += (16 * abs(int(out[i])) - mean) >> 2
    return out


def check_point(point: OperatingPoint, book: Codebook) -> None:
    """``FormatError`` if the operating point names what this codebook does not have."""
    if point.motion_stride and not 0 <= point.motion_step < book.steps:
        raise FormatError(f"Motion step {point.motion_step} is not in the codebook.")
    if not 0 <= point.acoustic_layers <= book.layers:
        raise FormatError(f"{point.acoustic_layers} acoustic layers are not in the codebook.")
    if point.motion_stride < 0:
        raise FormatError("A motion stride must not be negative.")


def motion_rows(frames: int, stride: int) -> int:
    """How many motion codes a segment of ``frames`` frames has; none if ``stride`` is 0."""
    return -(-frames // stride) if stride else 0


def _check_segment(seg: Segment, book: Codebook, point: OperatingPoint, frames: int) -> None:
    """``FormatError`` unless every array has the shape and range that the walk relies on."""
    rows = motion_rows(frames, point.motion_stride)
    voiced = frames if point.semantic else 0
    silence = len(book.token_class) - 1
    if seg.frames != frames:
        raise FormatError(f"The segment has {seg.frames} frames where {frames} are due.")
    if seg.motion.shape != (rows, book.directions):
        raise FormatError(f"Motion is {seg.motion.shape}, not {(rows, book.directions)}.")
    if seg.semantic.shape != (voiced,):
        raise FormatError(f"Semantic tokens are {seg.semantic.shape}, not {(voiced,)}.")
    if voiced and not 0 <= int(seg.semantic.min()) <= int(seg.semantic.max()) <= silence:
        raise FormatError(f"A semantic token lies outside 0..{silence}.")
    if voiced and seg.acoustic.shape != (frames, point.acoustic_layers):
        size = (frames, point.acoustic_layers)
        raise FormatError(f"Acoustic tokens are {seg.acoustic.shape}, not {size}.")
    if not voiced and seg.acoustic.size:
        raise FormatError("Acoustic tokens can't be sent without semantic ones.")
    if seg.acoustic.size and not 0 <= int(seg.acoustic.min()) <= int(seg.acoustic.max()) < 256:
        raise FormatError("An acoustic token lies outside 0..255.")


def _motion(
    book: Codebook, point: OperatingPoint, frames: int, given: list[list[int]] | None
) -> Walk[np.ndarray]:
    """Motion codes, int64 (rows, K): the first absolute, the rest as differences in time."""
    rows = motion_rows(frames, point.motion_stride)
    count = book.directions
    motion = np.zeros((rows, count), np.int64)
    if not rows:
        return motion
    firsts = book.motion_first[point.motion_step]
    means = list(book.motion_start[point.motion_step])
    last = []
    for k in range(count):
        wish = None if given is None else given[0][k]
        last.append((yield from signed("motion_first", firsts[k], wish)))
    motion[0] = last
    outlook = MotionOutlook(book, point) if book.motion_prior else None
    for t in range(1, rows):
        moved = expected = 0  # 16 times the sum of |differences| so far, and of their means
        if outlook:
            outlook.begin(last, means)
        for k in range(count):
            mean = means[k]
            if 2 * moved < expected:
                activity = 0
            elif moved > 2 * expected:
                activity = 2
            else:
                activity = 1
            row = bisect_right(BOUNDS, mean) * 3 + activity
            # The inner part of _signed again, because this is where nine symbols in ten are coded.
            change = symbol = None
            if given is not None:
                change = given[t][k] - last[k]
                symbol = change + REACH if -REACH <= change <= REACH else ESCAPE
            if outlook is None:
                symbol = yield "motion", row, symbol
            else:
                symbol = yield outlook.ask(k, row, symbol)
                outlook.came(k, symbol)
            change = (yield from escaped(change)) if symbol == ESCAPE else symbol - REACH
            last[k] += change
            size = 16 * abs(change)
            moved += size
            expected += mean
            means[k] = mean + ((size - mean) >> 2)
        motion[t] = last
    return motion


def _audio(
    book: Codebook,
    layers: int,
    frames: int,
    tokens: list[int] | None,
    residual: list[list[int]] | None,
) -> Walk[tuple[np.ndarray, np.ndarray]]:
    """Semantic tokens, int64 (frames,), and acoustic ones, int64 (frames, layers), by frame."""
    classes, ranks, members = book.token_class, book.token_rank, book.members
    count, silence = len(members), len(classes) - 1
    absent = book.acoustic_classes  # the context of a frame without acoustic tokens before it
    groups = book.acoustic_class[:layers]
    names = [f"acoustic_{layer}" for layer in range(layers)]
    semantic = np.zeros(frames, np.int64)
    acoustic = np.zeros((frames, layers), np.int64)
    token = -1
    c1 = c2 = count
    was_same = 0
    context = [absent] * layers
    outlook = AcousticOutlook(book, layers) if layers and book.acoustic_prior else None
    for t in range(frames):
        want = None if tokens is None else tokens[t]
        same = 0
        if token >= 0:
            row = c1 * 2 + was_same
            same = yield "semantic_same", row, None if want is None else int(want == token)
        if not same:
            row = c1 * (count + 1) + c2
            group = yield "semantic_class", row, None if want is None else classes[want]
            rank = 0
            if len(members[group]) > 1:
                row = group * (count + 1) + c1
                rank = yield "semantic_token", row, None if want is None else ranks[want]
                if rank >= len(members[group]):
                    raise FormatError("A semantic token is not in its class.")
            if members[group][rank] == token:
                raise FormatError("A semantic token repeats the one that it says it differs from.")
            token = members[group][rank]
        c2, c1, was_same = c1, classes[token], same
        semantic[t] = token
        if outlook:
            outlook.begin()
        if token == silence:
            context = [absent] * layers
            continue
        for layer in range(layers):
            row = c1 * (absent + 1) + context[layer]
            value = None if residual is None else residual[t][layer]
            if outlook is None:
                value = yield names[layer], row, value
            else:
                value = yield outlook.ask(layer, row, value)
                outlook.came(layer, value)
            acoustic[t, layer] = value
            context[layer] = groups[layer][value]
    return semantic, acoustic
