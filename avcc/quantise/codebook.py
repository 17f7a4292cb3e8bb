"""Vector quantisers: k-means centroids of semantic features, residual layers of latents."""

from __future__ import annotations

import numpy as np


def nearest(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index of the nearest centroid: (N, D) and (K, D) -> int64 (N,)."""
    # |v - c|^2 without the |v|^2 that is the same for every centroid
    score = vectors @ centroids.T - 0.5 * np.square(centroids).sum(1)
    return score.argmax(1).astype(np.int64)


def residual_tokens(latents: np.ndarray, books: np.ndarray, layers: int) -> np.ndarray:
    """Residual vector quantisation (N, D), books (L, K, D) -> int64 (N, layers)."""
    left = latents.astype(np.float32)
    tokens = np.zeros((len(latents), layers), np.int64)
    for i in range(layers):
        tokens[:, i] = nearest(left, books[i])
        left = left - books[i][tokens[:, i]]
    return tokens


def residual_sum(tokens: np.ndarray, books: np.ndarray) -> np.ndarray:
    """The way back: int64 (N, layers) -> float32 (N, D)."""
    out = np.zeros((len(tokens), books.shape[2]), np.float32)
    for i in range(tokens.shape[1]):
        out += books[i][tokens[:, i]]
    return out
