"""How long an open stream is: it was begun before anybody knew."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property

from avcc.container import layout
from avcc.container.layout import Chunk, Cursor
from avcc.errors import FormatError
from avcc.stages import SAMPLES_PER_FRAME


class Length:
    """Of what follows a head; called where the head leaves it open (``layout.Ending``).

    ``opened``: whether it was called; ``said``: whether an end was found, and not only segments.
    """

    def __init__(self, found: Iterable[Chunk | str]) -> None:
        self._found = found
        self.opened = self.said = False

    @cached_property
    def chunks(self) -> list[Chunk | str]:
        """All that follows, in order."""
        return list(self._found)

    def __call__(self, sound: bool, each: int) -> tuple[int, int]:
        """(frames, samples), of segments of ``each`` frames: what the first end says that makes
        sense, or all segments up to the last one that is there. ``FormatError``: there is
        neither."""
        self.opened = True
        there = [chunk for chunk in self.chunks if isinstance(chunk, Chunk)]
        for chunk in there:
            if chunk.type == layout.END:
                with suppress(FormatError):
                    length = _said(chunk, sound)
                    self.said = True
                    return length
        last, most = -1, -(-layout.FRAMES_MOST // each)
        for chunk in there:
            if chunk.type == layout.SEGMENT:
                with suppress(FormatError):
                    last = max(last, numbered(chunk, most)[0])
        if last < 0:
            raise FormatError("The stream ends before its first segment.")
        frames = each * (last + 1)
        return frames, frames * SAMPLES_PER_FRAME if sound else 0


def _said(chunk: Chunk, sound: bool) -> tuple[int, int]:
    layout.bounded(chunk.flags, 0, 0, "flags of the end")
    cursor = Cursor(chunk.payload)
    length = layout.parse_length(cursor, sound)
    layout.bounded(len(cursor.rest()), 0, 0, "length behind the end's fields")
    return length


def numbered(chunk: Chunk, count: int) -> tuple[int, bytes]:
    """(number, payload) of one of ``count`` segments or parts; ``FormatError`` if out of range."""
    what = "part of the pitch" if chunk.type in (layout.PITCH, layout.FINER) else "segment"
    cursor = Cursor(chunk.payload)
    number = layout.bounded(chunk.flags, 0, layout.NUMBERED, f"flags of a {what}")
    if number == layout.NUMBERED:
        number = cursor.varint(count - 1, f"number of a {what}", layout.NUMBERED)
    return layout.bounded(number, 0, count - 1, f"number of a {what}"), cursor.rest()
