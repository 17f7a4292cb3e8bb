"""Processes on this machine, each with its own networks, that take jobs one after another.

A pipe each and nothing shared: a process that dies, for example inside a C library that reads a
stranger's video, costs the job that it was at, and another takes its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait

from avcc.files import Work
from avcc.jobs import Hear, Job, Outcome, attempt
from avcc.terminal import FAILED, TERMINATED

PATIENCE = 20.0  # seconds that a process has to remove its half file before it is killed
PAUSE = 0.2  # seconds between two reports of progress
THREADS = "OMP_NUM_THREADS"  # PyTorch and OpenBLAS both read it when they start

# A forked copy of a process with threads in it can hang; a new one can't.
_context = multiprocessing.get_context("spawn")


def outcomes(
    work: Work, jobs: Sequence[Job], hear: Hear, *, count: int = 1, verbose: bool = False
) -> Generator[Outcome]:
    """What becomes of the jobs, in the order in which they end; ``count`` at a time.

    Closing the iterator, or any exception in it (Ctrl-C), ends the processes: the jobs that they
    are at leave no half file.
    """
    waiting = deque(jobs)
    count = min(count, len(jobs))
    crew: list[_Worker] = []
    try:
        while waiting or any(worker.job for worker in crew):
            crew = [worker for worker in crew if worker.process.is_alive() or worker.job]
            while len(crew) < count and len(waiting) > sum(not w.job for w in crew):
                crew.append(_Worker(work, cores_each(count), verbose))
            for worker in crew:
                if waiting and worker.job is None:
                    worker.give(waiting.popleft())
            busy = {worker.pipe: worker for worker in crew if worker.job}
            for pipe in wait(list(busy)):
                outcome = busy[pipe].heard(hear)  # type: ignore[index]
                if outcome is not None:
                    yield outcome
    finally:
        _stop(crew)


def cores_each(count: int) -> int:
    """Threads of each of ``count`` processes: the cores that this one may use, among them."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores // count)


class _Worker:
    """This side of a process."""

    def __init__(self, work: Work, threads: int, verbose: bool) -> None:
        self.pipe, theirs = _context.Pipe()
        self.job: Job | None = None
        self.process = _context.Process(target=_serve, args=(work, theirs, verbose), daemon=True)
        with _uninterrupted(), _default(THREADS, str(threads)):
            self.process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it is dead already: whoever listens to it hears that
            self.pipe.send(job)

    def heard(self, hear: Hear) -> Outcome | None:
        """Take its message: progress, or what became of its job."""
        assert self.job is not None
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            message = Outcome(self.job, FAILED, (_death(self.process.exitcode),))
        if isinstance(message, Outcome):
            self.job = None
            return message
        hear(self.job, message)
        return None


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return f"the process that was at it was ended by {name}{hint}"
    return f"the process that was at it ended with code {code}"


def _serve(work: Work, pipe: Connection, verbose: bool) -> None:
    """The other side: do what comes until nothing does."""
    # The terminal's Ctrl-C is for whoever started this, who then ends it in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    warnings.simplefilter("default" if verbose else "ignore")
    last = 0.0

    def progress(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > PAUSE:
            last = time.monotonic()
            pipe.send(share)

    with suppress(EOFError, OSError):  # nobody is at the other end any more
        while True:
            pipe.send(attempt(work, pipe.recv(), progress))


def _stop(crew: Sequence[_Worker]) -> None:
    for worker in crew:
        worker.pipe.close()  # an idle one ends by itself
        if worker.job is not None:
            worker.process.terminate()
    until = time.monotonic() + PATIENCE
    for worker in crew:
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process started herein hears no Ctrl-C from its first instruction on; here it comes late
    rather than never."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _default(name: str, value: str) -> Iterator[None]:
    """A variable of the environment for processes started herein, unless it is set."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
