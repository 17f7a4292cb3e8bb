"""Later key frames of a clip that isn't over: pose and light change.

One is taken about once a minute, and goes along with the segments in small pieces (every so many of
them, where they are short); it is coded by a thread of its own while the next segment comes. So it
never makes one of them wait.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import ceil

from avcc.analysis import identity
from avcc.container.pieces import pack_pieces
from avcc.container.write import identity_payload
from avcc.stages import KeyFrame

SHARE, SECONDS = 0.1, 60.0  # of the bits that segments have, and for how long
HURRIED = 0.4, 16.0  # the same where another shot has begun
RHYTHM = 4.0  # seconds at most between pieces
FRAMING = 7  # bytes of a piece's chunk beside what it holds
LEAST = 25  # bytes of a piece; a picture of fewer isn't worth having


class Renewal:
    """``share``: bytes of a segment at the rate that was asked for, ``seconds``: its length."""

    def __init__(self, share: float, seconds: float) -> None:
        self._share, self._seconds = share, seconds
        self._every, self._passed = 1, 0  # segments from piece to piece, and since the last one
        self._coder = ThreadPoolExecutor(1, "avcc-renewal")
        self._coming: Future[list[bytes]] | None = None
        self._waiting: list[bytes] = []

    @property
    def wanted(self) -> bool:
        """Whether another picture may be taken now."""
        return not self._waiting and self._coming is None

    def take(self, key: KeyFrame, code: Callable[[KeyFrame], bytes], hurry: bool = False) -> None:
        """A picture to send, from the next ``piece`` on; ``code``: gives what is coded of its shape
        and the voice. ``hurry``: instead of what is still waiting."""
        share, seconds = HURRIED if hurry else (SHARE, SECONDS)
        least = (LEAST + FRAMING) / (share * self._share)
        self._every = max(1, min(round(RHYTHM / self._seconds), ceil(least)))
        pieces = round(seconds / (self._every * self._seconds))
        size = int(share * self._share * self._every) - FRAMING
        if size >= LEAST:
            self._coming = self._coder.submit(_pieces, key, code(key), size, pieces)

    def piece(self) -> bytes:
        """The chunk that goes along with the next segment; empty where there is none."""
        if self._coming is not None:
            self._waiting = self._coming.result() or self._waiting
            self._coming, self._passed = None, self._every
        self._passed += 1
        if not self._waiting or self._passed < self._every:
            return b""
        self._passed = 0
        return self._waiting.pop(0)

    def close(self) -> None:
        """End the thread."""
        self._coder.shutdown()


def _pieces(key: KeyFrame, code: bytes, size: int, count: int) -> list[bytes]:
    """Chunks of about ``size`` bytes, ``count`` of them at most; none where no picture fits."""
    found = identity.fitting_picture(key.picture, count * size - len(code) - 8)
    if found is None:
        return []
    data, side = found
    return pack_pieces(identity_payload(key.frame, side, code, data), size)
