"""What other speech coders make of a voice: Codec2 at three rates, Opus at its lowest ones, and
Opus with a network behind it where that is there (``enhanced``).

Sound is float32 mono at 16 kHz. Sizes are real bytes: Codec2's file, Opus's packets.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from avcc.evaluation.memory import Task, cost
from avcc.stages import SAMPLE_RATE

CODEC2_MODES = {"700C": 700, "1200": 1200, "2400": 2400}  # mode: bits a second
OPUS_RATES = (6_000, 8_000, 12_000, 16_000)  # of the encoder; it goes no lower than 6 kbps


@dataclass(frozen=True)
class Voice:
    """A coded voice: real bytes, what is heard, how it was made, and what it took; the task that
    codes and decodes it again (``memory``), and how many bytes of models its coder loads."""

    size: int
    sound: np.ndarray | None
    setting: str
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    task: Task | None = None
    model_bytes: int = 0


def voices(audio: np.ndarray | None) -> list[Voice]:
    """The voice by every coder that is there, cheapest first; without sound one that is free."""
    if audio is None:
        return [Voice(0, None, "no sound")]
    from avcc.evaluation import enhanced  # which needs what is here

    coders: list[Callable[[np.ndarray], Voice]] = []
    if codec2_found():
        coders += [_with(codec2, mode) for mode in CODEC2_MODES]
    coders += [_with(opus, rate) for rate in OPUS_RATES]
    if not enhanced.absence():
        coders += [_with(enhanced.opus, rate) for rate in enhanced.RATES]
    return sorted((code(audio) for code in coders), key=lambda voice: voice.size)


def _with(code: Callable[[np.ndarray, Any], Voice], how: Any) -> Callable[[np.ndarray], Voice]:
    return lambda audio: code(audio, how)


def opus(audio: np.ndarray, bitrate: int) -> Voice:
    """Opus for speech, VBR, 60 ms packets, its delay removed."""
    began = time.perf_counter()
    context: Any = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = SAMPLE_RATE, "mono", "flt"
    context.bit_rate = bitrate
    context.options = {"application": "voip", "frame_duration": "60"}
    padded = np.pad(audio.astype(np.float32), (0, SAMPLE_RATE // 5))
    context.open()
    packets = []
    size = context.frame_size
    for start in range(0, len(padded) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(padded[None, start : start + size], "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        packets += context.encode(frame)
    packets += context.encode(None)
    data = [bytes(packet) for packet in packets]
    coded = time.perf_counter()
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "mono"
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    pieces = []
    for packet in [*map(av.Packet, data), None]:
        for frame in decoder.decode(packet):
            frame.pts = None
            pieces += [f.to_ndarray().reshape(-1) for f in resampler.resample(frame)]
    pieces += [f.to_ndarray().reshape(-1) for f in resampler.resample(None)]
    delay = 104  # 6.5 ms of look-ahead at 16 kHz
    sound = np.concatenate(pieces)[delay : delay + len(audio)]
    setting = f"-c:a libopus -b:a {bitrate} -application voip -frame_duration 60"
    done = time.perf_counter()
    again = partial(opus, audio, bitrate)
    return Voice(sum(map(len, data)), sound, setting, coded - began, done - coded, again)


def codec2_found() -> bool:
    """Whether Codec2's two commands (Debian: ``codec2``) are on the path."""
    return bool(shutil.which("c2enc") and shutil.which("c2dec"))


def codec2(audio: np.ndarray, mode: str = "700C") -> Voice:
    """Codec2, 8 kHz inside, through ``c2enc`` and ``c2dec``."""
    with tempfile.TemporaryDirectory() as folder:
        raw, bits, back = (str(Path(folder, name)) for name in ("in.raw", "bits.c2", "out.raw"))
        narrow = np.clip(_resampled(audio, SAMPLE_RATE, 8_000), -1, 1)
        (narrow * 32767).astype("<i2").tofile(raw)
        times = []
        for command in (["c2enc", mode, raw, bits], ["c2dec", mode, bits, back]):
            times.append(cost(command).seconds)
        wide = _resampled(np.fromfile(back, "<i2").astype(np.float32) / 32768, 8_000, SAMPLE_RATE)
        size = Path(bits).stat().st_size
    sound = np.pad(wide, (0, max(0, len(audio) - len(wide))))[: len(audio)]
    setting = f"c2enc {mode} (8 kHz)"
    return Voice(size, sound, setting, times[0], times[1], partial(codec2, audio, mode))


def _resampled(audio: np.ndarray, rate: int, to: int) -> np.ndarray:
    """float32 mono at another sample rate."""
    frame = av.AudioFrame.from_ndarray(audio[None].astype(np.float32), "flt", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler("flt", "mono", to)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([piece.to_ndarray().reshape(-1) for piece in pieces])
