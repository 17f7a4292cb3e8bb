"""How a peer's bits are parted between picture and voice: searched, and the best is kept.

A peer's voice may be any of ``voices``, its picture any shape of ``peers.SHAPES`` that fits into
the bytes that this voice leaves. Of all these pairs the one counts whose score is highest: how near
the picture is (1 - LPIPS, or SSIM where the perceptual network is absent, on every tenth frame)
plus how intelligible the voice is (ESTOI; 0 where ``pystoi`` is absent). Both are between 0 and 1.
The choice looks at the source, as an encoder may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from avcc.evaluation.memory import Task
from avcc.evaluation.peers import Drawn
from avcc.evaluation.voices import Voice, voices
from avcc.stages import FRAME_RATE

STRIDE = 10  # frames; enough to choose by


class Pictures(Protocol):
    """A coder of one clip's pictures."""

    def within(self, most: int) -> Iterator[Drawn]:
        """All that it has to offer within ``most`` bytes, each at its finest."""


@dataclass(frozen=True)
class Coded:
    """One coder's clip: ``size`` in real bytes, pictures uint8 (N, H, W, 3), sound or ``None``; the
    tasks that code and decode it again (``memory``), and the bytes of models that this takes."""

    size: int
    frames: np.ndarray
    audio: np.ndarray | None
    encode_seconds: float
    decode_seconds: float
    note: str = ""
    setting: str = ""  # of the coder, as it was run
    encode: tuple[Task, ...] = ()
    decode: tuple[Task, ...] = ()
    model_bytes: int = 0


@dataclass(frozen=True)
class Judge:
    """What a split is chosen by: two measures from 0 to 1, more is better."""

    picture: Callable[[np.ndarray, np.ndarray], float]
    voice: Callable[[np.ndarray, np.ndarray], float]


class Material:
    """One clip as peers get it, with all that they share between rates."""

    def __init__(self, frames: np.ndarray, audio: np.ndarray | None, judge: Judge) -> None:
        """Frames uint8 (N, H, W, 3), sound at 16 kHz or ``None``."""
        self.frames, self.audio, self.judge = frames, audio, judge
        self._pictures: dict[str, Pictures] = {}
        self._scores: dict[tuple[str, str], float] = {}

    @cached_property
    def voices(self) -> list[tuple[float, Voice]]:
        """Scores and voices, cheapest first, without those that are dearer and no better."""
        kept: list[tuple[float, Voice]] = []
        for voice in voices(self.audio):
            score = 0.0
            if self.audio is not None and voice.sound is not None:
                score = self.judge.voice(self.audio, voice.sound)
            if not kept or score > max(before for before, _ in kept):
                kept.append((score, voice))
        return kept

    def best(self, coder: str, make: Callable[[], Pictures], rate: float) -> Coded | None:
        """The best split of ``rate`` bits a second; ``None`` where nothing fits."""
        if coder not in self._pictures:
            self._pictures[coder] = make()
        total = int(rate * len(self.frames) / float(FRAME_RATE) / 8)
        best: tuple[float, Drawn, Voice] | None = None
        for heard, voice in self.voices:
            if voice.size >= total:
                continue
            for drawn in self._pictures[coder].within(total - voice.size):
                score = heard + self._score(coder, drawn)
                if best is None or score > best[0]:
                    best = score, drawn, voice
        return None if best is None else _coded(*best)

    def _score(self, coder: str, drawn: Drawn) -> float:
        key = coder, drawn.setting
        if key not in self._scores:
            pair = self.frames[::STRIDE], drawn.frames[::STRIDE]
            self._scores[key] = self.judge.picture(*pair)
        return self._scores[key]


def _coded(score: float, drawn: Drawn, voice: Voice) -> Coded:
    return Coded(
        drawn.size + voice.size,
        drawn.frames,
        voice.sound,
        drawn.encode_seconds + voice.encode_seconds,
        drawn.decode_seconds + voice.decode_seconds,
        f"picture {drawn.size} bytes, voice {voice.size}",
        f"{drawn.setting}; {voice.setting}",
        tuple(task for task in (drawn.encode, voice.task) if task),
        tuple(task for task in (drawn.decode, voice.task) if task),
        voice.model_bytes,
    )
