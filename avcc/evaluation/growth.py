"""How time and memory grow with a clip's length, beside x264's encoding of the very same clip.

A clip is played forth and back until it lasts long enough. Encoding and decoding are the commands,
each in a process of its own with files at both ends, start and loading of weights included; so is
the reference: ``python -m avcc.evaluation.growth FILE`` decodes the file and codes it by x264
(preset medium, CRF 23, one thread). Ratios to it, taken in one run, say more of a machine that does
other things too than seconds do. Peak memory is what the system books for each process.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from avcc.evaluation.memory import Cost, cost
from avcc.media.read import read
from avcc.media.write import write
from avcc.stages import FRAME_RATE, SAMPLES_PER_FRAME, Clip

LENGTHS = (10.0, 60.0, 600.0)
REFERENCE = {"preset": "medium", "crf": "23"}


@dataclass(frozen=True)
class Length:
    """All three processes for one length in seconds."""

    seconds: float
    encode: Cost
    decode: Cost
    reference: Cost


def lengths(path: Path, wanted: Sequence[float], rate: float) -> Iterator[Length]:
    """The costs of each length as it is done. Raises ``AvccError``."""
    clip = read(path)
    frames = np.stack(list(clip.frames))
    for seconds in wanted:
        with tempfile.TemporaryDirectory(prefix="avcc-growth-") as folder:
            source, coded, back = (Path(folder, n) for n in ("long.mp4", "long.avc", "back.mp4"))
            write(source, looped(frames, clip.audio, seconds))
            run = [sys.executable, "-m", "avcc"]
            yield Length(
                seconds,
                cost([*run, "encode", str(source), "-b", str(round(rate)), "-o", str(coded), "-q"]),
                cost([*run, "decode", str(coded), "-o", str(back), "-q"]),
                cost([sys.executable, "-m", "avcc.evaluation.growth", str(source)]),
            )


class Forth:
    """Pictures forth and back until there are ``count``; iterating needs no more than one."""

    def __init__(self, pictures: np.ndarray, count: int) -> None:
        self._pictures, self._count = pictures, count

    def __iter__(self) -> Iterator[np.ndarray]:
        length = len(self._pictures)
        for i in range(self._count):
            turn, place = divmod(i, length)
            yield self._pictures[length - 1 - place if turn % 2 else place]


def looped(frames: np.ndarray, audio: np.ndarray | None, seconds: float) -> Clip:
    """Frames (N, 256, 256, 3) forth and back, the sound again and again, for so long."""
    count = max(1, round(seconds * float(FRAME_RATE)))
    sound = None
    if audio is not None:
        whole = np.pad(audio, (0, max(0, len(frames) * SAMPLES_PER_FRAME - len(audio))))
        sound = np.resize(whole, count * SAMPLES_PER_FRAME)
    return Clip(Forth(frames, count), count, sound)


def table(found: Sequence[Length]) -> str:
    """Times over duration, and both times and peaks as ratios to x264's."""
    heads = ("length, s", "encode", "decode", "x264", "enc/x264", "dec/x264",
             "enc MiB", "dec MiB", "x264 MiB", "enc/x264", "dec/x264")  # fmt: skip
    lines = [" ".join(f"{head:>11}" for head in heads)]
    for one in found:
        costs = one.encode, one.decode, one.reference
        times = [cost.seconds / one.seconds for cost in costs]
        peaks = [cost.peak for cost in costs]
        cells = [f"{one.seconds:g}", *(f"{x:.2f}" for x in times)]
        cells += [f"{x / times[2]:.1f}" for x in times[:2]]
        cells += [f"{x:.0f}" for x in peaks] + [f"{x / peaks[2]:.1f}" for x in peaks[:2]]
        lines.append(" ".join(f"{cell:>11}" for cell in cells))
    return "\n".join(["Time over duration, and peak memory, beside x264:", *lines])


def reference(path: Path) -> int:
    """Decode a file's pictures and code them by x264; the bytes that come out."""
    context: Any = av.CodecContext.create("libx264", "w")
    size = 0
    with av.open(str(path)) as box:
        stream = box.streams.video[0]
        context.width, context.height, context.pix_fmt = stream.width, stream.height, "yuv420p"
        context.framerate, context.time_base = FRAME_RATE, Fraction(1 / FRAME_RATE)
        context.thread_count, context.options = 1, REFERENCE
        for frame in box.decode(stream):
            plain = frame.reformat(format="yuv420p")
            plain.pict_type = 0  # not that of the file
            size += sum(len(bytes(packet)) for packet in context.encode(plain))
        size += sum(len(bytes(packet)) for packet in context.encode(None))
    return size


if __name__ == "__main__":
    print(reference(Path(sys.argv[1])))
