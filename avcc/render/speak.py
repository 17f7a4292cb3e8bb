"""Mel -> a voice at the level it had, in windows of bounded size."""

from __future__ import annotations

import numpy as np
import torch

from avcc.analysis.mel import LEVEL, loud_level, powers
from avcc.render.voice import Vocoder
from avcc.stages import SAMPLES_PER_FRAME

WINDOW, MARGIN = 250, 20  # tokens spoken at a time, and beyond each side (the vocoder hears 10)

# How far off its level a decoded voice may be and still be brought to the one that was sent: a
# voice unlike those of training comes out too quiet.
MEND = 4.0


class Speaker:
    """The vocoder over a whole clip."""

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder = vocoder

    @torch.inference_mode()
    def __call__(
        self, mel: np.ndarray, silent: np.ndarray, level: float, samples: int
    ) -> np.ndarray:
        """Mel float32 (2 N, 80), silence bool (N,), RMS of active speech -> float32 (samples,)."""
        count, out = len(silent), np.zeros(samples, np.float32)
        kept: list[np.ndarray] = []
        device = self._vocoder.window.device
        # All in place and window by window: of hours of a voice there is one copy.
        for a in range(0, count, WINDOW):
            first, last = max(0, a - MARGIN), min(count, a + WINDOW + MARGIN)
            window = torch.from_numpy(mel[2 * first : 2 * last])[None].to(device)
            wave = self._vocoder(window)[0].float().cpu().numpy()
            here = slice(a * SAMPLES_PER_FRAME, min(count, a + WINDOW) * SAMPLES_PER_FRAME)
            wave = wave[(a - first) * SAMPLES_PER_FRAME :][: here.stop - here.start]
            wave = wave * _loudness(silent, a, min(count, a + WINDOW))
            room = len(out[here])
            out[here] = wave[:room]
            kept.append(powers(wave))
        out *= level / np.clip(loud_level(np.concatenate(kept)), LEVEL / MEND, LEVEL * MEND)
        return np.clip(out, -1, 1, out=out)


def _loudness(silent: np.ndarray, first: int, last: int) -> np.ndarray:
    """Gain of each sample of some frames: 0 inside silence, 1 in sound, straight lines between."""
    around = np.pad(silent, 1, constant_values=True)
    deep = silent & around[:-2] & around[2:]
    centres = (np.arange(len(silent)) + 0.5) * SAMPLES_PER_FRAME
    at = np.arange(first * SAMPLES_PER_FRAME, last * SAMPLES_PER_FRAME)
    return np.interp(at, centres, 1.0 - deep).astype(np.float32)
