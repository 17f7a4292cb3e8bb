"""Acoustic tokens looked at again where a prior foretells them: what each costs, and what it makes
the next two frames cost.

The trellis knows the code before alone. From its path, one frame after another is changed to the
best of its candidates while its neighbours stay (iterated conditional modes, Besag 1986); a prior
looks two frames back, so every third frame is changed at once. Only an encoder does this.
"""

from __future__ import annotations

import numpy as np

from avcc.entropy.forecast import NONE, acoustic_bits
from avcc.entropy.tables import Codebook
from avcc.quantise.codebook import residual_choices, residual_sum
from avcc.quantise.trellis import A_BIT
from avcc.stages import SILENT

SWEEPS = 1
APART = 3  # frames that don't see one another


def refined(
    book: Codebook, latents: np.ndarray, semantic: np.ndarray, tokens: np.ndarray
) -> np.ndarray:
    """Tokens int64 (T, n) of one segment, from those of the trellis, latents float32 (T, 32) and
    semantic tokens int64 (T,)."""
    sounds = semantic != SILENT
    count, layers = tokens.shape
    if not layers or not sounds.any():
        return tokens
    books = book.arrays["acoustic.books"][:layers].astype(np.float32)
    paths, away = residual_choices(latents, books)[-1]
    worth = A_BIT * float(away[sounds].min(1).mean())
    # What the trellis chose may be farther away than all of them.
    start = np.square(latents - residual_sum(tokens, books)).sum(1)
    paths = np.concatenate([paths, tokens[:, None]], 1)
    away = np.concatenate([away, start[:, None]], 1)
    beams = paths.shape[1]
    # Two frames of nothing before, and two after that nobody asks for.
    found = np.full((count + 4, layers), NONE)
    found[2 : count + 2][sounds] = tokens[sounds]
    heard = np.concatenate([sounds, [False, False]])
    words = np.concatenate([semantic, [SILENT, SILENT]])
    for _ in range(SWEEPS):
        for first in range(APART):
            at = np.arange(first, count, APART)
            at = at[sounds[at]]
            if not len(at):
                continue
            tried = paths[at].reshape(-1, layers)
            total = away[at].astype(np.float64)
            for later in range(APART):
                there = at + later
                asked = np.repeat(heard[there], beams)
                window = [np.repeat(found[there + 2 - k], beams, 0) for k in range(APART)]
                window[later] = tried
                now, last, earlier = (x[asked] for x in window)
                said = np.repeat(words[there], beams)[asked]
                bits = np.zeros(len(asked))
                bits[asked] = acoustic_bits(book, said, now, last, earlier)
                total += worth * bits.reshape(-1, beams)
            found[at + 2] = paths[at, total.argmin(1)]
    return np.where(sounds[:, None], found[2 : count + 2], 0)
