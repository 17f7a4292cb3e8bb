"""The same as ``pool.py`` on a Ray cluster: actors, each with its own networks, that take jobs.

The cluster's machines need avcc and the files under the same paths. A Ray actor that dies costs the
job that it was at, as a process does.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from avcc.errors import AvccError
from avcc.files import Work
from avcc.jobs import Hear, Job, Outcome, attempt
from avcc.terminal import FAILED

WAIT = 10.0  # seconds for a cluster to answer


def outcomes(
    work: Work, jobs: Sequence[Job], hear: Hear, *, address: str, count: int = 1
) -> Generator[Outcome]:
    """What becomes of the jobs, in the order in which they end; ``count`` actors at a time.

    ``address``: of a cluster that is there, as ``ray.init`` takes it (``auto``, ``HOST:PORT``,
    ``ray://HOST:PORT``). Each actor has a core, and a GPU where the work wants CUDA, so their
    number is what the cluster has room for. Raises ``AvccError`` where Ray isn't installed or
    nobody answers.
    """
    if not jobs:
        return
    ray = _connected(address)
    actor = ray.remote(**resources(work.device), max_restarts=0)(Actor)
    waiting = deque(jobs)
    idle = [actor.remote(work) for _ in range(min(count, len(jobs)))]
    busy: dict[Any, tuple[Any, Job]] = {}
    try:
        while waiting or busy:
            while waiting and idle:
                worker, job = idle.pop(), waiting.popleft()
                busy[worker.attempt.remote(_absolute(job))] = worker, job
            (ready,), _ = ray.wait(list(busy), num_returns=1)
            worker, job = busy.pop(ready)
            try:
                outcome = replace(ray.get(ready), job=job)
                if waiting:
                    idle.append(worker)
                else:  # its core is free for an actor that had no room yet
                    ray.kill(worker)
            except ray.exceptions.RayError as error:
                why = " ".join(str(error).split())[:300]
                outcome = Outcome(job, FAILED, (f"the actor that was at it is gone: {why}",))
                if waiting:
                    idle.append(actor.remote(work))
            yield outcome
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            ray.kill(worker)
        ray.shutdown()


def resources(device: str) -> dict[str, int]:
    """What an actor asks the cluster for. Ray hides the GPUs from one that asks for none, so
    ``auto`` means the CPU there."""
    return {"num_cpus": 1, "num_gpus": int(device == "cuda")}


class Actor:
    """What lives on the cluster; the networks are loaded with its first job, and kept."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def attempt(self, job: Job) -> Outcome:
        """Do a job."""
        return attempt(self._work, job, lambda share: None)


def _absolute(job: Job) -> Job:
    # An actor's working folder is another.
    return Job(os.path.abspath(job.source), os.path.abspath(job.target))


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise AvccError("Ray isn't installed here: pip install 'avcc[ray]'") from None
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host:  # Ray itself goes on asking for ten minutes and more
            socket.create_connection((host.strip("[]"), int(port)), WAIT).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:300]
        raise AvccError(f"no Ray cluster answers at {address}: {why}") from error
    return ray
