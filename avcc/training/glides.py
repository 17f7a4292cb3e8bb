"""How pitches move: the counts that ``entropy.glide`` has in shares.

python -m avcc.training.glides --cache CACHE --work WORK
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np

from avcc.entropy.contour import finer_walk
from avcc.entropy.glide import MOVES
from avcc.quantise.pitch import sixteenths
from avcc.training.contours import contours
from avcc.training.loop import Options
from avcc.training.tokens import heard

SHARES = 2000
SELDOM = 0.2  # of what never came


def counts(pitches: Iterable[np.ndarray]) -> np.ndarray:
    """Of contours float32 (2 T,) in Hz, how often each symbol came in each row: int64 (16, 18)."""
    found = np.zeros(np.shape(MOVES), np.int64)
    for hertz in pitches:
        walk = finer_walk(len(hertz) // 2, sixteenths(hertz))
        answer = None
        while True:
            try:
                asked = walk.send(answer)
            except StopIteration:
                break
            answer = None
            if isinstance(asked, tuple):
                table, row, answer = asked
                if table == "glide":
                    found[row, answer] += 1
    return found


def shares(found: np.ndarray) -> np.ndarray:
    """Counts as they stand in ``MOVES``: int64 of the same shape, none is 0."""
    likely = (found + SELDOM) / (found + SELDOM).sum(1, keepdims=True)
    return np.maximum(1, np.rint(likely * SHARES)).astype(np.int64)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--hours", default=0.0, help="Of voice to count; 0: all.")
def main(cache: Path, work: Path, hours: float) -> None:
    """Show the table as the training voices have it."""
    options = Options(cache, work, hours=hours)
    for row in shares(counts(contours(options, "train", heard(options, "train").waves))):
        print(f"    ({', '.join(map(str, row))}),")


if __name__ == "__main__":
    main()
