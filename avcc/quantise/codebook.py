"""Vector quantisers: k-means centroids of semantic features, residual layers of latents."""

from __future__ import annotations

import numpy as np

from avcc.stages import SEGMENT_FRAMES

BEAM = 8  # 16 leave 2 % less of a latent, and take twice as long
AT_ONCE = 10 * SEGMENT_FRAMES  # latents


def nearest(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index of the nearest centroid: (N, D) and (K, D) -> int64 (N,)."""
    out = np.empty(len(vectors), np.int64)
    half = 0.5 * np.square(centroids).sum(1)
    for a in range(0, len(vectors), AT_ONCE):  # of an hour, all scores would take 400 MB
        # |v - c|^2 without the |v|^2 that is the same for every centroid
        out[a : a + AT_ONCE] = (vectors[a : a + AT_ONCE] @ centroids.T - half).argmax(1)
    return out


def residual_tokens(
    latents: np.ndarray, books: np.ndarray, layers: int, beam: int = BEAM
) -> np.ndarray:
    """Residual vector quantisation (N, D), books (L, K, D) -> int64 (N, layers).

    Not layer by layer alone: the ``beam`` best sums so far are gone on with, for the nearest code
    now is not always what the next layers complete best (M-search: Barnes et al. 1996, "Advances
    in residual vector quantization"). So fewer layers aren't always the first of more.
    """
    return residual_paths(latents, books[:layers], beam)[-1]


def residual_paths(latents: np.ndarray, books: np.ndarray, beam: int = BEAM) -> list[np.ndarray]:
    """``residual_tokens`` for every number of layers from none to all: int64 (N, n), n = 0 to L."""
    parts = []
    for a in range(0, max(1, len(latents)), AT_ONCE):
        found = residual_choices(latents[a : a + AT_ONCE], books, beam)
        parts.append([paths[np.arange(len(paths)), away.argmin(1)] for paths, away in found])
    return [np.concatenate(same) for same in zip(*parts, strict=True)]


def residual_choices(
    latents: np.ndarray, books: np.ndarray, beam: int = BEAM
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The best sums for every number of layers n from none to all: codes int64 (N, beams, n), and
    how far they are from the latents, float32 (N, beams), squared. At most ``AT_ONCE`` latents."""
    rows = np.arange(len(latents))[:, None]
    left = latents.astype(np.float32)[:, None]  # (N, beams, D): what each sum still lacks
    paths = np.zeros((len(rows), 1, 0), np.int64)
    best = [(paths, np.square(left).sum(2))]
    for book in books:
        size = np.square(left).sum(2)[..., None] - 2 * left @ book.T + np.square(book).sum(1)
        size = size.reshape(len(rows), left.shape[1] * len(book))
        kept = np.argpartition(size, min(beam, size.shape[1]) - 1, axis=1)[:, :beam]
        parent, code = np.divmod(kept, len(book))
        left = left[rows, parent] - book[code]
        paths = np.concatenate([paths[rows, parent], code[..., None]], axis=2)
        best.append((paths, size[rows, kept]))
    return best


def residual_sum(tokens: np.ndarray, books: np.ndarray) -> np.ndarray:
    """The way back: int64 (N, layers) -> float32 (N, D)."""
    out = np.zeros((len(tokens), books.shape[2]), np.float32)
    for i in range(tokens.shape[1]):
        out += books[i][tokens[:, i]]
    return out
