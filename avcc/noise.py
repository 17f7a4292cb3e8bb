"""The decoder's noise: Philox 4x32-10, a counter-based generator that the format specifies.

Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". Any value can be computed alone
from (seed, stream, token, channel), so chunks decode in any order and give the same noise, on every
machine and under every version of torch.
"""

from __future__ import annotations

import numpy as np

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Ten rounds over counters uint32 (N, 4) with a 64-bit key -> uint32 (N, 4)."""
    a, b, c, d = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p, q = _M0 * a, _M1 * c
        a, b, c, d = (
            (q >> np.uint64(32)) ^ b ^ np.uint64(k0),
            q & _LOW,
            (p >> np.uint64(32)) ^ d ^ np.uint64(k1),
            p & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([a, b, c, d], 1).astype(np.uint32)


def gaussian(seed: int, stream: int, first: int, count: int, width: int) -> np.ndarray:
    """Standard normal noise float32 (count, width) of tokens ``first`` onwards.

    Counter (token, group of four channels, stream, 0), key (seed, 0). Each pair of words gives two
    values by Box-Muller in float64: u = (word + 0.5) / 2^32.
    """
    groups = -(-width // 4)
    counter = np.zeros((count * groups, 4), np.uint32)
    counter[:, 0] = np.repeat(np.arange(first, first + count, dtype=np.uint32), groups)
    counter[:, 1] = np.tile(np.arange(groups, dtype=np.uint32), count)
    counter[:, 2] = stream
    u = (philox(counter, (seed, 0)).astype(np.float64) + 0.5) / 2**32
    radius = np.sqrt(-2 * np.log(u[:, 0::2]))
    angle = 2 * np.pi * u[:, 1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return pairs.reshape(count, groups * 4)[:, :width].astype(np.float32)
