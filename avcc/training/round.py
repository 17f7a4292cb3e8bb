"""A round on one machine: several stages side by side, what they say, and the weights they leave.

For minutes on a rented GPU, which go by while one reads: a call builds what is missing and trains
for so many seconds, a second call with the same folders goes on.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from avcc.training import cache as caching
from avcc.training import keys, own


@dataclass(frozen=True)
class Job:
    """A stage and further options of ``train``, written ``renderer --batch 32 --judge-from 0``."""

    stage: str
    options: tuple[str, ...]

    @classmethod
    def parsed(cls, text: str) -> Job:
        """Raises ``ValueError`` for nothing at all."""
        stage, *options = text.split()
        return cls(stage, tuple(options))


def prepare(data: Path, cache: Path, meshes: Path | None, jobs: int) -> None:
    """Everything that stages read, where it isn't there yet."""
    caching.build(data, cache, jobs, meshes)
    if not (cache / own.PARTS[-1] / "own.f32").exists():
        own.build(cache, jobs)
    for split in ("train", "val", "stills"):
        if not (cache / f"keys_{split}" / "index.json").exists():
            keys.build(cache, split, jobs=jobs)


def train(
    jobs: list[Job], common: list[str], out: Path, seconds: float, every: float = 20.0
) -> dict[str, int]:
    """Run all jobs until they end or ``seconds`` have passed; what each process returned.

    Each one's output goes to ``out/<stage>.log``, its last line is shown now and then.
    """
    out.mkdir(parents=True, exist_ok=True)
    logs = {job.stage: out / f"{job.stage}.log" for job in jobs}
    running: dict[str, subprocess.Popen] = {}
    for job in jobs:
        # an option of the job's own comes later, and so wins
        command = [sys.executable, "-m", "avcc.training", "train", job.stage]
        with open(logs[job.stage], "a", encoding="utf-8") as log:
            running[job.stage] = subprocess.Popen(
                [*command, *common, *job.options], stdout=log, stderr=subprocess.STDOUT
            )
    end, shown = time.monotonic() + seconds, time.monotonic()
    try:
        while time.monotonic() < end and any(p.poll() is None for p in running.values()):
            time.sleep(0.5)
            if time.monotonic() - shown > every:
                shown = time.monotonic()
                for stage in logs:
                    print(_last(logs[stage]), flush=True)
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)  # they validate and save
        returned = {stage: process.wait() for stage, process in running.items()}
    return returned


def summary(returned: dict[str, int], out: Path) -> str:
    """Each stage's first and last validation, and the end of the log where it failed."""
    lines = []
    for stage, code in returned.items():
        said = (out / f"{stage}.log").read_text(encoding="utf-8").splitlines()
        found = [line for line in said if line.startswith(f"{stage} validation ")]
        lines += found[:1] + (found[-1:] if len(found) > 1 else [])
        if code or not found:
            lines += [f"{stage} ended with {code}:", *said[-8:]]
    return "\n".join(lines)


def keep(returned: dict[str, int], work: Path, out: Path) -> None:
    """Copy the weights of the stages to ``out``."""
    for stage in returned:
        weights = work / f"{stage}.safetensors"
        if weights.exists():
            shutil.copy(weights, out / weights.name)


def cores() -> int:
    """Of this machine, for this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _last(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").splitlines()
    return lines[-1] if lines else f"{log.stem}: nothing yet"
