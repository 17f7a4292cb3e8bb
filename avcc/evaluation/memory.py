"""Peak memory, each task in a process of its own, and the size of the models that coders load.

The evaluation's own process holds every network of the measures, and a peak never comes down, so
what one coder needs is told by doing the same thing once more in a fresh process: the interpreter,
the coder's libraries and the clip as arrays are in the figure, nothing else is. Where a program on
the path codes, its own peak counts instead, as the system books it.
"""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from avcc.errors import AvccError

Task = partial[Any]  # of a function of a module and arguments that pickle
# A small process between: on Linux a process is booked its parent's memory at the fork, and a
# parent's may be large. What a program needs can't be told below what this one does (10 MiB).
LAUNCHER = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
CHILD = "import sys; from avcc.evaluation import memory; memory.child(sys.argv[1])"
_UNIT = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, a MiB
_programs: list[float] = []  # peaks of the programs that this process has run, MiB


@dataclass(frozen=True)
class Cost:
    """What one process took: wall-clock seconds and the most memory that it held, MiB."""

    seconds: float
    peak: float


def cost(command: Sequence[str]) -> Cost:
    """Run a command to its end. Raises ``AvccError`` with its last line where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise AvccError(lines[-1] if lines else f"{command[0]} ended with {done.returncode}")
    seconds, peak = done.stdout.split()[-2:]
    found = Cost(float(seconds), int(peak) / _UNIT)
    _programs.append(found.peak)
    return found


def peak(task: Task) -> float:
    """MiB of a process that does the task and nothing else. Raises ``AvccError``."""
    with tempfile.TemporaryDirectory(prefix="avcc-memory-") as folder:
        path = Path(folder, "task")
        with path.open("wb") as file:
            pickle.dump(task, file, protocol=5)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(path)],
            capture_output=True,
            text=True,
            errors="replace",
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise AvccError(lines[-1] if lines else f"ended with {done.returncode}")
    return float(done.stdout.split()[-1])


def most(tasks: Iterable[Task]) -> float | None:
    """The largest peak of tasks that are done one after the other; ``None``: there are none."""
    return max((peak(task) for task in tasks), default=None)


def child(path: str) -> None:
    """Do the task that a file holds, and print this process's peak, or its programs'."""
    with open(path, "rb") as file:
        task: Callable[[], Any] = pickle.load(file)  # written by ``peak``, a moment ago
    task()
    print(max(_programs, default=own_peak()))


def own_peak() -> float:
    """The most memory that this process has held, MiB, without its parent's at the fork."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNIT


def resident() -> float:
    """Megabytes of memory that this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def our_models() -> int:
    """Bytes of all that avcc loads: the default model's files. Raises ``ModelError``."""
    from avcc import weights

    model = weights.default()
    return sum(weights.path_of(model, part).stat().st_size for part in weights.PARTS)
