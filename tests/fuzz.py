"""``python -m tests.fuzz --count 20000 --seed 1``: files that no encoder made, decoded.

Case n of a seed is always the same file, so one that fails can be looked at again (``--only n``).
Every outcome must be a clip or an ``AvccError``; memory is limited while cases run, so what takes
more than its file can justify fails too.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from avcc import weights
from avcc.codec import Codec
from avcc.container.describe import info
from avcc.container.limits import DECODER, Limits
from avcc.container.read import read
from avcc.entropy import coder
from avcc.errors import AvccError, ModelError
from tests.mutations import mutated

VECTORS = Path(__file__).parent / "vectors"
SECONDS = 20.0  # of a clip: longer ones are refused, or a case could take minutes
ROOM = 1 << 30  # bytes that a case may take on top of what is loaded already, threads included
DRAWN = 2  # pictures of a clip


@cache
def corpus() -> tuple[bytes, ...]:
    """The files that are mutated: one of each feature and model, the small ones first."""
    files = (path.read_bytes() for path in sorted(VECTORS.glob("*.avc")))
    return tuple(sorted(files, key=len))


def case(seed: int, number: int, files: tuple[bytes, ...]) -> bytes:
    """Case ``number`` of a seed."""
    return mutated(np.random.default_rng((seed, number)), files)


def symbols_of(data: bytes) -> str:
    """What container, range coder and ``info`` make of a file: "decoded" or an error's name."""
    try:
        stream = read(data, Limits(SECONDS))
        book = weights.codebook(stream.head.model)
        info(data, book)
        coder.decode(stream, book)
    except AvccError as error:
        return _told(error)
    return "decoded"


def clip_of(data: bytes) -> str:
    """What all of the decoder makes of a file, and of its first pictures and the last one."""
    try:
        clip = _codec().decode(data, max_duration=SECONDS, warn=_sentence)
    except AvccError as error:
        return _told(error)
    if clip.audio is not None:
        assert clip.audio.dtype == np.float32 and clip.audio.shape == (len(clip.audio),)
        assert np.isfinite(clip.audio).all() and np.abs(clip.audio).max(initial=0) <= 1
        assert len(clip.audio) <= 640 * clip.count
    for picture, _ in zip(clip.frames, range(DRAWN), strict=False):
        assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
        assert picture.shape[0] * picture.shape[1] <= DECODER.pixels
    return "decoded"


@cache
def _codec() -> Codec:
    return Codec("cpu")


def _told(error: AvccError) -> str:
    _sentence(str(error))
    return "no such model" if isinstance(error, ModelError) else type(error).__name__


def _sentence(text: str) -> None:
    assert text and "\n" not in text and len(text) < 400


@contextmanager
def little_memory() -> Iterator[None]:
    """No more memory than is in use now, and ``ROOM``; only where the system can count it."""
    status = Path("/proc/self/statm")
    if not status.exists():
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    now = int(status.read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (now + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def main() -> int:
    """Run the cases; 1 if one of them ended in anything but a clip or an ``AvccError``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="N", help="this case alone, with its traceback")
    parser.add_argument("--whole", action="store_true", help="all of the decoder: 0.5 s a case")
    asked = parser.parse_args()
    use = clip_of if asked.whole else symbols_of
    files = corpus()
    for data in files:
        assert use(data) in ("decoded", "FormatError"), "a file of the corpus"  # loads the weights
    if asked.only is not None:
        with little_memory():
            print(use(case(asked.seed, asked.only, files)))
        return 0
    outcomes: Counter[str] = Counter()
    failed, slowest = 0, (0.0, 0)
    with little_memory():
        for number in range(asked.count):
            start = time.process_time()
            try:
                outcomes[use(case(asked.seed, number, files))] += 1
            except Exception as error:
                failed += 1
                print(f"case {number}: {type(error).__name__}: {error}", file=sys.stderr)
            slowest = max(slowest, (time.process_time() - start, number))
    told = ", ".join(f"{name} {times}" for name, times in outcomes.most_common())
    print(f"{asked.count} cases of seed {asked.seed}: {told}; failed {failed}")
    print(f"slowest {slowest[0]:.2f} s of processor time (case {slowest[1]})")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
