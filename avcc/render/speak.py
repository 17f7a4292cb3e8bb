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
        self, mel: np.ndarray, silent: np.ndarray, level: float, samples: int, start: int = 0
    ) -> np.ndarray:
        """Mel float32 (2 N, 80), silence bool (N,), RMS of active speech -> float32 (samples,),
        from token ``start`` on."""
        count = min(len(silent), start + -(-samples // SAMPLES_PER_FRAME))
        out = np.zeros(samples, np.float32)
        kept: list[np.ndarray] = []
        device = self._vocoder.window.device
        # All in place and window by window: of hours of a voice there is one copy.
        for a in range(start // WINDOW * WINDOW, count, WINDOW):
            first, last = max(0, a - MARGIN), min(len(silent), a + WINDOW + MARGIN)
            window = torch.from_numpy(mel[2 * first : 2 * last])[None].to(device)
            wave = self._vocoder(window)[0].float().cpu().numpy()
            begin, end = max(a, start), min(a + WINDOW, count)
            wave = wave[(begin - first) * SAMPLES_PER_FRAME :][: (end - begin) * SAMPLES_PER_FRAME]
            wave = wave * _loudness(silent, begin, end)
            at = (begin - start) * SAMPLES_PER_FRAME
            room = len(out[at : at + len(wave)])
            out[at : at + room] = wave[:room]
            kept.append(powers(wave))
        if kept:
            out *= level / np.clip(loud_level(np.concatenate(kept)), LEVEL / MEND, LEVEL * MEND)
        return np.clip(out, -1, 1, out=out)


def _loudness(silent: np.ndarray, first: int, last: int) -> np.ndarray:
    """Gain of each sample of tokens ``first`` to ``last``: 0 inside silence, 1 in sound, straight
    lines between."""
    left, right = max(0, first - 1), min(len(silent), last + 1)  # a line starts at a neighbour
    around = np.pad(silent, 1, constant_values=True)[left : right + 2]
    deep = around[1:-1] & around[:-2] & around[2:]
    centres = (np.arange(left, right) + 0.5) * SAMPLES_PER_FRAME
    at = np.arange(first * SAMPLES_PER_FRAME, last * SAMPLES_PER_FRAME)
    return np.interp(at, centres, 1.0 - deep).astype(np.float32)
