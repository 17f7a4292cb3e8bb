"""``python -m avcc.evaluation.long CLIP``: time by stage and peak memory of a clip made long.

``growth`` times the commands as a whole, beside x264; this looks inside.

The clip's pictures are played forth and back, its sound again and again, until they last. Encoding,
decoding, and decoding ``SOUGHT`` seconds from the middle on run in a process each, through files,
as the commands do it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avcc.errors import AvccError
from avcc.evaluation.growth import looped
from avcc.evaluation.memory import own_peak, resident
from avcc.media.read import read
from avcc.media.write import write
from avcc.options import parse_rate

SOUGHT = 20.0  # seconds
Found = dict[str, dict[str, Any]]


class Clock:
    """Books the time since it was last asked under the stage that asks, which tells when a part of
    its work is done, and what memory is held once ``first`` of it is, and at most from then on."""

    def __init__(self, first: float) -> None:
        self.seconds: dict[str, float] = {}
        self.held: dict[str, tuple[float, float]] = {}  # MB, where a stage goes by parts
        self._first = first
        self._last = time.perf_counter()

    def __call__(self, stage: str, share: float | None = None) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
        if share is not None and share >= self._first:
            held = resident()
            early, most = self.held.get(stage, (held, held))
            self.held[stage] = early, max(most, held)

    @property
    def told(self) -> Found:
        """What was booked, and the peak of memory in MB."""
        return {
            "seconds": self.seconds,
            "held": self.held,
            "peak": {"MB": own_peak() * 2**20 / 1e6},
        }


def encoded(source: str, target: str, rate: float, first: float) -> Found:
    """What it took."""
    clock = Clock(first)
    from avcc.codec import Codec

    clock("loading")
    clip = read(source, progress=partial(clock, "reading"))
    data = Codec("cpu").encode(clip, rate, progress=clock)
    Path(target).write_bytes(data)
    clock("fitting")
    return clock.told | {"rate": {"kbps": 8 * len(data) / float(clip.duration) / 1000}}


def decoded(
    source: str, target: str, first: float, start: float = 0.0, duration: float | None = None
) -> Found:
    """What it took."""
    clock = Clock(first)
    from avcc.codec import Codec

    clock("loading")
    data = Path(source).read_bytes()
    clip = Codec("cpu").decode(data, start=start, duration=duration, progress=clock)
    clock("speaking")
    write(target, clip, progress=partial(clock, "drawing and writing"))
    clock("drawing and writing")
    return clock.told


def main() -> int:
    """The command line; 0, or 1 where the clip can't be used."""
    parser = argparse.ArgumentParser(prog="python -m avcc.evaluation.long", description=__doc__)
    parser.add_argument("clip", help="a video of a person talking")
    parser.add_argument("--minutes", default="0.5,5", help="how long to make it (0.5,5)")
    parser.add_argument("--rate", type=parse_rate, default=2000.0, help="bits a second (2k)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_child(options, *options.child)))
        return 0
    try:
        clip = read(options.clip)
    except AvccError as error:
        print(f"long: {error}", file=sys.stderr)
        return 1
    frames = np.stack(list(clip.frames))
    with tempfile.TemporaryDirectory(prefix="avcc-long-") as folder:
        for minutes in map(float, options.minutes.split(",")):
            source, coded = f"{folder}/long.mp4", f"{folder}/long.avc"
            write(source, looped(frames, clip.audio, 60 * minutes), overwrite=True)
            print(f"{minutes:g} minutes:", flush=True)
            for what, a, b in (
                ("encode", source, coded),
                ("decode", coded, f"{folder}/back.mp4"),
                ("seek", coded, f"{folder}/part.mp4"),
            ):
                seconds = SOUGHT if what == "seek" else 60 * minutes
                print(f"  {what}: {_told(_run(options, minutes, what, a, b), seconds)}", flush=True)
    return 0


def _child(options: argparse.Namespace, what: str, source: str, target: str) -> Found:
    minutes = float(options.minutes)
    if what == "encode":
        return encoded(source, target, options.rate, 1 / minutes)
    part = (30 * minutes, SOUGHT) if what == "seek" else ()
    return decoded(source, target, 1 / minutes, *part)


def _run(options: argparse.Namespace, minutes: float, *child: str) -> Found:
    command = [sys.executable, "-m", "avcc.evaluation.long", options.clip]
    command += ["--rate", f"{options.rate:.0f}", "--minutes", f"{minutes}", "--child", *child]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def _told(found: Found, seconds: float) -> str:
    spent = found["seconds"]
    total = sum(spent.values()) - spent["loading"]
    split = ", ".join(f"{name} {value:.1f} s" for name, value in spent.items())
    rate = f", {found['rate']['kbps']:.3f} kbps" if "rate" in found else ""
    held = [f"{name} {a:.0f} to {b:.0f} MB" for name, (a, b) in found["held"].items()]
    after = f"; after a minute's share: {', '.join(held)}" if held else ""
    return (
        f"{total / seconds:.2f} of its duration, peak {found['peak']['MB']:.0f} MB{rate}"
        f" ({split}{after})"
    )


if __name__ == "__main__":
    sys.exit(main())
