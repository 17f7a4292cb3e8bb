"""A small codebook and clips made from seeds, for the tests of entropy coder and container."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from avcc.entropy.places import AcousticLayout, MotionLayout
from avcc.entropy.tables import SIGNED, Codebook, frequencies, table_shapes
from avcc.stages import (
    PITCH_FRAMES,
    SEGMENT_FRAMES,
    Copy,
    Crop,
    Head,
    Identity,
    OperatingPoint,
    Segment,
    Symbols,
)

DIRECTIONS, STEPS, TOKENS, CLASSES, LAYERS = 6, 3, 25, 4, 2
SHAPE, VOICE, LEVELS = 12, 5, 8


def contexts() -> dict[str, np.ndarray]:
    """Context arrays: integers only, so the same on every machine and with every numpy."""
    steps, k = np.mgrid[0:STEPS, 0:DIRECTIONS]
    classes = np.arange(TOKENS) % (CLASSES - 1)
    classes[-1] = CLASSES - 1
    ranks = np.arange(TOKENS) // (CLASSES - 1)
    ranks[-1] = 0
    return {
        "context.motion_first": ((steps * 7 + k) % 24).astype(np.uint8),
        "context.motion_start": (8 + 4 * steps + k).astype(np.int32),
        "context.semantic_class": classes.astype(np.uint8),
        "context.semantic_rank": ranks.astype(np.uint16),
        "context.acoustic_class": (np.arange(LAYERS * 256).reshape(LAYERS, 256) % 3).astype(
            np.uint8
        ),
    }


def priors(width: int = 5) -> dict[str, np.ndarray]:
    """Priors for it, as wild as eight bits allow."""
    found = {}
    sizes = {
        "motion": (MotionLayout(DIRECTIONS, STEPS).size, DIRECTIONS, SIGNED),
        "acoustic": (AcousticLayout(LAYERS).size, LAYERS, 256),
    }
    for name, (places, slots, count) in sizes.items():
        for part, kind, shape in (
            ("lookup", np.int8, (places, width)),
            ("hidden", np.int8, (width, width)),
            ("hidden_bias", np.int32, (width,)),
            ("out", np.int8, (slots, width, count)),
            ("out_bias", np.int32, (slots, count)),
        ):
            index = np.arange(np.prod(shape)).reshape(shape)
            far = index * 40_503 % 65_521
            wild = far % 255 - 127 if kind is np.int8 else far - 32_000
            found[f"prior.{name}.{part}"] = wild.astype(kind)
    return found


def book(foretells: bool = False) -> Codebook:
    """The small codebook; tables peaked in the middle, made of integers alone."""
    arrays = contexts() | (priors() if foretells else {})
    for name, (rows, count) in table_shapes(arrays, SHAPE, (VOICE, LEVELS)).items():
        r, s = np.mgrid[0:rows, 0:count]
        weights = 1 + 4096 // (1 + abs(s - count // 2) * (1 + (r * 5 + len(name)) % 7))
        arrays[f"table.{name}"] = frequencies(weights, 0.0)
    return Codebook.from_arrays(arrays)


def symbols(
    seed: int,
    frames: int = 250,
    point: OperatingPoint | None = None,
    sound: bool = True,
    spread: float = 1.5,
    crop: Crop | None = None,
    picture: int = 900,
    pitch: float = 0.0,
    coarse: OperatingPoint | None = None,
    own: tuple[OperatingPoint, ...] = (),
    each: int = SEGMENT_FRAMES,
    finer: bool = False,
) -> Symbols:
    """A clip of random symbols for ``book()``; ``spread``: of the motion, in quantiser steps;
    ``pitch``: how much it moves, nothing is sent where it doesn't; ``coarse``: of copies; ``own``:
    of segments in turn, in an open stream; ``each``: frames of a segment; ``finer``: with two
    pitches a frame."""
    point = point or OperatingPoint(2, 1, 1, True)
    rng = np.random.default_rng(seed)

    def segment(start: int, point: OperatingPoint) -> Segment:
        n = min(each, frames - start)
        rows = -(-n // point.motion_stride) if point.motion_stride else 0
        motion = np.rint(rng.normal(0, spread, (rows, DIRECTIONS))).astype(np.int64).cumsum(0)
        tokens = rng.integers(0, TOKENS, n)
        tokens[rng.random(n) < 0.3] = TOKENS - 1
        if not point.semantic:
            tokens = np.zeros(0, np.int64)
        acoustic = rng.integers(0, 256, (len(tokens), point.acoustic_layers))
        acoustic[tokens == TOKENS - 1] = 0
        return Segment(n, motion, tokens, acoustic)

    starts = range(0, frames, each)
    points = tuple(own[n % len(own)] for n in range(len(starts))) if own else ()
    segments = tuple(segment(start, points[n] if own else point) for n, start in enumerate(starts))
    voice = rng.integers(0, LEVELS, VOICE if sound else 0)
    still = b"\x0a" + rng.bytes(picture)[1:]  # as OBUs begin
    one = Identity(still, 256, rng.integers(-40, 41, SHAPE), voice)
    head = Head(
        model=book().id,
        rate=Fraction(25),
        frames=frames,
        samples=frames * 640 - 100 if sound else 0,
        crop=crop,
        seed=seed & 0xFFFF,
        point=point,
        segment_frames=each,
    )
    moves = rng.normal(0, pitch, (1 + finer) * frames) if pitch else np.zeros(0)
    codes, most = np.rint(moves).astype(np.int64).cumsum(), (1 + finer) * PITCH_FRAMES
    parts = tuple(codes[a : a + most] for a in range(0, len(codes), most))
    copies = tuple(Copy(coarse, segment(start, coarse)) for start in starts if coarse)
    return Symbols(head, (one,), segments, pitch=parts, copies=copies, points=points)


def same(a: Symbols, b: Symbols) -> bool:
    """Whether two clips are equal, arrays, types and all."""

    def equal(x: object, y: object) -> bool:
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
            return x.shape == y.shape and x.dtype == y.dtype and bool((x == y).all())
        if isinstance(x, tuple) and isinstance(y, tuple):
            return len(x) == len(y) and all(map(equal, x, y))
        if isinstance(x, Symbols | Identity | Segment | Copy):
            return type(x) is type(y) and equal(tuple(vars(x).values()), tuple(vars(y).values()))
        return bool(x == y)

    return equal(a, b)
