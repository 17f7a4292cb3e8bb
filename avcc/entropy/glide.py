"""How a pitch moves from half a frame to the next: the built-in table of ``finer_walk``.

Not of a model's codebook, for those that there are know motion alone, which moves otherwise.
Counted over the pitches of training voices (``training.glides``), in shares of about 2,000, up and
down being alike.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

NEAR = 8  # moves beyond it are escaped
STILL = (4, 10, 32)  # half frames without a move, that matter
MOVES = (
    (1, 1, 2, 2, 5, 10, 27, 228, 1459, 182, 38, 16, 9, 6, 4, 2, 1, 6),
    (1, 1, 2, 3, 6, 10, 25, 165, 1566, 141, 33, 16, 10, 6, 3, 3, 1, 7),
    (1, 1, 1, 2, 4, 6, 12, 61, 1804, 57, 17, 10, 7, 4, 3, 2, 1, 7),
    (1, 1, 1, 1, 2, 4, 7, 25, 1894, 28, 12, 5, 6, 4, 2, 1, 1, 9),
    (1, 1, 1, 3, 5, 10, 32, 170, 1338, 366, 42, 13, 7, 4, 2, 2, 1, 5),
    (1, 1, 2, 4, 9, 20, 65, 220, 1339, 229, 47, 19, 14, 9, 6, 3, 3, 10),
    (1, 1, 1, 1, 1, 1, 1, 9, 869, 797, 247, 23, 9, 9, 1, 16, 9, 1),
    (1, 1, 1, 1, 1, 1, 1, 5, 960, 724, 211, 84, 1, 1, 1, 5, 1, 1),
    (1, 1, 1, 1, 1, 1, 2, 21, 1353, 447, 111, 32, 13, 8, 3, 2, 2, 4),
    (1, 1, 1, 1, 1, 3, 3, 22, 1087, 673, 161, 29, 9, 6, 2, 1, 1, 2),
    (1, 1, 1, 1, 2, 3, 6, 24, 1029, 652, 186, 50, 22, 9, 6, 2, 3, 4),
    (7, 7, 7, 7, 7, 7, 7, 7, 577, 1181, 141, 7, 7, 7, 7, 7, 7, 7),
    (3, 3, 3, 3, 3, 3, 3, 36, 1138, 562, 69, 53, 36, 53, 3, 3, 3, 20),
    (1, 1, 1, 1, 1, 2, 6, 41, 1207, 418, 171, 76, 32, 20, 9, 5, 3, 9),
    (1, 1, 1, 1, 1, 1, 2, 22, 838, 690, 289, 97, 36, 12, 3, 1, 2, 5),
    (1, 1, 1, 1, 1, 1, 3, 18, 782, 623, 369, 122, 45, 16, 10, 4, 2, 4),
)  # fmt: skip
ESCAPED = len(MOVES[0]) - 1


def row(last: int, before: int, still: int) -> tuple[int, bool]:
    """The row for a move after two others (``last`` is the nearer one), and whether its signs are
    changed; ``still``: how many half frames there was none."""
    a, b = (max(-2, min(2, move)) for move in (last, before))
    turned = a < 0 or (a == 0 and b < 0)
    if turned:
        a, b = -a, -b
    if a == 0:
        return (len(STILL) + b if b else bisect_right(STILL, still)), turned
    return len(STILL) + 5 * a + b, turned


def frequencies(total: int) -> np.ndarray:
    """The rows as they are coded by: uint32 (16, 18), each sums to ``total``, none is 0."""
    shares = np.array(MOVES, np.int64)
    count = shares.shape[1]
    table = 1 + shares * (total - count) // shares.sum(1, keepdims=True)
    table[np.arange(len(table)), shares.argmax(1)] += total - table.sum(1)
    return table.astype(np.uint32)
