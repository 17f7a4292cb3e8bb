"""What the priors are told: which rows of their lookups say what was coded before.

Coder (``outlook.py``) and training share these layouts (docs/format.md, "Priors").
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np

VALUES = 40  # a coefficient is told from -40 to 40; beyond, as these
STRIDES = (2, 3, 5)  # a stride is told as how many of these it reaches
LEVELS = 12  # of a coefficient's adaptive mean
SIGNED = 62  # symbols of a signed value: 0..60 for -30..30, 61 the escape
NONE = 256  # stands for the acoustic token of a frame that has none
CODES = 257


@dataclass(frozen=True)
class MotionLayout:
    """Of ``count`` coefficients and so many ``steps``: the changes one and two codes before and
    those of this code so far, values, levels of the means, stride and step, the coefficient."""

    count: int
    steps: int

    @property
    def size(self) -> int:
        """Rows of the lookup."""
        return self.bias(self.count)

    @cached_property
    def _each(self) -> np.ndarray:
        return np.arange(self.count)

    def before(
        self, last: np.ndarray, earlier: np.ndarray, values: np.ndarray, levels: np.ndarray
    ) -> np.ndarray:
        """Of symbols (..., K) one and two codes before, values and levels: places (..., 4 K)."""
        each, block = self._each, self.count * SIGNED
        near = np.clip(values, -VALUES, VALUES) + VALUES
        told = (
            each * SIGNED + last,
            block + each * SIGNED + earlier,
            3 * block + each * (2 * VALUES + 1) + near,
            self._levels + each * LEVELS + levels,
        )
        return np.concatenate(told, -1)

    @property
    def _levels(self) -> int:
        return self.count * (3 * SIGNED + 2 * VALUES + 1)

    def now(self, coefficient: int, symbol: int) -> int:
        """Of a change in this code."""
        return (2 * self.count + coefficient) * SIGNED + symbol

    def point(self, stride: int, step: int) -> int:
        """Of how finely motion is sent."""
        reached = bisect_right(STRIDES, stride)
        return self._levels + self.count * LEVELS + reached * self.steps + step

    def bias(self, coefficient: int) -> int:
        """Of which coefficient is due."""
        return self.point(STRIDES[-1], self.steps - 1) + 1 + coefficient


@dataclass(frozen=True)
class AcousticLayout:
    """Of ``count`` layers: the tokens one and two frames before and those of this frame so far,
    how many layers are sent, the layer."""

    count: int

    @property
    def size(self) -> int:
        """Rows of the lookup."""
        return self.bias(self.count)

    def before(self, last: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        """Of tokens (..., n) one and two frames before, or ``NONE``: places (..., 2 n)."""
        each = np.arange(last.shape[-1]) * CODES
        return np.concatenate([each + last, self.count * CODES + each + earlier], -1)

    def now(self, layer: int, token: int) -> int:
        """Of a token of this frame."""
        return (2 * self.count + layer) * CODES + token

    def sent(self, layers: int) -> int:
        """Of how many layers are sent, at least one."""
        return 3 * self.count * CODES + layers - 1

    def bias(self, layer: int) -> int:
        """Of which layer is due."""
        return self.count * (3 * CODES + 1) + layer
