"""How the threads of PyTorch get along with whatever else runs on the machine."""

from __future__ import annotations

import os

SPINS = "GOMP_SPINCOUNT"  # GNU OpenMP's, which PyTorch's Linux wheels use
FEW = "3000"


def sharing() -> None:
    """Threads that wait for one another soon sleep, unless the environment says otherwise.

    They would spin, for some milliseconds at each layer of a network: on cores that other work is
    on as well, that takes the time from the very thread that they wait for. Alone it costs nothing
    (docs/reliability.md). It is read when PyTorch is loaded, so this comes before.
    """
    os.environ.setdefault(SPINS, FEW)
