"""``python -m tests.guided --seconds 600``: the fuzzer of ``tests.fuzz``, led by what it reaches.

atheris (``pip install atheris``) keeps each file that runs code of avcc that none did before, and
goes on from there; how a file is changed is ``tests.mutations``' business, which keeps checksums
right. Anything but a clip or an ``AvccError`` ends it, and is written to ``--folder``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["avcc"]):
    from tests.fuzz import corpus, little_memory, symbols_of
    from tests.mutations import mutated

LONGEST = 1 << 17  # bytes of a file


def changed(data: bytes, most: int, seed: int) -> bytes:
    """What atheris asks for: another file, from one that it kept."""
    rng = np.random.default_rng(seed)
    spoiled = mutated(rng, corpus(), data if data and rng.random() < 0.9 else None)
    return spoiled[:most]


def tried(data: bytes) -> None:
    """One file."""
    with little_memory():
        symbols_of(data)


def main() -> None:
    """Run; the exit code isn't 0 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--folder", type=Path, default=Path("guided"), help="of what is kept")
    asked = parser.parse_args()
    kept = asked.folder / "kept"
    kept.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(corpus()):
        symbols_of(data)  # loads the weights
        (kept / f"vector-{number}").write_bytes(data)
    options = [f"-max_total_time={asked.seconds}", f"-max_len={LONGEST}", "-print_final_stats=1"]
    options.append(f"-artifact_prefix={asked.folder}/")
    atheris.Setup([sys.argv[0], *options, str(kept)], tried, custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
