"""Any video file as a ``Clip``: 256x256 at 25 frames a second and 16 kHz mono."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
from av.video.frame import VideoFrame

from avcc.errors import MediaError
from avcc.media.arrays import from_arrays
from avcc.media.clock import repeats_of
from avcc.media.crop import covers, cut
from avcc.media.face import find_crop
from avcc.media.sound import read_sound
from avcc.media.video import (
    MAX_PIXELS,
    Geometry,
    decoded,
    geometry,
    nominal_rate,
    open_media,
    stated_seconds,
    video_stream,
)
from avcc.stages import SAMPLE_RATE, SAMPLES_PER_FRAME, Clip, Crop

__all__ = ["SourceFrames", "from_arrays", "read"]

FACE_SIDE = 640  # pixels: pictures in which faces are looked for are shrunk to this
AROUND_SIDE = 1024  # and one whose surroundings are wanted, to these
FACE_STEP = 0.4  # seconds between them, in the long run
LONGEST = 7200.0  # seconds of a clip, unless more is asked for: its voice stands in memory whole

Warn = Callable[[str], None]
Progress = Callable[[float], None]  # hears the done share, 0 to 1


def read(
    source: str | Path | BinaryIO,
    *,
    max_duration: float = LONGEST,
    max_pixels: int = MAX_PIXELS,
    warn: Warn | None = None,
    progress: Progress | None = None,
) -> Clip:
    """Read a video file, or a binary stream of one, into a ``Clip``.

    Decodes the pictures once, to find the face and the times, and the sound; the clip's
    ``frames`` decode the pictures again on each iteration, so no clip stands in memory whole. The
    file must stay where it is as long as the frames are used; a stream is copied to a temporary
    file that lives as long as they do. Frame k is what the source shows k/25 s after its first
    picture. ``warn`` gets sentences about what was odd and went on; ``progress`` the share done.

    Raises ``MediaError`` with one sentence: no such file, not media, no video, nothing decodes,
    more than ``max_pixels`` a picture or ``max_duration`` seconds (memory grows with both), or no
    face.
    """
    tell: Warn = warn if warn is not None else lambda sentence: None
    path, name, keeper = _local(source)
    survey = _Survey(path, name, max_duration, max_pixels, progress)
    samples = survey.samples()
    first = next(samples, None)
    if first is None or survey.geometry is None:
        raise MediaError(f"no picture of {name} can be decoded")
    width, height = survey.geometry.size
    crop = find_crop(chain([first], samples), width, height, tell, name=name)
    survey.report(tell)
    duration = survey.end - survey.times[0]
    repeats = repeats_of(np.array(survey.times) - survey.times[0], duration)
    count = int(repeats.sum())
    length = min(round(duration * SAMPLE_RATE), count * SAMPLES_PER_FRAME)
    audio = read_sound(path, name, survey.times[0], max(1, length), tell)
    frames = SourceFrames(path, name, survey.geometry, crop, repeats, keeper, max_pixels)
    if progress is not None:
        progress(1.0)
    return Clip(frames, count, audio, crop, None if covers(crop) else frames.around)


class SourceFrames:
    """The canonical pictures of a file, uint8 (256, 256, 3): decoded anew by each iteration."""

    def __init__(
        self,
        path: Path,
        name: str,
        shape: Geometry,
        crop: Crop,
        repeats: np.ndarray,
        keeper: object = None,
        most: int = MAX_PIXELS,
    ) -> None:
        self.crop = crop
        self._path, self._name, self._geometry, self._repeats = path, name, shape, repeats
        self._count, self._most = int(repeats.sum()), most
        self._keeper = keeper  # the temporary copy of a stream lives as long as this does
        self._stamp = _stamp(path)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[np.ndarray]:
        left = self._count
        picture: np.ndarray | None = None
        with closing(self._shown()) as pictures:
            for frame, shown in pictures:
                picture = cut(self._geometry.rgb(frame), self.crop)
                for _ in range(shown):
                    yield picture.copy()
                left -= shown
                if not left:
                    return
        # Fewer pictures than the first time (a damaged file): hold the last, keep the count.
        if picture is None:
            raise MediaError(f"no picture of {self._name} can be decoded")
        for _ in range(left):
            yield picture.copy()

    def around(self, number: int) -> np.ndarray:
        """The whole picture of a frame, uint8 (H, W, 3), shrunk where it is large."""
        found: VideoFrame | None = None
        with closing(self._shown()) as pictures:
            for frame, shown in pictures:
                found = frame
                number -= shown
                if number < 0:
                    break
        if found is None:
            raise MediaError(f"no picture of {self._name} can be decoded")
        return self._geometry.rgb(found, AROUND_SIDE)

    def _shown(self) -> Generator[tuple[VideoFrame, int]]:
        """Pictures, and how many frames each is shown for, 1 or more."""
        with open_media(self._path, self._name) as container:
            if _stamp(self._path) != self._stamp:
                raise MediaError(f"{self._name} has changed since it was opened")
            stream = video_stream(container, self._name, self._most)
            pictures = (frame for _, frame in decoded(container, stream, []))
            for frame, shown in zip(pictures, self._repeats, strict=False):
                if shown:
                    yield frame, int(shown)


class _Survey:
    """The first pass over a file's pictures: their times, and samples to look for faces in."""

    def __init__(
        self, path: Path, name: str, longest: float, most: int, progress: Progress | None
    ) -> None:
        self._path, self._name, self._progress = path, name, progress
        self._longest, self._most = longest, most
        self._trouble: list[str] = []
        self._promised = 0.0  # seconds of pictures that the header promises, 0 if it doesn't
        self.times: list[float] = []
        self.end = 0.0
        self.geometry: Geometry | None = None

    def samples(self) -> Iterator[tuple[float, np.ndarray]]:
        """Decode it all; give (seconds, small picture) now and then, closer at the start."""
        with open_media(self._path, self._name) as container:
            stream = video_stream(container, self._name, self._most)
            self._promised = stated_seconds(container, stream)
            self._check(self._promised)
            due, seen = -np.inf, 0
            last = 0
            for time, frame in decoded(container, stream, self._trouble):
                if self.geometry is None:
                    self.geometry = geometry(frame, stream, self._name, self._most)
                self.times.append(time)
                self._check(time - self.times[0])  # two pictures can be years apart
                # A frame without a time has a made-up duration too.
                last = frame.duration if frame.pts is not None else 0
                if time >= due:
                    # A clip of a second or less needs its few samples as much as a long one.
                    seen += 1
                    due = time + min(FACE_STEP, 0.1 * seen)
                    yield time, self.geometry.rgb(frame, FACE_SIDE)
                    if self._progress is not None and self._promised > 0:
                        share = (time - self.times[0]) / self._promised
                        self._progress(min(0.99, max(0.0, share)))
            if not self.times:
                return
            hold = float(last * stream.time_base) if last and stream.time_base else 0.0
            if not 0 < hold < 10:
                steps = np.diff(self.times)
                hold = float(np.median(steps)) if len(steps) else 1 / nominal_rate(stream)
            self.end = self.times[-1] + hold

    def _check(self, seconds: float) -> None:
        if seconds > self._longest:
            raise MediaError(
                f"{self._name} lasts {seconds:.0f} s, and at most {self._longest:.0f} s are allowed"
                " here; --max-duration (in Python: max_duration) allows more"
            )

    def report(self, warn: Warn) -> None:
        """Say what went wrong on the way, if anything did."""
        got = self.end - self.times[0]
        lost = self._promised - got
        if lost > max(0.5, 0.02 * self._promised):
            warn(f"{self._name} seems to be cut short: {got:.1f} s of its pictures can be read")
        elif self._trouble:
            warn(f"{self._name} is damaged in {len(self._trouble)} places; the rest is kept")


def _local(source: str | Path | BinaryIO) -> tuple[Path, str, object]:
    """(path, what a person calls it, what must be kept for the path to stay)."""
    if isinstance(source, (str, Path)):
        return Path(source), Path(source).name or str(source), None
    label = getattr(source, "name", None)
    name = Path(label).name if isinstance(label, str) and label[:1] != "<" else "the input"
    number, path = tempfile.mkstemp(prefix="avcc-", suffix=".media")
    keeper = _Keeper(path)
    with open(number, "wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    return Path(path), name, keeper


class _Keeper:
    """Removes a file when the last one who holds this lets go."""

    def __init__(self, path: str) -> None:
        weakref.finalize(self, _remove, path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
