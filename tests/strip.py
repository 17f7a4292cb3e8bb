"""``python -m tests.strip``: the README's picture, from material that may be shown.

Above a portrait of the astronaut Eileen Collins (NASA, public domain, from scikit-image's wheel)
that sways and nods by formula; below what avcc makes of it at each rate.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import avcc
from avcc.evaluation.demo import picked, write_png
from avcc.media.arrays import from_arrays
from tests.clips import picture
from tests.voices import vowels

SECONDS, RATES = 8.0, (2000, 4000)


def main(target: str = "docs/strip.png") -> None:
    """Encode, decode, and draw."""
    times = np.arange(round(25 * SECONDS)) / 25
    heads = (lambda t: (0.05 * np.sin(3 * t), 0.5 + 0.02 * np.sin(5 * t), 0.9),)
    frames = np.stack([picture(0, t, (256, 256), heads) for t in times])
    clip = from_arrays(frames, vowels(SECONDS))
    rows = [np.hstack(list(picked(clip.frames, clip.count)))]
    for rate in RATES:
        data = avcc.encode(clip, bitrate=rate)
        print(f"{rate} bit/s: {len(data)} bytes")
        rows.append(np.hstack(list(picked(avcc.decode(data).frames, clip.count))))
    write_png(Path(target), np.vstack(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
