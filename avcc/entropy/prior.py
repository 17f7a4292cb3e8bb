"""Frequencies that a small network foretells from what was coded before, on integers alone.

A row of a table knows one thing about a symbol; a network knows what came two frames ago, in all
coefficients or layers, and what this frame has said so far (an autoregressive prior, as in Minnen,
Ballé and Toderici 2018, over the symbols themselves). It corrects the row, so it never has to learn
what counting knows. Weights, sums and frequencies are integers, exact in float64 whatever the order
of summation, so encoder and decoder agree on every machine (docs/format.md, "Priors").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from avcc.errors import ModelError

TOTAL = 1 << 24  # frequencies of a symbol sum to this: the range coder's precision
UNIT = 256  # of a logit, in a bit
STATE_BITS = 6  # binary places of sums, states, and of weights that make logits
HIDDEN_BITS = 7  # of weights between states
LOGIT_SHIFT = 2 * STATE_BITS - 8
PARTS = {"lookup": np.int8, "hidden": np.int8, "hidden_bias": np.int32, "out": np.int8,
         "out_bias": np.int32}  # fmt: skip
_FRACTIONS = np.arange(UNIT) / UNIT
# No value of either lies within a ten-thousandth of a half, so all libraries round them alike.
POWERS = np.rint(TOTAL * 2.0**-_FRACTIONS).astype(np.int64)
LOGARITHMS = np.rint(UNIT * np.log2(1 + _FRACTIONS)).astype(np.int64)


class Prior:
    """The network of one kind of symbols. ``slots``: S, what is coded in turn (coefficients or
    layers), each with its own last layer and its own table to correct."""

    def __init__(self, arrays: Mapping[str, np.ndarray], name: str, tables: Sequence[str]) -> None:
        """``tables``: short names, one for each slot; their rows are what ``row`` counts."""
        parts = {part: arrays[f"prior.{name}.{part}"] for part in PARTS}
        self.tables = tables
        self.slots = len(parts["out"])
        self._lookup, self._hidden, self._hidden_bias, self._out, self._out_bias = (
            part.astype(np.float64) for part in parts.values()
        )
        logs = {t: logarithms(arrays[f"table.{t}"]).astype(np.float64) for t in set(tables)}
        self._base = [logs[t] for t in tables]
        self._short = [x.astype(np.float32) for x in (self._hidden, self._hidden_bias)]
        self._short_out = self._out.astype(np.float32), self._out_bias.astype(np.float32)

    def told(self, places: np.ndarray) -> np.ndarray:
        """The sum float64 (..., H) of the lookup's rows at int64 (..., n)."""
        return self._lookup[places].sum(-2)

    def row(self, place: int | np.ndarray) -> np.ndarray:
        """One of them, float64 (H,), or many (..., H)."""
        return self._lookup[place]

    def frequencies(self, state: np.ndarray, slot: int, rows: np.ndarray | int) -> np.ndarray:
        """int64 (..., A), at least 1, each A sums to 2^24, of sums float64 (..., H) and rows int64
        (...) of the slot's table."""
        state = np.maximum(state, 0)
        deeper = state @ self._hidden
        deeper += self._hidden_bias
        deeper *= 1 / (1 << HIDDEN_BITS)
        state = state + np.maximum(np.floor(deeper, out=deeper), 0, out=deeper)
        logits = state @ self._out[slot]
        logits += self._out_bias[slot]
        logits *= 1 / (1 << LOGIT_SHIFT)
        np.floor(logits, out=logits)
        logits += self._base[slot][rows]
        return normalised(logits)

    def prices(self, state: np.ndarray, slot: int, rows: np.ndarray) -> np.ndarray:
        """What each symbol costs in bits, float32 (B, A): nearly, but sooner than ``frequencies``,
        for encoders that weigh what to send."""
        hidden, hidden_bias = self._short
        state = np.maximum(state, 0).astype(np.float32)
        deeper = (state @ hidden + hidden_bias) * np.float32(2.0**-HIDDEN_BITS)
        state += np.maximum(deeper, 0, out=deeper)
        out, out_bias = self._short_out
        bits = state @ out[slot]
        bits += out_bias[slot]
        bits *= np.float32(2.0**-LOGIT_SHIFT / UNIT)
        bits += (self._base[slot][rows] / UNIT).astype(np.float32)
        bits -= bits.max(-1, keepdims=True)
        whole = np.log2(np.exp2(bits).sum(-1, keepdims=True))
        return np.minimum(whole - bits, np.float32(24))  # no frequency is less than 1


def logarithms(table: np.ndarray) -> np.ndarray:
    """Frequencies (...), at least 1 -> their binary logarithms in 1/256, int64, by integers."""
    count = table.astype(np.int64)
    places = np.frexp(count.astype(np.float64))[1] - 1  # exact: a count has 24 digits at most
    return places * UNIT + LOGARITHMS[((count << 8) >> places) & (UNIT - 1)]


def normalised(logits: np.ndarray) -> np.ndarray:
    """Logits (..., A), whole numbers in 1/256 bit -> frequencies int64 (..., A)."""
    best = logits.argmax(-1)
    most = logits.max(-1, keepdims=True)
    below = (most - logits).astype(np.int64)
    weights = POWERS[below & (UNIT - 1)] >> np.minimum(below >> 8, 40)
    weights *= TOTAL - logits.shape[-1]
    spare = weights.sum(-1, keepdims=True) // (TOTAL - logits.shape[-1])
    weights //= spare
    weights += 1
    # Rounding leaves a few units; the likeliest symbol takes them.
    left = TOTAL - weights.sum(-1)
    if logits.ndim == 1:
        weights[best] += left
    else:
        weights[np.arange(len(weights)), best] += left
    return weights


def check(arrays: Mapping[str, np.ndarray], name: str, places: int, slots: int, count: int) -> None:
    """``ModelError`` unless the prior's arrays are there, with so many rows to look up, slots, and
    symbols each."""
    found = {part: arrays.get(f"prior.{name}.{part}") for part in PARTS}
    for part, kind in PARTS.items():
        one = found[part]
        if one is None or one.dtype != kind:
            raise ModelError(f"The codebook is not usable: prior.{name}.{part} is missing or odd.")
    width = found["hidden_bias"].size  # type: ignore[union-attr]
    shapes = (places, width), (width, width), (width,), (slots, width, count), (slots, count)
    for part, shape in zip(PARTS, shapes, strict=True):
        if found[part].shape != shape:  # type: ignore[union-attr]
            raise ModelError(f"The codebook is not usable: prior.{name}.{part} is not {shape}.")
