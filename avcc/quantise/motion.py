"""Which indices of the motion coefficients are sent: what they cost counts as well as how near they
come.

Face meshes tremble by a fraction of a step from frame to frame, and following that costs bits and
makes the picture tremble too; a frame between two that are sent is drawn from both. So the best
path of each coefficient through the indices near it is found (Viterbi 1967), by the bits that the
tables ask for and the squared error of all frames together (rate-distortion optimised
quantisation, as video coders have it). What moves lips weighs more: they move by less than heads
do, so that coarse steps would still them first, and are what a viewer looks at. Only an encoder
does this; a decoder needn't know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

import numpy as np

from avcc.entropy.forecast import motion_prices
from avcc.entropy.tables import BOUNDS, ESCAPE, REACH, TOTAL, Codebook
from avcc.mesh import LIPS, POINTS, point_weights
from avcc.quantise.scalar import STEPS, steady
from avcc.stages import SEGMENT_FRAMES

# What a bit has to save of the squared error, summed over frames, in squared steps, for each frame
# from one code to the next: the best of several on validation clips (docs/training.md).
A_BIT = 0.4
LIPS_WEIGHT = 10  # of the displacement of lips about their own centre, beside that of all points
NEAR = np.arange(-2, 3)  # steps from the nearest index, what is tried
PASSES = 2  # the rows that price a path follow from the path before
FORETOLD = 2  # the same of what a prior asks for, where the codebook has one
AT_ONCE = 32  # segments
FURTHEST = 3 * REACH  # differences that are priced apart; beyond, all cost the same

Priced = Callable[[int, np.ndarray], np.ndarray]


class MotionPaths:
    """The prices of one codebook."""

    def __init__(self, book: Codebook) -> None:
        self._book = book
        self._changes = _prices(book.table("motion"))
        self._firsts = _prices(book.table("motion_first"))
        self._first_rows = np.array(book.motion_first)  # (steps, K)
        self._start = np.array(book.motion_start)
        self.weight = _weight(book)  # (K,)

    def codes(self, motion: np.ndarray, stride: int, step: int, draft: bool = False) -> np.ndarray:
        """Indices int64 (S, rows, K) for S segments of coefficients float32 (S, T, K), of which
        every ``stride``-th is sent in step number ``step``; NaN counts as 0. ``draft``: by the
        tables alone, sooner done and a twentieth dearer."""
        at = np.arange(0, motion.shape[1], stride)
        out = np.zeros((len(motion), len(at), motion.shape[2]), np.int64)
        for a in range(0, len(motion), AT_ONCE):
            scaled = np.nan_to_num(motion[a : a + AT_ONCE]) / float(STEPS[step])
            found = np.stack([steady(one[at], 1.0) for one in scaled])
            for _ in range(PASSES):
                rows = self.rows(found, step)
                found = self._best(scaled, at, step, partial(self._by_rows, rows))
            for _ in range(FORETOLD if self._asks(at, draft) else 0):
                prices = self._foretold(found, stride, step)
                found = self._best(scaled, at, step, partial(_by_prior, prices))
            out[a : a + AT_ONCE] = found
        return out

    def parts(
        self, motions: Sequence[np.ndarray], stride: int, step: int, draft: bool = False
    ) -> list[np.ndarray]:
        """Indices int64 (rows, K) of each segment (T, K), lengths as they come."""
        out: list[np.ndarray] = []
        for _, same in groupby(motions, len):
            out += list(self.codes(np.stack(list(same)), stride, step, draft))
        return out

    def received(self, motion: np.ndarray, stride: int, step: int) -> np.ndarray:
        """What a decoder is told of a clip's coefficients (N, K): float32, NaN where nothing."""
        cuts = range(0, len(motion), SEGMENT_FRAMES)
        found = self.parts([motion[a : a + SEGMENT_FRAMES] for a in cuts], stride, step)
        out = np.full(motion.shape, np.nan, np.float32)
        for a, codes in zip(cuts, found, strict=True):
            out[a : a + SEGMENT_FRAMES : stride] = codes * STEPS[step]
        return out

    def _asks(self, at: np.ndarray, draft: bool) -> bool:
        return self._book.motion_prior is not None and len(at) > 1 and not draft

    def _by_rows(self, rows: np.ndarray, t: int, changes: np.ndarray) -> np.ndarray:
        """Bits of changes (S, K, ...) to code ``t`` by rows (S, rows, K) of the table."""
        return _priced(self._changes, rows[:, t, :, None, None], changes)

    def _foretold(self, codes: np.ndarray, stride: int, step: int) -> np.ndarray:
        """What the prior would ask for changes, float32 (S, rows, K, 2 FURTHEST + 1), if all that
        it is told were these codes (S, rows, K)."""
        rows = self.rows(codes, step)[:, 1:]
        found = _far(motion_prices(self._book, codes, rows, stride, step))
        return np.concatenate([found[:, :1], found], 1)  # the first code asks no prior

    def _best(self, scaled: np.ndarray, at: np.ndarray, step: int, priced: Priced) -> np.ndarray:
        """The best path where changes to a code are ``priced``."""
        near = np.rint(scaled[:, at]).astype(np.int64)
        values = near[..., None] + NEAR  # S, rows, K, candidates
        stride = int(at[1]) if len(at) > 1 else 1
        worth, weight = A_BIT * stride, self.weight[:, None]
        away = weight * np.square(scaled[:, at, :, None] - values)
        total = away[:, 0] + worth * _priced(
            self._firsts, self._first_rows[step, :, None], values[:, 0]
        )
        back = np.zeros(values.shape, np.int64)
        for t in range(1, len(at)):
            before, now = values[:, t - 1, :, :, None], values[:, t, :, None]
            reach = total[..., None] + away[:, t, :, None]
            reach = reach + worth * priced(t, now - before)
            for j in range(1, stride):
                drawn = before + (now - before) * (j / stride)
                true = scaled[:, at[t - 1] + j, :, None, None]
                reach += weight[..., None] * np.square(true - drawn)
            back[:, t], total = reach.argmin(2), reach.min(2)
        out = np.empty(near.shape, np.int64)
        chosen = total.argmin(-1)[..., None]
        for t in range(len(at) - 1, -1, -1):
            out[:, t] = np.take_along_axis(values[:, t], chosen, -1)[..., 0]
            chosen = np.take_along_axis(back[:, t], chosen, -1)
        return out

    def rows(self, indices: np.ndarray, step: int) -> np.ndarray:
        """Rows of ``table.motion`` (S, rows, K) as ``entropy.context`` would take them."""
        sizes = 16 * np.abs(np.diff(indices, axis=1, prepend=indices[:, :1]))
        out = np.zeros(indices.shape, np.int64)
        mean = np.broadcast_to(self._start[step], indices[:, 0].shape)
        for t in range(1, indices.shape[1]):
            size = sizes[:, t]
            moved, expected = size.cumsum(-1) - size, mean.cumsum(-1) - mean
            activity = np.where(2 * moved < expected, 0, np.where(moved > 2 * expected, 2, 1))
            out[:, t] = np.searchsorted(BOUNDS, mean, side="right") * 3 + activity
            mean = mean + ((size - mean) >> 2)
        return out


def _weight(book: Codebook) -> np.ndarray:
    """How much each coefficient's error counts, float32 (K,): more, the more of what its direction
    moves is lips about their own centre; alike, if the codebook doesn't say what directions are."""
    directions = book.arrays.get("motion.directions")
    if directions is None:
        return np.ones(len(book.motion_start[0]), np.float32)
    moved = directions.astype(np.float32).reshape(len(directions), POINTS, 2)
    moved = moved / point_weights()[:, None]
    lips = moved[:, list(LIPS)]
    lips = lips - lips.mean(1, keepdims=True)
    share: np.ndarray = np.square(lips).sum((1, 2)) / np.square(moved).sum((1, 2))
    return 1 + LIPS_WEIGHT * share


def _by_prior(prices: np.ndarray, t: int, changes: np.ndarray) -> np.ndarray:
    """Bits of changes (S, K, A, B) to code ``t`` by prices (S, rows, K, 2 FURTHEST + 1)."""
    at = np.clip(changes, -FURTHEST, FURTHEST) + FURTHEST
    flat = at.reshape(*at.shape[:2], -1)
    return np.take_along_axis(prices[:, t], flat, -1).reshape(at.shape)


def _prices(table: np.ndarray) -> np.ndarray:
    """``_far`` of a table's rows."""
    return _far(np.log2(TOTAL) - np.log2(table.astype(np.float64)))


def _far(bits: np.ndarray) -> np.ndarray:
    """Bits of symbols (..., 62) -> of the values -FURTHEST to FURTHEST, escapes with what follows
    them; float32 (..., 2 FURTHEST + 1)."""
    value = np.arange(-FURTHEST, FURTHEST + 1)
    beyond = np.maximum(np.abs(value) - REACH, 1)
    bits = bits.astype(np.float32)
    more = (2 + 2 * np.floor(np.log2(beyond))).astype(np.float32)
    escaped = bits[..., ESCAPE, None] + more
    plain = bits[..., np.clip(value + REACH, 0, 2 * REACH)]
    return np.where(np.abs(value) <= REACH, plain, escaped)


def _priced(prices: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Bits of values by rows, arrays that broadcast."""
    return prices[rows, np.clip(values, -FURTHEST, FURTHEST) + FURTHEST]
