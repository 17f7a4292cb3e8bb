"""Mel -> a voice at the level it had, in pieces of bounded size that meet where it is quiet."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avcc.analysis.mel import LEVEL, loud_level, powers
from avcc.noise import gaussian
from avcc.pitch import pitch_of
from avcc.render.voice import Vocoder
from avcc.stages import SAMPLES_PER_FRAME

PIECE, MARGIN = 100, 20  # tokens spoken at a time, and beyond each side (the vocoder hears 10)
REACH = PIECE + 3 * MARGIN  # tokens beside one whose mel may decide how it sounds
NOISE_STREAM = 2  # AVDiff has 0 and 1

# How far off its level a decoded voice may be and still be brought to the one that was sent: a
# voice unlike those of training comes out too quiet. One that wasn't sent but made up may be hardly
# there.
MEND, MEND_MADE_UP = 4.0, 32.0


def counted(loud: float, sent: bool) -> float:
    """The level that a voice decoded at ``loud`` counts as having, when it is brought to its own;
    ``sent``: or made up."""
    mend = MEND if sent else MEND_MADE_UP
    return float(np.clip(loud, LEVEL / mend, LEVEL * mend))


class Speaker:
    """The vocoder over a whole clip."""

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder = vocoder

    def __call__(
        self,
        mel: np.ndarray,
        silent: np.ndarray,
        level: float,
        samples: int,
        start: int = 0,
        seed: int = 0,
        pitch: np.ndarray | None = None,
        sent_at_all: bool = True,
    ) -> np.ndarray:
        """Mel float32 (2 N, 80), silence bool (N,), RMS of active speech -> float32 (samples,),
        from token ``start`` on. ``seed``: of the noise in it. ``pitch``: float32 (2 N,) in Hz as
        it was sent; found in the mel where it is NaN, and where there is none. ``sent_at_all``:
        whether the voice was, or is made up."""
        count = min(len(silent), start + -(-samples // SAMPLES_PER_FRAME))
        size = (count - start) * SAMPLES_PER_FRAME
        out = np.zeros(max(samples, size), np.float32)
        # All in place and piece by piece: of hours of a voice there is one copy.
        known = np.full(len(mel), np.nan, np.float32) if pitch is None else pitch
        sent = torch.from_numpy(known)[None]
        for a, b in pieces(mel, silent):
            if b >= start and a < count:
                wave = self.piece(mel, silent, sent, a, b, seed)
                at = (a - start) * SAMPLES_PER_FRAME
                room = out[max(0, at) : max(0, min(at + len(wave), size))]
                room += wave[max(0, -at) :][: len(room)]
        out *= level / counted(loud_level(powers(out[:size])), sent_at_all)
        return np.clip(out, -1, 1, out=out)[:samples]

    @torch.inference_mode()
    def piece(
        self,
        mel: np.ndarray,
        silent: np.ndarray,
        sent: Tensor,
        a: int,
        b: int,
        seed: int,
    ) -> np.ndarray:
        """Tokens a to before b, faded in over a, and out over b. ``sent``: pitch (1, 2 N)."""
        first, last = max(0, a - MARGIN), min(len(silent), b + MARGIN)
        end = min(len(silent), b + 1)
        device = self._vocoder.window.device
        window = torch.from_numpy(mel[2 * first : 2 * last])[None].to(device)
        noise = gaussian(seed, NOISE_STREAM, first, last - first, SAMPLES_PER_FRAME).reshape(1, -1)
        pitch = pitch_of(self._vocoder.pitch, window, sent[:, 2 * first : 2 * last].to(device))
        wave = self._vocoder(window, pitch, torch.from_numpy(noise).to(device))[0].cpu().numpy()
        wave = wave[(a - first) * SAMPLES_PER_FRAME :][: (end - a) * SAMPLES_PER_FRAME]
        wave = wave * _loudness(silent, a, end)
        ramp = (np.arange(SAMPLES_PER_FRAME, dtype=np.float32) + 0.5) / SAMPLES_PER_FRAME
        if a:
            wave[:SAMPLES_PER_FRAME] *= ramp
        if end > b:
            wave[-SAMPLES_PER_FRAME:] *= 1 - ramp
        return wave


def pieces(mel: np.ndarray, silent: np.ndarray) -> list[tuple[int, int]]:
    """First tokens, and those after the last, of pieces of about ``PIECE`` tokens.

    The pulses of two pieces don't fit together, so they meet at the quietest token near.
    """
    count = len(silent)
    borders = [0]
    for middle in range(PIECE, count - MARGIN, PIECE):
        borders.append(quietest(mel, silent, middle - MARGIN, middle + MARGIN))
    return list(zip(borders, [*borders[1:], count], strict=True)) if count else []


def quietest(mel: np.ndarray, silent: np.ndarray, a: int, b: int) -> int:
    """The quietest of the tokens a to before b of a mel (2 N, 80)."""
    loud = mel[2 * a : 2 * b].reshape(b - a, -1).mean(1)
    loud[silent[a:b]] = -np.inf
    return a + int(loud.argmin())


def _loudness(silent: np.ndarray, first: int, last: int) -> np.ndarray:
    """Gain of each sample of tokens ``first`` to ``last``: 0 inside silence, 1 in sound, straight
    lines between."""
    left, right = max(0, first - 1), min(len(silent), last + 1)  # a line starts at a neighbour
    around = np.pad(silent, 1, constant_values=True)[left : right + 2]
    deep = around[1:-1] & around[:-2] & around[2:]
    centres = (np.arange(left, right) + 0.5) * SAMPLES_PER_FRAME
    at = np.arange(first * SAMPLES_PER_FRAME, last * SAMPLES_PER_FRAME)
    return np.interp(at, centres, 1.0 - deep).astype(np.float32)
