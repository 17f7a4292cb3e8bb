"""One file to another: what ``encode`` and ``decode`` do with each of their inputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Protocol

from avcc.incoming import Incoming
from avcc.stages import SEGMENT_SECONDS
from avcc.terminal import read_bytes, undisturbed

if TYPE_CHECKING:
    import numpy as np

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
    """A clip to an ``.avc`` file. ``bitrate``: bits a second; ``max_duration``: seconds; ``live``:
    each segment, of ``segment`` seconds, is written when it is there."""

    bitrate: float
    mode: str
    scene: bool
    fec: bool
    seed: int
    max_duration: float
    max_pixels: int
    device: str
    force: bool
    live: bool = False
    segment: float = SEGMENT_SECONDS
    stages: ClassVar[tuple[str, ...]] = ("reading", "following", "fitting")

    def target(self, source: str, folder: str | None = None) -> str:
        return _beside(source, ".avc", folder)

    def __call__(
        self, source: str, targets: Targets, progress: Progress, warn: Warn
    ) -> Iterator[str]:
        if self.live:
            yield from self._live(source, targets[0][0], warn)
            return
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
            yield _sent(name, len(data), float(clip.duration))

    def _live(self, source: str, name: str, warn: Warn) -> Iterator[str]:
        """Segment by segment, while the clip comes."""
        from avcc.codec import Codec
        from avcc.media.live import opened

        media = sys.stdin.buffer if source == "-" else source
        clip = opened(media, max_pixels=self.max_pixels, warn=warn)
        sender = Codec(self.device).sender(
            self.bitrate, crop=clip.crop, sound=clip.sounds, mode=self.mode, fec=self.fec,
            seed=self.seed, segment=self.segment, warn=warn,
        )  # fmt: skip
        size = frames = 0
        stopped: BaseException | None = None
        with _sink(name, self.force) as write:
            try:
                for piece in clip:
                    with undisturbed():
                        size += write(sender(piece.pictures, piece.sound))
                        frames += len(piece.pictures)
                    if frames / 25 >= self.max_duration:
                        warn("the clip goes on; --max-duration allows more")
                        break
            except (KeyboardInterrupt, SystemExit) as reason:  # a call ends like this
                stopped = reason
            if frames or not stopped:
                size += write(sender.close())
        if stopped:
            raise stopped
        yield _sent(name, size, frames / 25)


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

        whole = self.start or self.duration is not None or len(targets) > 1
        incoming = None if source != "-" or whole else Incoming(sys.stdin.buffer, BYTES_MOST)
        if incoming and _comes_open(incoming):
            yield from self._live(incoming, *targets[0], warn)
            return
        data = incoming.rest() if incoming else read_bytes(source, BYTES_MOST)
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
            yield _shown(name, float(clip.duration))

    def _live(self, incoming: Incoming, name: str, ending: str | None, warn: Warn) -> Iterator[str]:
        """Segment by segment, while the stream comes."""
        from avcc.codec import Codec
        from avcc.media.write import write_parts

        receiver = Codec(self.device).receiver(
            steps=self.steps, seed=self.seed, max_duration=self.max_duration, warn=warn
        )

        def parts() -> Iterator[tuple[Iterable[np.ndarray], np.ndarray | None]]:
            ended = False
            while not ended:
                ended = incoming.ended
                for part in receiver(incoming.data, ended):
                    yield part.frames, part.sound
                if not ended:
                    incoming.wait()

        sink = sys.stdout.buffer if name == "-" else name
        write_parts(sink, parts(), ending=ending, overwrite=self.force, keep=True)
        yield _shown(name, receiver.shown / 25)


def _comes_open(incoming: Incoming) -> bool:
    """Whether what comes is an open stream."""
    from avcc.container.read import is_open

    while (found := is_open(incoming.data)) is None and not incoming.ended:
        incoming.wait()
    return bool(found)


@contextmanager
def _sink(name: str, force: bool) -> Iterator[Callable[[bytes], int]]:
    """Writes bytes to standard output at once, or to a file that appears when all is well."""
    from avcc.media.safe import temporary

    def to(file: BinaryIO, data: bytes) -> int:
        file.write(data)
        file.flush()
        return len(data)

    if name == "-":
        yield partial(to, sys.stdout.buffer)
        return
    with temporary(name, overwrite=force) as work, open(work, "wb") as file:
        yield partial(to, file)


def _sent(name: str, size: int, seconds: float) -> str:
    rate = 8 * size / max(seconds, 0.04) / 1000
    return f"{name}: {size:,} bytes for {seconds:.2f} s, {rate:.3f} kbps"


def _shown(name: str, seconds: float) -> str:
    return f"{name}: {seconds:.2f} s, synthetic picture and sound"


def _beside(source: str, ending: str, folder: str | None) -> str:
    if source == "-":
        return "-"
    path = Path(source)
    return str((Path(folder) / path.name if folder else path).with_suffix(ending))
