"""``avcc doctor``: is everything here that encoding and decoding need, and does it work?"""

from __future__ import annotations

import io
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from avcc import weights
from avcc.container.read import read
from avcc.container.write import write as written
from avcc.entropy import coder
from avcc.entropy.tables import Codebook
from avcc.errors import AvccError
from avcc.stages import (
    FRAME_RATE,
    SAMPLES_PER_FRAME,
    SIDE,
    SILENT,
    TOKENS,
    Head,
    Identity,
    OperatingPoint,
    Segment,
    Symbols,
)

PACKAGES = ("torch", "numpy", "av", "constriction", "safetensors", "einops", "click")
# What for, the library's name, and whether it writes or reads.
CODECS = (
    ("key frames are coded", "libsvtav1", "w"),
    ("key frames are decoded", "libdav1d", "r"),
    ("MP4 pictures are written", "libx264", "w"),
    ("MP4 sound is written", "aac", "w"),
    ("WebM pictures are written", "libvpx-vp9", "w"),
    ("WebM and Matroska sound is written", "libopus", "w"),
    ("H.264 clips are read", "h264", "r"),
)
SECONDS = 2.0  # of the clip that the self-test decodes
LEVEL = 25  # index of a voice's level: -12 dB


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what was seen."""

    name: str
    well: bool
    seen: str

    def __str__(self) -> str:
        return f"{'ok' if self.well else 'FAILED':<7}{self.name}: {self.seen}"


def findings(device: str = "auto", seconds: float = SECONDS) -> Iterator[Finding]:
    """All checks, one after another; none of them raises."""
    yield _finding("avcc", _versions_of_avcc)
    for name in PACKAGES:
        yield _finding(name, lambda name=name: version(name))  # type: ignore[misc]
    yield _finding("devices", lambda: _devices(device))
    yield _finding("weights", _weights)
    for what, name, mode in CODECS:
        yield _finding(name, lambda w=what, n=name, m=mode: _codec(w, n, m))  # type: ignore[misc]
    yield _finding("face finder", _face_finder)
    yield _finding("self-test", lambda: _self_test(device, seconds))


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except Exception as error:  # whatever it is, it is what a person came to hear
        told = str(error) if isinstance(error, AvccError) else f"{type(error).__name__}: {error}"
        return Finding(name, False, " ".join(told.split()) or "no reason given")


def _versions_of_avcc() -> str:
    return f"{version('avcc')}, Python {platform.python_version()}, {platform.platform()}"


def _devices(device: str) -> str:
    import torch

    from avcc.device import device_named, drawing

    there = ["cpu"]
    if torch.cuda.is_available():
        there += [
            f"cuda ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())
        ]
    if torch.mps.is_available():
        there.append("mps")
    chosen, threads = device_named(device), torch.get_num_threads()
    numbers = str(drawing(chosen)).removeprefix("torch.")
    return f"{', '.join(there)}; {device} is {chosen}; {threads} threads; drawn in {numbers}"


def _weights() -> str:
    """Every part of every model, by its SHA-256."""
    models = weights.models()
    total = 0
    for model in models:
        for part in weights.PARTS:
            total += len(weights.data_of(model, part))
        weights.codebook(model)
    names = ", ".join(model.hex() for model in models)
    return f"{names} in {weights.folder()}; {total / 1e6:.0f} MB, SHA-256 as in the manifest"


def _codec(what: str, name: str, mode: str) -> str:
    import av

    av.codec.Codec(name, mode)  # type: ignore[arg-type]
    return what


def _face_finder() -> str:
    from avcc.media.mesh import FaceMesh

    FaceMesh(static=True).points(_picture())
    return "loads and looks"


def _self_test(device: str, seconds: float) -> str:
    """A clip of made-up symbols, by the way that every file goes: no photograph is needed."""
    from avcc.codec import Codec
    from avcc.media.write import write

    model = weights.default()
    frames = max(1, round(seconds * float(FRAME_RATE)))
    symbols = made_up(model, frames, weights.codebook(model))
    data = written(coder.encode(symbols, weights.codebook(model)))
    again = coder.decode(read(data), weights.codebook(model))
    if written(coder.encode(again, weights.codebook(model))) != data:
        raise AvccError("the range coder doesn't read what it wrote")
    clip = Codec(device).decode(data)
    if clip.audio is None or not np.isfinite(clip.audio).all() or not clip.audio.any():
        raise AvccError("the voice that came out is no sound")
    out = io.BytesIO()
    write(out, clip)
    drawn = len(out.getvalue())
    return f"{len(data)} bytes to {frames} pictures and their sound, an MP4 of {drawn} bytes"


def made_up(model: bytes, frames: int, book: Codebook) -> Symbols:
    """A clip that nobody spoke: a picture by formula that sways, vowels that never were."""
    from avcc.analysis.identity import coded_picture
    from avcc.quantise.scalar import SHAPE_STEPS, rounded

    point = OperatingPoint(2, 2, min(2, book.layers), True)
    shape = np.zeros(len(SHAPE_STEPS))
    shape[:3] = 0.5, 0.45, np.log(0.1)  # place and size
    voice = np.full(len(book.table("voice")), 3)
    voice[-1] = LEVEL
    picture = coded_picture(_picture(), 128, 45, preset=8)
    key = Identity(picture, 128, rounded(shape, SHAPE_STEPS), voice.astype(np.int64))
    segments = []
    for first in range(0, frames, 100):
        count = min(100, frames - first)
        t = first + np.arange(0, count, point.motion_stride)
        sway = np.rint(3 * np.sin(t[:, None] / 9 + np.arange(book.directions))).astype(np.int64)
        tokens = (first + np.arange(count)) // 4 * 7 % TOKENS
        tokens[np.arange(count) % 40 > 35] = SILENT
        rest = np.outer(tokens, np.arange(1, point.acoustic_layers + 1)) % 256
        rest[tokens == SILENT] = 0
        segments.append(Segment(count, sway, tokens, rest))
    head = Head(model, FRAME_RATE, frames, frames * SAMPLES_PER_FRAME, None, 0, point)
    return Symbols(head, (key,), tuple(segments))


def _picture() -> np.ndarray:
    """uint8 (256, 256, 3): a bright oval on a ramp."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    oval = np.exp(-np.square((x - 0.5) / 0.2) - np.square((y - 0.45) / 0.28))
    ramp = np.stack([60 + 40 * x, 70 + 30 * y, 80 + 20 * x], -1)
    return np.rint(ramp + oval[..., None] * (110, 80, 60)).clip(0, 255).astype(np.uint8)
