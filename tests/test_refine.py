"""Acoustic tokens looked at again where a prior foretells them."""

from __future__ import annotations

import books
import numpy as np
import pytest

from avcc.entropy.count import segment_bits
from avcc.entropy.tables import Codebook
from avcc.quantise.codebook import residual_sum, residual_tokens
from avcc.quantise.refine import refined
from avcc.quantise.trellis import A_BIT
from avcc.stages import SILENT, OperatingPoint, Segment

FRAMES = 60


@pytest.fixture(scope="module")
def book() -> Codebook:
    """Two layers for latents of 32, and one token for all that sounds."""
    rng = np.random.default_rng(0)
    arrays = books.contexts() | books.priors()
    arrays["context.semantic_class"] = np.repeat([0, 1], [SILENT, 1]).astype(np.uint8)
    arrays["context.semantic_rank"] = np.append(np.arange(SILENT), 0).astype(np.uint16)
    made = Codebook.blank(arrays, books.SHAPE, (books.VOICE, books.LEVELS))
    vectors = rng.normal(size=(books.LAYERS, 256, 32)) * np.array([1.0, 0.4])[:, None, None]
    return Codebook.from_arrays(dict(made.arrays) | {"acoustic.books": vectors.astype(np.float16)})


def heard(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents and semantic tokens of a segment with pauses."""
    rng = np.random.default_rng(seed)
    semantic = np.where(rng.random(FRAMES) < 0.2, SILENT, 0)
    return rng.normal(size=(FRAMES, 32)).astype(np.float32), semantic


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_sent_costs_less_for_what_it_says(book: Codebook, layers: int, seed: int) -> None:
    vectors = book.arrays["acoustic.books"][:layers].astype(np.float32)
    point = OperatingPoint(0, 0, layers, True)
    latents, semantic = heard(seed)
    sounds = semantic != SILENT
    nearest = residual_tokens(latents, vectors, layers)
    start = np.where(sounds[:, None], nearest, 0)
    least = np.square(latents - residual_sum(nearest, vectors)).sum(1)[sounds].mean()

    def cost(tokens: np.ndarray) -> float:
        away = np.square(latents - residual_sum(tokens, vectors)).sum(1)[sounds].sum()
        nothing = np.zeros((0, books.DIRECTIONS), np.int64)
        bits = segment_bits(Segment(FRAMES, nothing, semantic, tokens), point, book)[1]
        return float(away + A_BIT * least * bits)

    found = refined(book, latents, semantic, start)
    assert (found[~sounds] == 0).all()
    assert cost(found) < cost(start)  # each change is for the better, so all of them are


def test_silence_and_no_layers_stay(book: Codebook) -> None:
    latents, semantic = heard(1)
    none = np.zeros((FRAMES, 0), np.int64)
    assert refined(book, latents, semantic, none) is none
    still = np.zeros((FRAMES, 2), np.int64)
    assert (refined(book, latents, np.full(FRAMES, SILENT), still) == 0).all()
