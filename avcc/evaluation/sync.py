"""Whether lips and voice are in step: mouth openings against the energy of the voice.

Independent of the codec: openings are MediaPipe's, the energy is that of the waveform. A real clip
has an offset of its own (lips open before they are heard) and a correlation well below 1, so the
decoded clip's figures are read beside its source's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from avcc.evaluation.picture import mouth_openings
from avcc.stages import FRAME_RATE, SAMPLES_PER_FRAME

REACH = 10  # frames that sound and lips may be apart
FLOOR = 50.0  # dB under the loudest frame: what lies below is silence


def energies(audio: np.ndarray, count: int) -> np.ndarray:
    """Level of each of ``count`` frames in dB, at least ``FLOOR`` under the loudest: (count,)."""
    wave = np.zeros(count * SAMPLES_PER_FRAME)
    wave[: len(audio)] = audio[: len(wave)]
    power = np.square(wave.reshape(count, SAMPLES_PER_FRAME)).mean(1)
    level = 10 * np.log10(power + 1e-12)
    return np.maximum(level, level.max() - FLOOR)


def likeness(opening: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Correlation of both (N,) with the energy ``REACH`` frames early to ``REACH`` late, each lag
    over its own overlap: (2 REACH + 1,), zeros where one of them is constant."""
    out = np.zeros(2 * REACH + 1)
    count = len(opening)
    for lag in range(-REACH, REACH + 1):
        a = opening[max(0, -lag) : count - max(0, lag)]
        b = energy[max(0, lag) : count - max(0, -lag)]
        if len(a) < 25:
            continue
        a, b = a - a.mean(), b - b.mean()
        size = float(np.linalg.norm(a) * np.linalg.norm(b))
        out[lag + REACH] = float(a @ b) / size if size > 1e-9 else 0.0
    return out


def peak(curve: np.ndarray) -> tuple[float, float]:
    """(frames that the sound is late, correlation there), by a parabola through the highest."""
    at = int(curve.argmax())
    if 0 < at < len(curve) - 1:
        before, top, after = curve[at - 1 : at + 2]
        bend = before - 2 * top + after
        if bend < -1e-12:
            return at - REACH + float((before - after) / (2 * bend)), float(top)
    return float(at - REACH), float(curve[at])


def offset(values: Mapping[str, float]) -> dict[str, float]:
    """``av_offset``: how far the decoded clip's ``sync_ms`` is from its source's, either way, ms;
    empty where one of them is missing."""
    if "sync_ms" not in values or "sync_ms_source" not in values:
        return {}
    return {"av_offset": abs(values["sync_ms"] - values["sync_ms_source"])}


def scores(mesh: np.ndarray, audio: np.ndarray | None) -> dict[str, float]:
    """``sync_ms``: how much later the sound is than the lips, ``sync``: how alike they are then.

    ``mesh`` (N, 478, 2), NaN rows where there is no face (straight lines stand for them); ``audio``
    at 16 kHz. Empty without sound, face or a second of both.
    """
    seen = np.flatnonzero(~np.isnan(mesh[:, 0, 0])) if len(mesh) else np.zeros(0, int)
    if audio is None or not len(seen) or len(mesh) < float(FRAME_RATE) or not np.any(audio):
        return {}
    opening = np.interp(np.arange(len(mesh)), seen, mouth_openings(mesh[seen]))
    if opening.std() < 1e-6:
        return {}
    late, alike = peak(likeness(opening, energies(audio, len(mesh))))
    return {"sync_ms": 1000 * late / float(FRAME_RATE), "sync": alike}
