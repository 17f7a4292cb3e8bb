"""What the motion and the voice of one clip cost, before all of it is coded."""

from __future__ import annotations

import numpy as np

from avcc.encoder import Encoder
from avcc.entropy.count import segment_bits
from avcc.quantise.rate import priced
from avcc.quantise.symbols import Tokens
from avcc.stages import Features, OperatingPoint

SAMPLED = 12  # segments of a long clip from which all that may be sent is priced, by drafts
WEIGHED = 96  # segments from which one choice is, as it will be sent
SURE = 2.0  # standard errors of that, to be on the safe side


class Prices:
    """Of one clip's ``features`` in ``count`` segments."""

    def __init__(self, nets: Encoder, features: Features, tokens: Tokens, count: int) -> None:
        self._quantiser, self._book = nets.quantiser, nets.book
        self._features, self._tokens, self._count = features, tokens, count

    def all(self, sound: bool) -> tuple[dict[tuple[int, int], float], dict[int, float]]:
        """Bytes of every motion and every voice, as ``quantise.rate.Costs`` has them, by drafts of
        some segments: a little dear, all by about as much. ``sound``: whether there is any."""
        chosen = self._some(SAMPLED)

        def bits(point: OperatingPoint, which: int) -> float:
            return float(self._bits(point, chosen, draft=True)[:, which].mean()) * self._count

        return priced(bits, self._book.depths if sound else range(0))

    def weighed(self, point: OperatingPoint) -> tuple[float, float]:
        """Bytes of motion and voice at one operating point, as they will be; in a long clip at
        most, nearly surely."""
        chosen = self._some(WEIGHED)
        each = self._bits(point, chosen)
        mean = each.mean(0)
        if len(chosen) < self._count:
            mean += SURE * each.std(0, ddof=1) / np.sqrt(len(chosen))
        motion, voice = mean * self._count / 8
        return float(motion), float(voice)

    def _some(self, most: int) -> list[int]:
        """Numbers of segments, all over the clip."""
        at = np.unique(np.linspace(0, self._count - 1, most).astype(int))
        found: list[int] = at.tolist()
        return found

    def _bits(self, point: OperatingPoint, chosen: list[int], draft: bool = False) -> np.ndarray:
        """Bits of motion and voice of some segments, (n, 2)."""
        known = self._features, self._tokens, point, chosen
        segments = self._quantiser.segments(*known, draft=draft)
        return np.array([segment_bits(one, point, self._book) for one in segments])
