"""Whether a file is whole, and what ``decode`` will do where it isn't: ``avcc info --check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from avcc.container import layout
from avcc.container.read import chunks
from avcc.stages import Head

NAMES = {
    layout.HEAD: "head",
    layout.IDENTITY: "identity",
    layout.PIECE: "piece",
    layout.SEGMENT: "segment",
    layout.COPY: "copy",
    layout.LIPS: "lips",
    layout.PITCH: "pitch",
    layout.FINER: "pitch",
    layout.SCENE: "scene",
    layout.END: "end",
}


@dataclass(frozen=True)
class Gap:
    """A run of lost segments: numbers and frames, the last ones included."""

    first: int
    last: int
    first_frame: int
    last_frame: int


def gaps(head: Head, lost: Collection[int]) -> list[Gap]:
    """Lost segments as runs, rising."""
    runs = []
    for _, run in groupby(enumerate(sorted(lost)), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        first_frame, end = (head.segment_frames * n for n in (numbers[0], numbers[-1] + 1))
        runs.append(Gap(numbers[0], numbers[-1], first_frame, min(head.frames, end) - 1))
    return runs


def check(
    data: bytes,
    head: Head,
    lost: Collection[int],
    copied: Collection[int],
    damage: Collection[str],
    verified: bool,
) -> dict[str, Any]:
    """What there is of a file that could be read, as values that JSON can hold.

    ``lost``: numbers of the segments that can't be decoded, ``copied``: of those of which only a
    coarse copy can; ``damage``: everything that reading and decoding the symbols complained about;
    ``verified``: whether the symbols were decoded (their codebook was there), and not only the
    checksums compared.
    """
    found = [chunk for chunk in chunks(data) if not isinstance(chunk, str)]
    kinds = Counter(NAMES.get(chunk.type, "other") for chunk in found)
    return {
        "whole": not damage and not lost and not copied,
        "verified": "symbols" if verified else "checksums",
        "chunks": {name: kinds[name] for name in (*NAMES.values(), "other")},
        "segments": head.segments,
        "segments_lost": sorted(lost),
        "segments_copied": sorted(copied),
        "damage": list(damage),
        "concealed": [
            {
                "segments": [gap.first, gap.last],
                "frames": [gap.first_frame, gap.last_frame],
                "how": _filled(head, gap),
            }
            for gap in gaps(head, lost)
        ],
    }


def lines(told: dict[str, Any]) -> list[str]:
    """What ``check`` told, as lines for people."""
    due, copied = told["segments"], len(told["segments_copied"])
    sound = due - len(told["segments_lost"]) - copied
    what = "checksums and symbols" if told["verified"] == "symbols" else "checksums alone"
    sums = ", ".join(f"{count} {name}" for name, count in told["chunks"].items() if count)
    coarsely = f", {copied} coarsely" if copied else ""
    out = [
        f"check of {what}: {sums} chunks are sound;"
        f" {sound} of {due} segments can be decoded{coarsely}"
    ]
    out += [f"damage: {sentence}" for sentence in told["damage"]]
    out += [gap["how"] for gap in told["concealed"]]
    out.append("nothing is damaged or missing" if told["whole"] else "the file is damaged")
    return out


def _filled(head: Head, gap: Gap) -> str:
    """A sentence on what ``decode`` puts in a gap."""
    rate, point = float(head.rate), head.point
    start, end = gap.first_frame / rate, (gap.last_frame + 1) / rate
    numbers = f"segment {gap.first}" if gap.first == gap.last else ""
    numbers = numbers or f"segments {gap.first} to {gap.last}"
    first, last = gap.first == 0, gap.last_frame == head.frames - 1
    if not point.motion_stride or (first and last):
        moves = "the face stays as in the key frame"
    elif first or last:
        moves = f"the face is held as {'after' if first else 'before'} it"
    else:
        moves = "the face moves on from where it was to where it will be"
    sounds = ", the voice is made up" if head.samples else ""
    return f"decode fills {start:.2f} to {end:.2f} s ({numbers}): {moves}{sounds}"
