"""Later identities that come in pieces, so that segments needn't wait for a whole picture."""

from __future__ import annotations

from avcc.container import layout
from avcc.container.layout import Chunk, pack_chunk

LAST = 128  # flag: no piece follows; the rest of the flags is the number of the piece


class Pieces:
    """Puts pieces together, in the order of a file."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def add(self, chunk: Chunk) -> Chunk | None:
        """The identity, as a chunk of its own, where this piece was its last one."""
        number = chunk.flags & ~LAST
        if not number:
            self._parts = []
        if number != len(self._parts):  # one is missing: what there is makes no sense
            self._parts = []
            return None
        self._parts.append(chunk.payload)
        if sum(map(len, self._parts)) > layout.PAYLOAD_MOST[layout.IDENTITY]:
            self._parts = []
            return None
        if not chunk.flags & LAST:
            return None
        payload, self._parts = b"".join(self._parts), []
        return Chunk(layout.IDENTITY, layout.LATER, payload, chunk.start, chunk.end)


def pack_pieces(identity: bytes, size: int) -> list[bytes]:
    """The payload of a later identity as chunks of ``size`` bytes or a little more of it each."""
    size = max(size, -(-len(identity) // LAST))
    parts = [identity[a : a + size] for a in range(0, len(identity), size)]
    last = len(parts) - 1
    return [pack_chunk(layout.PIECE, n | LAST * (n == last), p) for n, p in enumerate(parts)]
