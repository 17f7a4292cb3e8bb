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
    change = np.diff(codes, axis=1)
    symbol = np.where(np.abs(change) <= REACH, change + REACH, ESCAPE)
    start = np.full((len(codes), 2, layout.count), REACH)
    before = np.concatenate([start, symbol], 1)
    told = layout.before(before[:, 1:-1], before[:, :-2], codes[:, :-1], rows // 3)
    point = prior.row(layout.point(stride, step))
    state = np.stack([prior.told(of) + point for of in told])
    out = np.empty((*symbol.shape, SIGNED), np.float32)
    for k in range(layout.count):
        given = state + prior.row(layout.bias(k))
        found = prior.prices(given.reshape(-1, given.shape[-1]), k, rows[..., k].ravel())
        out[..., k, :] = found.reshape(out[..., k, :].shape)
        state = state + prior.row(layout.now(k, 0) + symbol[..., k])
    return out


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
    classes = book.arrays["context.acoustic_class"].astype(np.int64)
    absent = book.acoustic_classes
    group = np.array(book.token_class)[semantic] * (absent + 1)
    state = prior.told(layout.before(last, earlier)) + prior.row(layout.sent(count))
    spent = np.zeros(len(tokens))
    each = np.arange(len(tokens))
    for layer in range(count):
        before = last[:, layer]
        known = classes[layer, np.minimum(before, NONE - 1)]
        row = group + np.where(before == NONE, absent, known)
        found = prior.prices(state + prior.row(layout.bias(layer)), layer, row)
        spent += found[each, tokens[:, layer]]
        state = state + prior.row(layout.now(layer, 0) + tokens[:, layer])
    return spent
