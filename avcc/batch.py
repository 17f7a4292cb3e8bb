"""Many inputs: what is left to do, one line of progress, what became of each, an exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

import click

from avcc.errors import AvccError
from avcc.files import Work
from avcc.jobs import Hear, Job, Outcome
from avcc.terminal import OK, Voice, check_source, check_target, verdict

# Does jobs, tells of their progress, and gives outcomes as they come.
Runner = Callable[[Work, Sequence[Job], Hear], Generator[Outcome]]


def run(
    sources: Sequence[str], work: Work, folder: str | None, voice: Voice, runner: Runner
) -> int:
    """Do ``work`` with every source whose output isn't there, and give the exit code: 0 if all
    outputs are there, 1 if some aren't, 70 if some aren't by a defect.

    ``folder``: of the outputs, made if need be; else each lies beside its source. An input that
    fails never stops the rest. Raises ``click.UsageError`` where outputs would be lost.
    """
    if folder:
        os.makedirs(folder, exist_ok=True)
    todo, failed, there = _plan(sources, work, folder)
    if there:
        voice.say(f"{there} of {len(todo) + len(failed) + there} are there already and skipped")
    tally = _Tally(len(todo), failed, voice)
    try:
        with closing(runner(work, todo, tally.hear)) as coming:
            for outcome in coming:
                tally.take(outcome)
    finally:
        tally.sum_up(there)
    return max((outcome.code for outcome in tally.failed), default=OK)


def _plan(
    sources: Sequence[str], work: Work, folder: str | None
) -> tuple[list[Job], list[Outcome], int]:
    """Jobs, those that can't be done, and how many were done before."""
    jobs: list[Job] = []
    failed: list[Outcome] = []
    whose: dict[str, str] = {}  # sources by the real names of their outputs
    there = 0
    for source in dict.fromkeys(sources):
        target = ""
        try:
            if source == "-":
                raise click.UsageError("- can't be one of many inputs")
            check_source(source)
            target = work.target(source, folder)
            other = whose.setdefault(os.path.realpath(target), source)
            if other != source:
                raise click.UsageError(f"{other} and {source} would both become {target}")
            if _done(source, target, work.force):
                there += 1
            else:
                check_target(target, source, work.force)
                jobs.append(Job(source, target))
        except (AvccError, OSError) as error:
            code, sentence = verdict(error)
            failed.append(Outcome(Job(source, target), code, (sentence,)))
    for source in sources:
        if os.path.realpath(source) in whose:
            raise click.UsageError(f"{source} would be both input and output")
    return jobs, failed, there


def _done(source: str, target: str, force: bool) -> bool:
    # Outputs appear whole or not at all, so what is there is done; an empty file isn't ours.
    if force or not os.path.isfile(target) or os.path.samefile(source, target):
        return False
    if not os.path.getsize(target):
        raise AvccError(f"{target} is there, but empty; -f overwrites it")
    return True


class _Tally:
    """What has become of the jobs so far, and how a person hears of it."""

    def __init__(self, total: int, failed: Sequence[Outcome], voice: Voice) -> None:
        self._total, self._voice = total, voice
        self._shares: dict[Job, float] = {}
        self._done = 0
        self.failed = list(failed)
        self._early = len(failed)

    @property
    def _ended(self) -> int:
        return self._done + len(self.failed) - self._early

    def hear(self, job: Job, share: float) -> None:
        self._shares[job] = share
        self._show()

    def take(self, outcome: Outcome) -> None:
        self._shares.pop(outcome.job, None)
        if outcome.code == OK:
            self._done += 1
            *odd, written = outcome.told
            for sentence in odd:
                self._voice.say(f"{outcome.job.source}: {sentence}")
            self._voice.say(written)
        else:
            self.failed.append(outcome)
            if self._voice.verbose:
                self._voice.say(outcome.trace.rstrip())
        self._show()

    def _show(self) -> None:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        share = (self._ended + sum(self._shares.values())) / self._total
        self._voice.progress(f"{self._ended} of {self._total}{failed}", share)

    def sum_up(self, there: int) -> None:
        """A line a failure, and one for all."""
        self._voice.clear()
        for outcome in self.failed:
            click.echo(f"avcc: failed: {outcome.job.source}: {outcome.told[-1]}", err=True)
        left = self._total - self._ended
        parts = {"done": self._done, "there already": there}
        parts |= {"failed": len(self.failed), "not done": left}
        told = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
        goes_on = "; the same command goes on" if left else ""
        self._voice.say(told + goes_on)
