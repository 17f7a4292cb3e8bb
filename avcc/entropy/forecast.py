"""What a prior would say of whole segments at once, if what it is told were known already.

Encoders weigh what to send by this; what codes is ``outlook.py``, symbol by symbol.
"""

from __future__ import annotations

import numpy as np

from avcc.entropy.places import NONE as NONE
from avcc.entropy.places import AcousticLayout, MotionLayout
from avcc.entropy.tables import ESCAPE, REACH, SIGNED, Codebook


def motion_prices(
    book: Codebook, codes: np.ndarray, rows: np.ndarray, stride: int, step: int
) -> np.ndarray:
    """Bits float32 (S, R - 1, K, 62) of the changes between codes (S, R, K), by the rows
    (S, R - 1, K) of ``table.motion`` that they have."""
    prior = book.motion_prior
    assert prior
    layout = MotionLayout(book.directions, book.steps)
    symbol, told = motion_told(layout, codes, rows, stride, step)
    state = np.stack([prior.told(of) for of in told])  # of a segment: lookups are 80 rows each
    out = np.empty((*symbol.shape, SIGNED), np.float32)
    for k in range(layout.count):
        given = state + prior.row(layout.bias(k))
        found = prior.prices(given.reshape(-1, given.shape[-1]), k, rows[..., k].ravel())
        out[..., k, :] = found.reshape(out[..., k, :].shape)
        state = state + prior.row(layout.now(k, 0) + symbol[..., k])
    return out


def motion_told(
    layout: MotionLayout, codes: np.ndarray, rows: np.ndarray, stride: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """The symbols int64 (S, R - 1, K) of those changes, and what the prior is told before each
    code: places (S, R - 1, n)."""
    change = np.diff(codes, axis=1)
    symbol = np.where(np.abs(change) <= REACH, change + REACH, ESCAPE)
    start = np.full((len(codes), 2, layout.count), REACH)
    before = np.concatenate([start, symbol], 1)
    told = layout.before(before[:, 1:-1], before[:, :-2], codes[:, :-1], rows // 3)
    point = np.full((*told.shape[:-1], 1), layout.point(stride, step))
    return symbol, np.concatenate([told, point], -1)


def acoustic_rows(book: Codebook, semantic: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Rows int64 (N, n) of the acoustic tables, by the tokens of frames, semantic (N,), and those
    one frame before, acoustic (N, n), ``NONE`` where there are none."""
    classes = book.arrays["context.acoustic_class"].astype(np.int64)
    known = classes[np.arange(last.shape[1]), np.minimum(last, NONE - 1)]
    absent = book.acoustic_classes
    group = np.array(book.token_class)[semantic] * (absent + 1)
    return group[:, None] + np.where(last == NONE, absent, known)


def acoustic_bits(
    book: Codebook,
    semantic: np.ndarray,
    tokens: np.ndarray,
    last: np.ndarray,
    earlier: np.ndarray,
) -> np.ndarray:
    """What tokens (N, n) cost in bits, float64 (N,), after those one and two frames before (N, n),
    ``NONE`` where there are none; ``semantic`` (N,): the tokens of their frames."""
    prior = book.acoustic_prior
    assert prior
    layout, count = AcousticLayout(book.layers), tokens.shape[1]
    rows = acoustic_rows(book, semantic, last)
    state = prior.told(layout.before(last, earlier)) + prior.row(layout.sent(count))
    spent = np.zeros(len(tokens))
    each = np.arange(len(tokens))
    for layer in range(count):
        found = prior.prices(state + prior.row(layout.bias(layer)), layer, rows[:, layer])
        spent += found[each, tokens[:, layer]]
        state = state + prior.row(layout.now(layer, 0) + tokens[:, layer])
    return spent
