"""A file of many, and what became of it: what a batch hands out and gets back."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from avcc.files import Work
from avcc.terminal import OK, verdict


@dataclass(frozen=True)
class Job:
    """An input and the output that it becomes."""

    source: str
    target: str


@dataclass(frozen=True)
class Outcome:
    """``code``: the exit code that it would have had alone. ``told``: sentences, the last of which
    says what was written or why nothing was. ``trace``: where a failure lies, for ``-v``."""

    job: Job
    code: int
    told: tuple[str, ...]
    trace: str = ""


Hear = Callable[[Job, float], None]  # hears a job's share done, 0 to 1


def attempt(work: Work, job: Job, progress: Callable[[float], None]) -> Outcome:
    """Do a job; whatever is wrong with it is its outcome."""
    told: list[str] = []

    def hear(stage: str, share: float) -> None:
        number = work.stages.index(stage) if stage in work.stages else 0
        progress((number + share) / len(work.stages))

    try:
        told += work(job.source, [(job.target, None)], hear, told.append)
    except Exception as error:
        code, sentence = verdict(error)
        return Outcome(job, code, (*told, sentence), traceback.format_exc())
    return Outcome(job, OK, tuple(told))
