"""The voice of a clip that isn't over: its level and the speaker's mean so far."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from avcc.analysis.mel import LEVEL, loud_level, powers
from avcc.analysis.speech import FAINT, Ear, Hearing, silence, silent_frames
from avcc.stages import SAMPLES_PER_FRAME

BEFORE, AFTER = 50, 5  # frames around a segment that are listened to as well; more change nothing
REMEMBERED = 500  # frames whose loudness counts: 20 s


class Listener:
    """Hears one segment after another.

    ``level``: RMS of active speech at which the decoder shall play the voice: that of all that is
    there at first. Later speech is brought to it, for what was sent once can't be said again.
    """

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._loud: deque[float] = deque(maxlen=REMEMBERED)
        self._sum: np.ndarray | float = 0.0
        self._sounding = 0
        self.level: float | None = None

    def __call__(self, wave: np.ndarray, before: int, frames: int) -> Hearing:
        """``frames`` frames of a voice behind ``before`` others, float32 (samples,), as
        ``Ear`` hears them; what follows them is listened to as well."""
        here, loud = slice(before, before + frames), powers(wave)
        self._loud.extend(loud[here].tolist())
        level = loud_level(loud if self.level is None else np.array(self._loud))
        if self.level is None:
            self.level = level if level >= FAINT else LEVEL
        if level < FAINT:
            return silence(frames)
        count = len(wave) // SAMPLES_PER_FRAME
        whole = wave[: count * SAMPLES_PER_FRAME] * np.float32(LEVEL / level)
        silent = silent_frames(whole)
        found = self._ear.heard(whole, silent)
        sounding = found.semantic[here][~silent[here]]
        self._sum = self._sum + sounding.sum(0)
        self._sounding += len(sounding)
        return replace(
            found,
            semantic=found.semantic[here] - self._sum / max(1, self._sounding),
            acoustic=found.acoustic[here],
            silent=silent[here],
        )
