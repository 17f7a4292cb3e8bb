"""``python -m avcc.evaluation.call``: a call of any length, made of one clip again and again.

Coded as it would come, and, if asked for, decoded as it comes: what the rate is, how long a segment
keeps the sender and the receiver, and whether memory grows.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from avcc.codec import Codec
from avcc.evaluation.memory import resident
from avcc.media.live import PIECE
from avcc.media.read import read
from avcc.stages import SAMPLES_PER_FRAME, SEGMENT_SECONDS, Clip

MINUTE = 1500  # frames


class Call:
    """``clip`` again and again, there and back so that nothing leaps, in pieces."""

    def __init__(self, clip: Clip) -> None:
        frames = np.stack(list(clip.frames))
        self._pictures = np.concatenate([frames, frames[::-1]])
        count = len(frames) * SAMPLES_PER_FRAME
        self.sounds = clip.audio is not None
        wave = np.zeros(count, np.float32)
        if clip.audio is not None:
            wave[: len(clip.audio)] = clip.audio[:count]
        self._wave = np.concatenate([wave, wave])

    def piece(self, first: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The piece that begins with a frame of the call."""
        at = np.arange(first, first + PIECE) % len(self._pictures)
        sound = self._wave.reshape(-1, SAMPLES_PER_FRAME)[at].ravel()
        return self._pictures[at], sound if self.sounds else None


def held(
    clip: Clip, bitrate: float, minutes: float, shows: bool, segment: float = SEGMENT_SECONDS
) -> str:
    """A call of so many minutes, in segments of so many seconds: a line a minute on stderr, and
    what it was in all."""
    codec, call = Codec("cpu"), Call(clip)
    sender = codec.sender(bitrate, crop=clip.crop, sound=call.sounds, segment=segment)
    receiver = codec.receiver() if shows else None
    coding: list[float] = []
    showing: list[float] = []
    memory: list[float] = []
    data, spent, total = b"", 0.0, round(minutes * MINUTE)

    def show(ended: bool) -> None:
        if receiver is None:
            return
        began = time.perf_counter()
        for part in receiver(data, ended):
            for _ in part.frames:
                pass
            showing.append((time.perf_counter() - began) / (part.count / 25))
            began = time.perf_counter()

    for first in range(0, total, PIECE):
        began = time.perf_counter()
        new = sender(*call.piece(first))
        took = time.perf_counter() - began
        spent += took
        if new:
            coding.append(took)
            data += new
            show(False)
        if (first + PIECE) % MINUTE == 0:
            memory.append(resident())
            share = f"{8 * len(data) / ((first + PIECE) / 25):.0f} bit/s, {memory[-1]:.0f} MB"
            print(f"{(first + PIECE) // MINUTE} min: {share}", file=sys.stderr, flush=True)
    data += sender.close()
    show(True)
    lines = [
        f"{minutes:g} minutes at {8 * len(data) / (total / 25):.0f} bit/s; coded in"
        f" {spent / (total / 25):.2f} of that time; the first segment keeps the sender"
        f" {coding[0]:.2f} s, others {np.median(coding[1:] or coding):.2f}"
        f" (the slowest {max(coding[1:] or coding):.2f})",
    ]
    if showing:
        lines.append(f"shown in {np.median(showing):.2f} of the time (slowest {max(showing):.2f})")
    if memory:
        lines.append(f"memory after the first minute {memory[0]:.0f} MB, at most {max(memory):.0f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m avcc.evaluation.call", description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--bitrate", type=float, default=2000.0)
    parser.add_argument("--segment", type=float, default=SEGMENT_SECONDS, help="seconds")
    parser.add_argument("--shows", action="store_true", help="decode it, too")
    options = parser.parse_args(arguments)
    how = options.bitrate, options.minutes, options.shows, options.segment
    print(held(read(options.clip), *how))
    return 0


if __name__ == "__main__":
    sys.exit(main())
