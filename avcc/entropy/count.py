"""Walking through symbols without coding them: what they would cost, and how often they come.

``Cost`` is for rate control and ``info``, ``Counter`` for training tables. Both offer the primitive
that the traversal of ``context.py`` calls, so they see exactly the rows that the coder would use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from avcc.entropy import glide
from avcc.entropy.context import segment
from avcc.entropy.foretold import Foretold
from avcc.entropy.primitive import Ask
from avcc.entropy.tables import TOTAL, Codebook
from avcc.stages import OperatingPoint, Segment

# What is in no codebook: plain bits, and how pitches move.
BUILT_IN = {
    "bit": np.full((1, 2), TOTAL // 2, np.uint32),
    "glide": glide.frequencies(TOTAL),
}


class Rows(dict[tuple[str, int], Any]):
    """What ``make`` gives for each (table, row), made when first asked for."""

    def __init__(self, book: Codebook, make: Callable[[np.ndarray], Any]) -> None:
        super().__init__()
        self._tables = book.tables | BUILT_IN
        self._make = make

    def __missing__(self, key: tuple[str, int]) -> Any:
        table, row = key
        made = self[key] = self._make(self._tables[table][row])
        return made


def _bits(row: np.ndarray) -> list[float]:
    """What each symbol of a row costs, in bits."""
    return (math.log2(TOTAL) - np.log2(row.astype(np.float64))).tolist()


@lru_cache(maxsize=4)
def _costs(book: Codebook) -> Rows:
    return Rows(book, _bits)


class Cost:
    """Sums what coding would cost, in bits, by kind: ``bits["motion"]`` and so on."""

    def __init__(self, book: Codebook) -> None:
        self.kind = ""
        self._bits = {"motion": 0.0, "audio": 0.0, "pitch": 0.0, "identity": 0.0}
        self._rows = _costs(book)
        self._foretold = Foretold()
        self._due: list[tuple[str, int]] = []

    def code(self, table: str, row: int, symbol: int | None) -> int:
        """Add the cost of ``symbol`` and return it."""
        if symbol is None:
            raise ValueError("a counter of bits needs a symbol")
        self._bits[self.kind] += self._rows[table, row][symbol]
        return symbol

    def foretold(self, ask: Ask) -> int:
        """The same, when somebody asks for ``bits``."""
        if ask.symbol is None:
            raise ValueError("a counter of bits needs a symbol")
        self._foretold.add(ask)
        self._due.append((self.kind, ask.symbol))
        return ask.symbol

    @property
    def bits(self) -> dict[str, float]:
        """What all symbols so far cost."""
        due, self._due = self._due, []
        for (kind, symbol), prices in zip(due, self._foretold.taken(priced=True), strict=True):
            self._bits[kind] += float(prices[symbol])
        return self._bits


class Counter:
    """Counts symbols by table row; what ``frequencies`` makes tables from."""

    def __init__(self, book: Codebook) -> None:
        self.kind = ""
        self._shapes = {name: table.shape for name, table in book.tables.items()}
        self._counts: dict[tuple[str, int, int], int] = {}

    def code(self, table: str, row: int, symbol: int | None) -> int:
        """Count ``symbol`` and return it."""
        if symbol is None:
            raise ValueError("a counter needs a symbol")
        key = (table, row, symbol)
        self._counts[key] = self._counts.get(key, 0) + 1
        return symbol

    def foretold(self, ask: Ask) -> int:
        """Counted in the row that a prior corrects."""
        return self.code(ask.prior.tables[ask.slot], ask.row, ask.symbol)

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """Short table name -> int64 (contexts, symbols), for every table of the codebook."""
        found = {name: np.zeros(shape, np.int64) for name, shape in self._shapes.items()}
        for (table, row, symbol), count in self._counts.items():
            if table not in BUILT_IN:
                found[table][row, symbol] = count
        return found


def segment_bits(seg: Segment, point: OperatingPoint, book: Codebook) -> tuple[float, float]:
    """(motion, audio) bits of one segment before the 4 or so that closing it costs."""
    cost = Cost(book)
    segment(cost, book, point, seg.frames, seg)
    return cost.bits["motion"], cost.bits["audio"]
