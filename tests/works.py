"""Work for tests of batches: no networks, but failures and deaths of every kind.

Processes that a batch starts import this file, so what they do is named by the sources.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from avcc.errors import MediaError
from avcc.files import Progress, Targets, Warn
from avcc.media.safe import temporary

STOP = "stop"  # while a file of this name lies beside a source, half its output stays half
_loads: list[int] = []  # of this process: as often as it would have loaded networks


@dataclass(frozen=True)
class Copy:
    """A source becomes a note of who made it, or what its name says: ``dies``, ``killed``,
    ``broken``, ``defect``, ``odd``."""

    force: bool = False
    device: str = "cpu"
    stages: ClassVar[tuple[str, ...]] = ("first", "second")

    def target(self, source: str, folder: str | None = None) -> str:
        path = Path(source)
        return str((Path(folder) / path.name if folder else path).with_suffix(".out"))

    def __call__(
        self, source: str, targets: Targets, progress: Progress, warn: Warn
    ) -> Iterator[str]:
        if not _loads:
            _loads.append(os.getpid())
        progress("first", 0.5)
        kind = Path(source).stem.rstrip("0123456789")
        if kind == "dies":
            os._exit(9)
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "broken":
            raise MediaError(f"{source} is broken")
        if kind == "defect":
            raise ZeroDivisionError("a defect")
        if kind == "odd":
            warn("it is odd")
        for name, _ in targets:
            with temporary(name, overwrite=self.force) as work:
                threads = os.environ.get("OMP_NUM_THREADS")
                work.write_text(f"{_loads[0]} {len(_loads)} {threads}")
                while Path(source).with_name(STOP).exists():
                    time.sleep(0.05)
                    progress("second", 0.5)
            yield f"{name}: written"


def copying(*options: Any) -> Copy:
    """In the place of ``files.Encoding``, whose last options are ``force`` and ``live``."""
    return Copy(options[-2])
