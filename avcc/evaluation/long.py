"""``python -m avcc.evaluation.long CLIP``: time by stage and peak memory of a clip made long.

``growth`` times the commands as a whole, beside x264; this looks inside.

The clip's pictures are played forth and back, its sound again and again, until they last. Encoding
and decoding run in a process each, through files, as the commands do it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from avcc.errors import AvccError
from avcc.evaluation.growth import looped
from avcc.media.read import read
from avcc.media.write import write
from avcc.options import parse_rate


class Clock:
    """Books the time since it was last asked under the stage that asks: stages tell when a part of
    their work is done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str, share: float = 1.0) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def encoded(source: str, target: str, rate: float) -> dict[str, float]:
    """Seconds by stage, and the peak of memory in MB."""
    clock = Clock()
    from avcc.codec import Codec

    clock("loading")
    clip = read(source, progress=lambda share: clock("reading"))
    data = Codec("cpu").encode(clip, rate, progress=clock)
    Path(target).write_bytes(data)
    clock("fitting")
    return clock.seconds | {"peak": _peak(), "kbps": 8 * len(data) / float(clip.duration) / 1000}


def decoded(source: str, target: str) -> dict[str, float]:
    """Seconds by stage, and the peak of memory in MB."""
    clock = Clock()
    from avcc.codec import Codec

    clock("loading")
    clip = Codec("cpu").decode(Path(source).read_bytes(), progress=clock)
    clock("speaking")
    write(target, clip, progress=lambda share: clock("drawing and writing"))
    clock("drawing and writing")
    return clock.seconds | {"peak": _peak()}


def main() -> int:
    """The command line; 0, or 1 where the clip can't be used."""
    parser = argparse.ArgumentParser(prog="python -m avcc.evaluation.long", description=__doc__)
    parser.add_argument("clip", help="a video of a person talking")
    parser.add_argument("--minutes", default="0.5,5", help="how long to make it (0.5,5)")
    parser.add_argument("--rate", type=parse_rate, default=2000.0, help="bits a second (2k)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, source, target = options.child
        found = encoded(source, target, options.rate) if what == "encode" else None
        print(json.dumps(found or decoded(source, target)))
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
            for what, a, b in (("encode", source, coded), ("decode", coded, f"{folder}/back.mp4")):
                print(f"  {what}: {_told(_run(options, what, a, b), 60 * minutes)}", flush=True)
    return 0


def _run(options: argparse.Namespace, what: str, source: str, target: str) -> dict[str, float]:
    command = [sys.executable, "-m", "avcc.evaluation.long", options.clip]
    command += ["--rate", f"{options.rate:.0f}", "--child", what, source, target]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _told(found: dict[str, float], seconds: float) -> str:
    peak, kbps = found.pop("peak"), found.pop("kbps", None)
    total = sum(found.values()) - found["loading"]
    split = ", ".join(f"{name} {value:.1f} s" for name, value in found.items())
    rate = "" if kbps is None else f", {kbps:.3f} kbps"
    return f"{total / seconds:.2f} of its duration, peak {peak:.0f} MB{rate} ({split})"


def _peak() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most / 1e3


if __name__ == "__main__":
    sys.exit(main())
