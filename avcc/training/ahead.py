"""Batches made by worker processes ahead of time, so that a GPU never waits for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

Make = Callable[[np.random.Generator], Any]


class _Endless(IterableDataset):
    def __init__(self, make: Make, seed: int) -> None:
        self.make, self.seed = make, seed

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield self.make(rng)


def ahead(make: Make, workers: int, seed: int) -> Iterator[Any]:
    """What ``make`` makes of random numbers, without end; arrays come as tensors.

    ``workers``: processes that make it, 0: this one, when asked. They are forked: ``make`` must not
    touch a GPU.
    """
    kw: dict[str, Any] = (
        {"num_workers": workers, "prefetch_factor": 4, "multiprocessing_context": "fork"}
        if workers
        else {}
    )
    return iter(DataLoader(_Endless(make, seed), batch_size=None, **kw))
