"""A stream of bytes that somebody is still writing."""

from __future__ import annotations

from typing import BinaryIO

PIECE = 1 << 16  # bytes taken at a time


class Incoming:
    """What came of ``file``: ``data``, at most ``most`` bytes and a few more."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        # A buffered reader waits until it has all that is asked for, unless asked for one read.
        self._read = getattr(file, "read1", file.read)
        self._most = most
        self._parts = bytearray()
        self.ended = False

    @property
    def data(self) -> bytes:
        """All so far."""
        return bytes(self._parts)

    def wait(self) -> None:
        """Until there is more, or will be none."""
        part = self._read(PIECE) if len(self._parts) <= self._most else b""
        self._parts += part
        self.ended = not part

    def rest(self) -> bytes:
        """All there is in the end."""
        while not self.ended:
            self.wait()
        return self.data
