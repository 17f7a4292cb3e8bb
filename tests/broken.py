"""``python -m tests.broken --count 60 --jobs 2``: batches in which most inputs are broken.

Half of the files go through ``avcc encode``, half through ``avcc decode``, each half as one command
line. File n of a seed is always the same. Whatever is sound must come out, what can't be done must
be named once, the codes must say so, and nothing half must lie about.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from avcc.terminal import FAILED, OK
from tests.clips import Recipe, clicks, make
from tests.fuzz import VECTORS, case, corpus

ROOT = Path(__file__).parent.parent
VECTOR = VECTORS / "4a33bd00-2k.avc"
Maker = Callable[[np.random.Generator], bytes]


@cache
def clip(face: bool = True, front: bool = True) -> bytes:
    """An MP4 of 0.4 s with sound; ``front``: its index comes first, so that a half can be read."""
    muxing = (("movflags", "faststart"),) if front else ()
    sound = clicks([0.1], 0.4, 16_000)
    heads = Recipe().heads if face else ()
    recipe = Recipe(seconds=0.4, heads=heads, sound=sound, sound_rate=16_000, muxing=muxing)
    with tempfile.TemporaryDirectory() as folder:
        return make(Path(folder) / "clip.mp4", recipe).read_bytes()


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """The start of a file."""
    return data[: int(len(data) * rng.uniform(0.3, 0.9))]


def spoiled(data: bytes, rng: np.random.Generator) -> bytes:
    """A file in which 20 bytes are others."""
    out = bytearray(data)
    for at in rng.integers(0, len(out), 20):
        out[at] = int(rng.integers(256))
    return bytes(out)


def text(rng: np.random.Generator) -> bytes:
    """No file of ours nor anybody's."""
    return b"no film\n" * int(rng.integers(1, 500))


# By command: what a file is called, how it is made, and whether its output must be there (None:
# either is right, for what can be read of it may do).
KINDS: dict[str, dict[str, tuple[Maker, bool | None]]] = {
    "encode": {
        "sound": (lambda rng: clip(), True),
        "text": (text, False),
        "empty": (lambda rng: b"", False),
        "cut-before-index": (lambda rng: cut(clip(front=False), rng), False),
        "cut": (lambda rng: cut(clip(), rng), None),
        "spoiled": (lambda rng: spoiled(clip(), rng), None),
        "faceless": (lambda rng: clip(face=False), False),
        "stream": (lambda rng: VECTOR.read_bytes(), False),
    },
    "decode": {
        "sound": (lambda rng: VECTOR.read_bytes(), True),
        "text": (text, False),
        "empty": (lambda rng: b"", False),
        "cut": (lambda rng: cut(VECTOR.read_bytes(), rng), None),
        "spoiled": (lambda rng: spoiled(VECTOR.read_bytes(), rng), None),
        "mutated": (lambda rng: case(1, int(rng.integers(1 << 30)), corpus()), None),
        "clip": (lambda rng: clip(), False),
    },
}
ENDINGS = {"encode": (".mp4", ".avc"), "decode": (".avc", ".decoded.mp4")}


def run(command: str, count: int, jobs: int, seed: int, folder: Path, resumed: bool = True) -> str:
    """Make ``count`` files, do them all as one batch, and the same once more if ``resumed``, and
    tell; ``AssertionError`` if it isn't as it has to be."""
    before, after = ENDINGS[command]
    kinds, out = KINDS[command], folder / "out"
    sources = []
    for number in range(count):
        kind = list(kinds)[number % len(kinds)]
        rng = np.random.default_rng((seed, number))
        sources.append(folder / f"{kind}.{number}{before}")
        sources[-1].write_bytes(kinds[kind][0](rng))
    start = time.monotonic()
    rate = ["-b", "16k"] if command == "encode" else ["--max-duration", "20"]
    line = [command, *rate, *map(str, sources), "--out-dir", str(out), "--jobs", str(jobs)]
    done = _avcc(line)
    seconds = time.monotonic() - start
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    lines = done.stderr.decode().splitlines()
    there = set(os.listdir(out))
    tally: dict[str, list[int]] = {}
    for source in sources:
        kind = source.name.partition(".")[0]
        made = source.name.removesuffix(before) + after in there
        told = [one for one in lines if one.startswith(f"avcc: failed: {source}: ")]
        assert len(told) == (not made), lines
        assert kinds[kind][1] in (None, made), f"{source.name}: {told}"
        tally.setdefault(kind, [0, 0])[not made] += 1
    failed = sum(bad for _, bad in tally.values())
    assert len(there) == count - failed, "nothing else lies there"
    assert done.returncode == (FAILED if failed else OK), lines
    if resumed:
        again = _avcc(line)
        assert again.returncode == done.returncode and set(os.listdir(out)) == there
        skipped = f"avcc: {len(there)} of {count} are there already and skipped"
        assert not there or skipped in again.stderr.decode().splitlines()
    parts = ", ".join(f"{kind} {good} + {bad}" for kind, (good, bad) in tally.items())
    return f"{command}: {count} files in {seconds:.0f} s, done + failed: {parts}"


def _avcc(line: list[str]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "avcc", *line]
    return subprocess.run(command, cwd=ROOT, capture_output=True)


def main() -> int:
    """Both commands; an ``AssertionError`` where one isn't as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for command in KINDS:
            place = Path(folder) / command
            place.mkdir()
            told = partial(run, command, asked.count // 2, asked.jobs, asked.seed)
            print(told(place), flush=True)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest process: {most:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
