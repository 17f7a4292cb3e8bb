"""Pictures and sound that are in memory already, as a ``Clip``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from avcc.errors import MediaError
from avcc.media.clock import repeats_of
from avcc.media.crop import covers, cut, whole
from avcc.media.face import find_crop
from avcc.media.sound import resampled
from avcc.stages import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, SIDE, Clip, Crop

FACE_STEP = 0.4  # seconds between pictures in which a face is looked for


def from_arrays(
    frames: np.ndarray | Sequence[np.ndarray],
    audio: np.ndarray | None = None,
    sample_rate: int = SAMPLE_RATE,
    fps: float | Fraction = FRAME_RATE,
    *,
    warn: Callable[[str], None] | None = None,
) -> Clip:
    """A ``Clip`` of uint8 (N, H, W, 3) RGB pictures and float (samples,) sound, -1..1.

    256x256 pictures are taken as they are; in any other size the face is looked for as in a file.
    Nothing is copied: the arrays must not change as long as the clip is used.

    Raises ``MediaError`` where shapes or types are others, or where no face is found.
    """
    if len(frames) == 0:
        raise MediaError("there are no pictures")
    shape = np.shape(frames[0])
    if len(shape) != 3 or shape[2] != 3 or np.asarray(frames[0]).dtype != np.uint8:
        raise MediaError("pictures must be uint8 arrays of shape (height, width, 3)")
    if any(np.shape(frame) != shape for frame in frames):
        raise MediaError("pictures of one clip must all have the same size")
    if not 0.1 <= float(fps) <= 1000:
        raise MediaError(f"a frame rate of {fps} makes no sense")
    height, width = shape[:2]
    if (height, width) == (SIDE, SIDE):
        crop = whole(width, height)
    else:
        step = max(1, round(FACE_STEP * float(fps)))
        samples = ((i / float(fps), frames[i]) for i in range(0, len(frames), step))
        crop = find_crop(samples, width, height, warn, name="the pictures")
    duration = len(frames) / float(fps)
    repeats = repeats_of(np.arange(len(frames)) / float(fps), duration)
    count = int(repeats.sum())
    sound = None
    if audio is not None:
        length = max(1, min(round(duration * SAMPLE_RATE), count * SAMPLES_PER_FRAME))
        sound = resampled(audio, sample_rate)[:length]
        sound = np.pad(sound, (0, length - len(sound)))
    found = ArrayFrames(frames, crop, repeats)
    return Clip(found, count, sound, crop, None if covers(crop) else found.around)


class ArrayFrames:
    """The canonical pictures of an array, cut out as they are asked for."""

    def __init__(
        self, frames: np.ndarray | Sequence[np.ndarray], crop: Crop, repeats: np.ndarray
    ) -> None:
        self.crop = crop
        self._frames = frames
        self._order = np.repeat(np.arange(len(repeats)), repeats)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[np.ndarray]:
        for i in self._order.tolist():
            yield cut(np.asarray(self._frames[i]), self.crop).copy()

    def around(self, number: int) -> np.ndarray:
        """The whole picture of a frame, uint8 (H, W, 3)."""
        return np.asarray(self._frames[int(self._order[number])])
