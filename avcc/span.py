"""A part of a clip, and what of its file has to be decoded for it.

A picture needs the motion of its own frame and of the later key frames that it is drawn from, a
sound the mel of the piece that it is spoken in; each of those AVDiff's windows around it; each
window the symbols in it and a little beyond. All of it is
counted from the clip's own start, so a part is made of the same numbers as the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from avcc.diffusion.sample import plan
from avcc.errors import AvccError, FormatError
from avcc.shots import neighbours
from avcc.stages import FRAME_RATE, PITCH_FRAMES, SAMPLES_PER_FRAME, Stream

# Frames beyond a window that it depends on: up to 290 are estimated and followed together
# (``diffusion.conditions``), motion is interpolated between codes that lie up to 50 apart.
REACH = 340
# Frames beside one whose mel may decide how it sounds: a piece of a voice, and where it may end.
HEARD = 160


@dataclass(frozen=True)
class Span:
    """Frames ``first`` to before ``last``; ``windows`` of AVDiff and ``segments`` they need."""

    first: int
    last: int
    windows: tuple[tuple[int, int], ...]
    segments: frozenset[int]

    @property
    def count(self) -> int:
        """Frames of the part."""
        return self.last - self.first

    def samples(self, total: int) -> int:
        """Samples of the part of a clip that has ``total``; none lie behind its last picture."""
        return max(0, min(total, self.last * SAMPLES_PER_FRAME) - self.first * SAMPLES_PER_FRAME)

    def of(self, stream: Stream) -> Stream:
        """The stream without the segments, copies, and parts of the pitch that aren't needed."""
        each = stream.head.segment_frames
        spoken = {
            end // PITCH_FRAMES for n in self.segments for end in (n * each, (n + 1) * each - 1)
        }
        kept = (p if n in self.segments else None for n, p in enumerate(stream.segments))
        pitch = tuple(p if n in spoken else None for n, p in enumerate(stream.pitch))
        finer = tuple(p if n in spoken else None for n, p in enumerate(stream.finer))
        copies = (c if n in self.segments else None for n, c in enumerate(stream.copies))
        coded = replace(stream, segments=tuple(kept), copies=tuple(copies))
        return replace(coded, pitch=pitch, finer=finer)


def span(stream: Stream, start: float = 0.0, duration: float | None = None) -> Span:
    """The part of ``duration`` seconds (``None``: all there is) from ``start`` on, in whole frames.

    ``AvccError`` where the clip ends before it, ``FormatError`` for a frame rate that isn't 25 Hz.
    """
    head = stream.head
    if head.rate != FRAME_RATE:
        raise FormatError(f"The file has {head.rate} pictures a second; its model makes 25.")
    rate = float(FRAME_RATE)
    if not (0 <= start < head.frames / rate and (duration is None or duration > 0)):
        raise AvccError(
            f"the clip lasts {head.frames / rate:.2f} s; there is no part of it at {start:g} s"
            + (f" that lasts {duration:g} s" if duration is not None else "")
        )
    first = min(math.floor(start * rate + 1e-6), head.frames - 1)
    last = head.frames
    if duration is not None and duration * rate < head.frames:
        last = min(last, first + max(1, round(duration * rate)))
    keys = np.array([one[0] for one in stream.identities])
    used = np.unique(neighbours(keys, np.arange(first, last), stream.cuts))
    later = keys[used[used > 0]]  # the first key frame's mesh is sent, others' follow from motion
    heard = HEARD if head.samples else 0
    windows = tuple(
        (a, b)
        for a, b in plan(head.frames)
        if (a < last + heard and b > first - heard) or ((later >= a) & (later < b)).any()
    )
    needed: set[int] = set()
    for a, b in windows:
        ends = max(0, a - REACH), min(head.frames, b + REACH) - 1
        needed.update(range(*(end // head.segment_frames + i for i, end in enumerate(ends))))
    return Span(first, last, windows, frozenset(needed))
