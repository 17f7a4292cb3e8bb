"""One clip out of a longer video: 256x256 at 25 Hz, 16 kHz mono, by a list's times and box.

The window is the largest square in the middle of the box, for the whole clip, as the sets' own
scripts make it; beyond the picture its edge goes on. Without a box it is the one that the codec
would take (``media.face``). Frame k is what the video shows k/25 s after the clip's start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from avcc.errors import MediaError
from avcc.evaluation.lists import Box, Part
from avcc.media.clock import EARLY
from avcc.media.crop import cut
from avcc.media.face import find_crop
from avcc.media.read import FACE_SIDE, FACE_STEP
from avcc.media.sound import read_sound
from avcc.media.video import Geometry, decoded, geometry, nominal_rate, open_media, video_stream
from avcc.stages import FRAME_RATE, SAMPLES_PER_FRAME, Clip, Crop

RUN_UP = 2.0  # seconds before the start at which decoding begins, for files that seek badly
SHORT = 0.5  # seconds that a video may end too early; the last picture then stays


def clip_of(path: Path, part: Part, most: int = 0) -> Clip:
    """The part of a video, at most ``most`` frames of it (0: all). Raises ``MediaError``: no such
    part, no picture, no face where one has to be found."""
    end = np.inf if part.end is None else part.end
    if not 0 <= part.start < end:
        raise MediaError(f"{part.name} ends before it begins")
    wanted = min(end, part.start + most / float(FRAME_RATE)) if most else end
    seen = _Seen(path, part.start, wanted)
    samples = seen.samples()
    sample = next(samples, None)
    if sample is None or seen.shape is None:
        raise MediaError(f"{path.name} ends before {part.name} begins")
    if part.box is None:
        crop = find_crop(chain([sample], samples), *seen.shape.size, name=part.name)
    else:
        crop = square(part.box, *seen.shape.size)
        for _ in samples:
            pass
    if wanted < np.inf and seen.last < wanted - SHORT:
        raise MediaError(f"{path.name} ends before {part.name} does")
    count = max(1, round((min(wanted, seen.last) - part.start) * float(FRAME_RATE)))
    start = seen.first + part.start
    sound = read_sound(path, path.name, start, count * SAMPLES_PER_FRAME, lambda _: None)
    return Clip(_Frames(path, part.start, count, crop), count, sound, crop)


def square(box: Box, width: int, height: int) -> Crop:
    """The largest square in the middle of a box, in pixels of a picture of this size. Raises
    ``MediaError`` where nothing of it lies in the picture."""
    if not np.isfinite((box.left, box.top, box.width, box.height, *box.of)).all():
        raise MediaError("the box isn't made of numbers")
    wide, high = box.of
    down = height / high if high else 1.0
    across = width / wide if wide else down
    side = round(min(box.width * across, box.height * down))
    x = round((box.left + box.width / 2) * across - side / 2)
    y = round((box.top + box.height / 2) * down - side / 2)
    inside = min(x + side, width) > max(x, 0) and min(y + side, height) > max(y, 0)
    if side < 16 or side > 4 * max(width, height) or not inside:
        raise MediaError(
            f"the box of {side} pixels at {x}, {y} isn't in a {width}x{height} picture"
        )
    return Crop(x, y, side, width, height)


class _Seen:
    """A first pass over a part: where the file's clock begins, how long the pictures last."""

    def __init__(self, path: Path, start: float, end: float) -> None:
        self._path, self._start, self._end = path, start, end
        self.first = _first(path)  # seconds of the file's clock
        self.last = 0.0  # seconds from the first picture to the end of the last that was seen
        self.shape: Geometry | None = None

    def samples(self) -> Iterator[tuple[float, np.ndarray]]:
        """(seconds, small picture) now and then."""
        due = self._start
        for time, step, frame, shape in _timed(self._path, self.first, self._start):
            self.shape = shape
            if time >= self._end:
                self.last = self._end
                return
            self.last = time + step
            if time + step > due:
                due = max(due, time) + FACE_STEP
                yield time, shape.rgb(frame, FACE_SIDE)


class _Frames:
    """uint8 (256, 256, 3), ``count`` of them; decoded anew by each iteration."""

    def __init__(self, path: Path, start: float, count: int, crop: Crop) -> None:
        self._path, self._start, self._count, self._crop = path, start, count, crop

    def __iter__(self) -> Iterator[np.ndarray]:
        made, held = 0, None
        for time, _, frame, shape in _timed(self._path, _first(self._path), self._start):
            if held is not None and self._tick(made) < time:
                shown = cut(held[1].rgb(held[0]), self._crop)
                while made < self._count and self._tick(made) < time:
                    yield shown.copy()
                    made += 1
            if made == self._count:
                return
            held = frame, shape
        if held is None:
            raise MediaError(f"no picture of {self._path.name} can be decoded")
        shown = cut(held[1].rgb(held[0]), self._crop)
        for _ in range(self._count - made):
            yield shown.copy()

    def _tick(self, number: int) -> float:
        return self._start + number / float(FRAME_RATE) + EARLY


def _timed(
    path: Path, first: float, start: float
) -> Iterator[tuple[float, float, VideoFrame, Geometry]]:
    """(seconds from the video's first picture, seconds to the next as the file's rate has it,
    frame, geometry) from a little before ``start``."""
    with open_media(path, path.name) as container:
        stream = video_stream(container, path.name)
        if start > RUN_UP:
            with suppress(av.FFmpegError):  # then from the very start
                container.seek(int((first + start - RUN_UP) * av.time_base))
        step = 1 / nominal_rate(stream)
        shape: Geometry | None = None
        for time, frame in decoded(container, stream, []):
            shape = shape or geometry(frame, stream, path.name)
            yield time - first, step, frame, shape


def _first(path: Path) -> float:
    """Seconds of the file's clock at its first picture."""
    with open_media(path, path.name) as container:
        stream = video_stream(container, path.name)
        for time, _ in decoded(container, stream, []):
            return time
    raise MediaError(f"no picture of {path.name} can be decoded")
