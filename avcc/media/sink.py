"""A binary stream to write media to: a file that is open already, or a pipe."""

from __future__ import annotations

import os
from typing import BinaryIO


def can_go_back(target: BinaryIO) -> bool:
    """Whether an index can be written into what lies behind: FFmpeg counts from byte 0.

    Not so where the stream begins with something else, or appends whatever is written to it.
    """
    try:
        if not target.seekable() or target.tell() != 0:
            return False
    except (AttributeError, OSError):
        return False
    if "a" in str(getattr(target, "mode", "")):
        return False
    try:  # "avcc decode talk.avc -o - >> all.mp4": only the system knows
        from fcntl import F_GETFL, fcntl

        return not fcntl(target.fileno(), F_GETFL) & os.O_APPEND
    except (ImportError, AttributeError, OSError):
        return True


class Sink:
    """A stream as PyAV sees it, which closing the container must not close; one that can't seek is
    flushed after every write."""

    def __init__(self, stream: BinaryIO, seekable: bool) -> None:
        self._stream = stream
        self._live = not seekable and hasattr(stream, "flush")  # whoever reads it may be waiting
        if seekable:
            self.seek, self.tell = stream.seek, stream.tell

    def write(self, data: bytes) -> int:
        """All of ``data``: one write of an unbuffered stream may take a part only."""
        at = 0
        while at < len(data):
            taken = self._stream.write(data[at:])
            at += len(data) if taken is None else taken
        if self._live:
            self._stream.flush()
        return len(data)

    def writable(self) -> bool:
        return True
