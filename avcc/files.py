"""One file to another: what ``encode`` and ``decode`` do with each of their inputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

from avcc.terminal import read_bytes

Progress = Callable[[str, float], None]  # hears the stage and its share done, 0 to 1
Warn = Callable[[str], None]  # hears sentences about what was odd and went on
Targets = Sequence[tuple[str, str | None]]  # names, and the extension where a name doesn't say it


class Work(Protocol):
    """What is done with one input; a value that another process can be given."""

    @property
    def stages(self) -> tuple[str, ...]:
        """What its progress tells of, in order."""

    @property
    def force(self) -> bool:
        """Whether what is there is overwritten."""

    @property
    def device(self) -> str:
        """Where the networks run, as ``--device`` says."""

    def target(self, source: str, folder: str | None = None) -> str:
        """The usual name of the output: beside the source, or in a folder."""

    def __call__(
        self, source: str, targets: Targets, progress: Progress, warn: Warn
    ) -> Iterator[str]:
        """Write the targets; a sentence each, when it is there. Raises ``AvccError``."""


@dataclass(frozen=True)
class Encoding:
    """A clip to an ``.avc`` file. ``bitrate``: bits a second; ``max_duration``: seconds."""

    bitrate: float
    mode: str
    scene: bool
    fec: bool
    seed: int
    max_duration: float
    max_pixels: int
    device: str
    force: bool
    stages: ClassVar[tuple[str, ...]] = ("reading", "following", "fitting")

    def target(self, source: str, folder: str | None = None) -> str:
        return _beside(source, ".avc", folder)

    def __call__(
        self, source: str, targets: Targets, progress: Progress, warn: Warn
    ) -> Iterator[str]:
        from avcc.codec import Codec
        from avcc.media.read import read
        from avcc.media.safe import temporary

        media = sys.stdin.buffer if source == "-" else source
        reading = partial(progress, "reading")
        clip = read(
            media, max_duration=self.max_duration, max_pixels=self.max_pixels,
            warn=warn, progress=reading,
        )  # fmt: skip
        data = Codec(self.device).encode(
            clip, self.bitrate, mode=self.mode, scene=self.scene, fec=self.fec,
            seed=self.seed, progress=progress, warn=warn,
        )  # fmt: skip
        for name, _ in targets:
            if name == "-":
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            else:
                with temporary(name, overwrite=self.force) as work:
                    work.write_bytes(data)
            seconds = float(clip.duration)
            rate = 8 * len(data) / seconds / 1000
            yield f"{name}: {len(data):,} bytes for {seconds:.2f} s, {rate:.3f} kbps"


@dataclass(frozen=True)
class Decoding:
    """An ``.avc`` file to a video. ``start``, ``duration``, ``max_duration``: seconds. ``face``:
    the crop alone, even where its surroundings were sent."""

    steps: int | None
    seed: int | None
    start: float
    duration: float | None
    max_duration: float
    face: bool
    max_pixels: int
    device: str
    force: bool
    stages: ClassVar[tuple[str, ...]] = ("denoising", "rendering")

    def target(self, source: str, folder: str | None = None) -> str:
        return _beside(source, ".decoded.mp4", folder)

    def __call__(
        self, source: str, targets: Targets, progress: Progress, warn: Warn
    ) -> Iterator[str]:
        from avcc.codec import Codec
        from avcc.container.limits import BYTES_MOST
        from avcc.media.write import write

        data = read_bytes(source, BYTES_MOST)
        clip = Codec(self.device).decode(
            data, steps=self.steps, seed=self.seed,
            start=self.start, duration=self.duration, max_duration=self.max_duration,
            scene=not self.face, max_pixels=self.max_pixels,
            progress=progress, warn=warn,
        )  # fmt: skip
        title = None if source == "-" else Path(source).stem
        drawn = partial(progress, "rendering")
        for name, ending in targets:
            sink = sys.stdout.buffer if name == "-" else name
            write(sink, clip, ending=ending, title=title, progress=drawn, overwrite=self.force)
            yield f"{name}: {float(clip.duration):.2f} s, synthetic picture and sound"


def _beside(source: str, ending: str, folder: str | None) -> str:
    if source == "-":
        return "-"
    path = Path(source)
    return str((Path(folder) / path.name if folder else path).with_suffix(ending))
