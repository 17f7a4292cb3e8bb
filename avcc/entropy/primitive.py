"""What the traversal of ``context.py`` needs of whoever codes, reads or counts symbols."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from avcc.entropy.prior import Prior


class Coder(Protocol):
    """What the traversal needs: a kind to book under, and the one primitive."""

    kind: str  # "motion", "audio", "pitch" or "identity": what the next symbols belong to

    def code(self, table: str, row: int, symbol: int | None) -> int:
        """Code one symbol of row ``row`` of ``table.<table>``; decoders get ``None``.

        The table ``bit`` is built in: two symbols of frequency 2^23.
        """

    def foretold(
        self, prior: Prior, slot: int, state: np.ndarray, row: int, symbol: int | None
    ) -> int:
        """The same by what ``prior`` makes of that row of the slot's table and of ``state``.

        The state, float64 (H,), is never written to again.
        """
