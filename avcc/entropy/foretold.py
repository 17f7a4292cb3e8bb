"""Requests to priors that wait, so that many are answered at once.

A network that is asked for one symbol spends its time on being called.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np

from avcc.entropy.primitive import Ask


class Foretold:
    """What waits to be foretold."""

    def __init__(self) -> None:
        self._waiting: list[Ask] = []

    def add(self, ask: Ask) -> int:
        """The number of one more."""
        self._waiting.append(ask)
        return len(self._waiting) - 1

    def taken(self, priced: bool = False) -> list[np.ndarray]:
        """The frequencies int64 (A,) of all, or prices, by their numbers; none wait any more."""
        waiting, self._waiting = self._waiting, []
        out: list[np.ndarray] = [np.zeros(0, np.int64)] * len(waiting)

        def of(number: int) -> tuple[int, int]:
            return id(waiting[number].prior), waiting[number].slot

        for (_, slot), same in groupby(sorted(range(len(waiting)), key=of), of):
            numbers = list(same)
            states = np.stack([waiting[n].state for n in numbers])
            rows = np.array([waiting[n].row for n in numbers])
            prior = waiting[numbers[0]].prior
            found = (prior.prices if priced else prior.frequencies)(states, slot, rows)
            for number, one in zip(numbers, found, strict=True):
                out[number] = one
        return out
