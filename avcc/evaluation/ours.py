"""avcc as the evaluation runs it: its modes, and live streams in segments of some lengths."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from avcc.evaluation import memory
from avcc.evaluation.split import Coded
from avcc.media.live import PIECE
from avcc.stages import MODES, SAMPLES_PER_FRAME, Clip


@dataclass(frozen=True)
class Way:
    """``segment``: seconds, of a live stream; 0: a file."""

    mode: str = "auto"
    segment: float = 0.0

    @property
    def told(self) -> str:
        """The way in a few words."""
        live = f", live, segments of {self.segment:g} s" if self.segment else ""
        return f"mode {self.mode}{live}"


WAYS = {
    "avcc": Way(),
    **{mode: Way(mode) for mode in MODES[1:]},
    **{f"live-{seconds:g}": Way(segment=seconds) for seconds in (4, 2, 1, 0.4)},
}


def coded(clip: Clip, rate: float, way: Way) -> Coded:
    """``clip``, its frames an array, there and back. Raises ``AvccError``."""
    size = memory.our_models()
    encode = partial(_sent if way.segment else _file, clip, rate, way)
    began = time.perf_counter()
    data = encode()
    there = time.perf_counter()
    decode = partial(_shown if way.segment else _decoded, data)
    frames, audio = decode()
    times = there - began, time.perf_counter() - there
    return Coded(len(data), frames, audio, *times, "", way.told, (encode,), (decode,), size)


def _file(clip: Clip, rate: float, way: Way) -> bytes:
    import avcc

    return avcc.encode(clip, bitrate=rate, mode=way.mode)


def _decoded(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    import avcc

    clip = avcc.decode(data)
    return np.stack(list(clip.frames)), clip.audio


def _sent(clip: Clip, rate: float, way: Way) -> bytes:
    """In pieces, as they come from a camera; what is left at the end is shorter."""
    import avcc

    sounds = clip.audio is not None
    sender = avcc.Codec().sender(rate, crop=clip.crop, sound=sounds, segment=way.segment)
    frames, out = np.stack(list(clip.frames)), []
    for first in range(0, clip.count, PIECE):
        heard = slice(first * SAMPLES_PER_FRAME, (first + PIECE) * SAMPLES_PER_FRAME)
        sound = clip.audio[heard] if clip.audio is not None else None
        out.append(sender(frames[first : first + PIECE], sound))
    return b"".join([*out, sender.close()])


def _shown(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """As it is shown while it comes, without what only a file's decoder knows."""
    import avcc

    pictures: list[np.ndarray] = []
    sounds: list[np.ndarray] = []
    for part in avcc.Codec().receiver()(data, True):
        pictures += list(part.frames)
        sounds += [] if part.sound is None else [part.sound]
    return np.stack(pictures), np.concatenate(sounds) if sounds else None
