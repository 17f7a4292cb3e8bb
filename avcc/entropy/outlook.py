"""What each prior is told on the way through a segment, by the layouts of ``places.py``."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from avcc.entropy.places import NONE, AcousticLayout, MotionLayout
from avcc.entropy.primitive import Ask
from avcc.entropy.tables import BOUNDS, REACH, Codebook
from avcc.stages import OperatingPoint


class MotionOutlook:
    """What the prior of motion is told on the way through a segment."""

    def __init__(self, book: Codebook, point: OperatingPoint) -> None:
        assert book.motion_prior
        self._prior = book.motion_prior
        self._layout = MotionLayout(book.directions, book.steps)
        self._point = self._layout.point(point.motion_stride, point.motion_step)
        each = np.arange(book.directions)
        self._which = self._prior.row(self._layout.bias(0) + each)
        self._earlier = [REACH] * book.directions  # symbols two codes before
        self._now = [REACH] * book.directions

    def begin(self, values: list[int], means: list[int]) -> None:
        """A code, after the values of the last and the means so far."""
        last = self._now
        levels = [bisect_right(BOUNDS, mean) for mean in means]
        told = (np.array(x) for x in (last, self._earlier, values, levels))
        places = np.append(self._layout.before(*told), self._point)
        self._state = self._prior.told(places)
        self._earlier, self._now = last, []

    def ask(self, k: int, row: int, symbol: int | None) -> Ask:
        """For the change of a coefficient."""
        state = self._state + self._which[k]
        return Ask(self._prior, k, state, row, symbol)

    def came(self, k: int, symbol: int) -> None:
        """The symbol that this was."""
        self._now.append(symbol)
        self._state = self._state + self._prior.row(self._layout.now(k, symbol))


class AcousticOutlook:
    """The same of acoustic tokens; of silence too ``begin`` hears."""

    def __init__(self, book: Codebook, layers: int) -> None:
        assert book.acoustic_prior
        self._prior = book.acoustic_prior
        self._layout = AcousticLayout(book.layers)
        self._sent = self._layout.sent(layers)
        self._which = self._prior.row(self._layout.bias(0) + np.arange(layers))
        self._none = [NONE] * layers
        self._earlier = self._last = self._now = self._none

    def begin(self) -> None:
        """A frame."""
        self._earlier, self._last = self._last, self._now
        self._now = self._none

    def ask(self, layer: int, row: int, token: int | None) -> Ask:
        """For the token of a layer, from the first on."""
        if layer == 0:
            told = self._layout.before(np.array(self._last), np.array(self._earlier))
            self._state = self._prior.told(np.append(told, self._sent))
            self._now = []
        state = self._state + self._which[layer]
        return Ask(self._prior, layer, state, row, token)

    def came(self, layer: int, token: int) -> None:
        """The token that this was."""
        self._now.append(token)
        self._state = self._state + self._prior.row(self._layout.now(layer, token))
