"""Whether decoded pictures look like camera pictures at all: the kernel distance of two sets.

KID (Binkowski et al. 2018): the squared maximum mean discrepancy of network features under the
kernel (x y / d + 1)^3, without bias, so it may come out a little below 0 for sets that are alike.
Unlike FID it means something for some hundred pictures. Features are the last tap of the second
perceptual network, averaged over the picture and brought to one length (the kernel wants numbers
about 1); with other features than Inception's the figures can be compared with each other only.
"""

from __future__ import annotations

import numpy as np
import torch

from avcc.evaluation.perceptual import SecondDistance, signed


def features(network: SecondDistance, frames: np.ndarray, batch: int = 16) -> np.ndarray:
    """uint8 (N, H, W, 3) -> float32 (N, 512)."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(frames), batch):
            last = network.taps(signed(frames[start : start + batch]))[-1]
            parts.append(last.mean((2, 3)).cpu().numpy())
    if not parts:
        return np.zeros((0, 512), np.float32)
    found = np.concatenate(parts)
    return found * (found.shape[1] ** 0.5 / np.linalg.norm(found, axis=1, keepdims=True))


def kid(a: np.ndarray, b: np.ndarray) -> float:
    """Features (M, d) and (N, d) -> distance of the two sets; NaN with fewer than two of either."""
    if min(len(a), len(b)) < 2:
        return float("nan")
    a, b = a.astype(np.float64), b.astype(np.float64)
    within = [
        (_kernel(x, x).sum() - np.trace(_kernel(x, x))) / (len(x) * (len(x) - 1)) for x in (a, b)
    ]
    return float(sum(within) - 2 * _kernel(a, b).mean())


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3
