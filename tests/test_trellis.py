"""Which acoustic codes are sent: distortion and what the entropy coder takes for them, together."""

from __future__ import annotations

from itertools import product

import books
import numpy as np
import pytest

from avcc.entropy.count import segment_bits
from avcc.entropy.tables import Codebook, frequencies
from avcc.quantise.codebook import residual_paths
from avcc.quantise.trellis import A_BIT, Trellis
from avcc.stages import OperatingPoint, Segment

BOOK = books.book()
SILENCE = books.TOKENS - 1
LATENT = 5


def book(flat: bool = False) -> Codebook:
    """The tests' codebook, with codes to find."""
    rng = np.random.default_rng(4)
    arrays = dict(BOOK.arrays)
    for layer in range(books.LAYERS):
        name = f"table.acoustic_{layer}"
        counts = np.ones(arrays[name].shape) if flat else rng.gamma(0.3, size=arrays[name].shape)
        arrays[name] = frequencies(counts, 1e-3)
    codes = (
        rng.normal(size=(books.LAYERS, 256, LATENT)) * 0.7 ** np.arange(books.LAYERS)[:, None, None]
    )
    return Codebook.from_arrays(arrays | {"acoustic.books": codes.astype(np.float32)})


def bits(of: Codebook, semantic: np.ndarray, codes: np.ndarray) -> float:
    """What the coder takes for the voice of one segment."""
    point = OperatingPoint(0, 0, codes.shape[1])
    seg = Segment(len(codes), np.zeros((0, books.DIRECTIONS), np.int64), semantic, codes)
    return segment_bits(seg, point, of)[1]


def test_where_all_costs_the_same_the_nearest_is_sent() -> None:
    rng = np.random.default_rng(0)
    of = book(flat=True)
    latents = rng.normal(size=(1230, LATENT)).astype(np.float32)
    semantic = rng.integers(0, SILENCE + 1, 1230)
    found = Trellis(of).tokens(latents, semantic)
    for near, sent in zip(residual_paths(latents, of.arrays["acoustic.books"]), found, strict=True):
        assert sent.dtype == np.int64
        assert (sent == np.where((semantic == SILENCE)[:, None], 0, near)).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_best_path_is_found(seed: int) -> None:
    """Against all paths that there are, at what the coder itself would take."""
    rng = np.random.default_rng(seed)
    of, frames, beams = book(), 6, 3
    paths = rng.integers(0, 256, (frames, beams, books.LAYERS))
    away = rng.random((frames, beams)).astype(np.float32) + 1
    semantic = rng.integers(0, SILENCE, frames)
    semantic[seed] = SILENCE
    sounds = semantic != SILENCE
    worth = A_BIT * float(away[sounds].min(1).mean())
    every = []
    for path in product(range(beams), repeat=frames):
        codes = np.where(sounds[:, None], paths[np.arange(frames), path], 0)
        spent = bits(of, semantic, codes)
        every.append((away[np.arange(frames), path][sounds].sum() + worth * spent, codes))
    best = min(every, key=lambda one: one[0])
    sent = Trellis(of).chosen(paths, away, semantic)
    assert (sent == best[1]).all()
    near = np.where(sounds[:, None], paths[np.arange(frames), away.argmin(1)], 0)
    assert bits(of, semantic, sent) < bits(of, semantic, near)


def test_a_segment_stands_alone() -> None:
    """As it does for the coder: what comes before it or after it changes nothing."""
    rng = np.random.default_rng(1)
    trellis = Trellis(book())
    paths = rng.integers(0, 256, (230, 3, books.LAYERS))
    away = rng.random((230, 3)).astype(np.float32) + 1
    semantic = rng.integers(0, SILENCE + 1, 230)
    other = paths.copy()
    other[:100] = rng.integers(0, 256, (100, 3, books.LAYERS))
    other[200:] = rng.integers(0, 256, (30, 3, books.LAYERS))
    whole, changed = (trellis.chosen(of, away, semantic) for of in (paths, other))
    assert (whole[100:200] == changed[100:200]).all() and whole[100:200].any()
    assert (whole[:100] != changed[:100]).any() and (whole[200:] != changed[200:]).any()


def test_nothing_to_send() -> None:
    trellis = Trellis(book())
    for count in (0, 3, 100):
        silent = np.full(count, SILENCE)
        found = trellis.tokens(np.zeros((count, LATENT), np.float32), silent)
        assert [x.shape for x in found] == [(count, n) for n in range(books.LAYERS + 1)]
        assert not any(x.any() for x in found)
