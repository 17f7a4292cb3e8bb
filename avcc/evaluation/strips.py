"""Five frames of a clip side by side, as a JPEG of a few kB that a page can hold in itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

FRAMES = 5
SIDE = 128  # pixels of each frame
FINENESS = 4  # of the JPEG, FFmpeg's quantiser: about quality 85


def strip(frames: np.ndarray) -> bytes:
    """Frames uint8 (N, H, W, 3), N at least 1 -> a JPEG of five of them, evenly apart."""
    small = []
    for at in ((np.arange(FRAMES) + 0.5) * len(frames) / FRAMES).astype(int):
        whole = av.VideoFrame.from_ndarray(np.ascontiguousarray(frames[at]), format="rgb24")
        small.append(
            whole.to_ndarray(width=SIDE, height=SIDE, format="rgb24", interpolation="AREA")
        )
    return jpeg(np.hstack(small))


def jpeg(picture: np.ndarray) -> bytes:
    """uint8 (H, W, 3), sides even."""
    coder: Any = av.CodecContext.create("mjpeg", "w")
    coder.height, coder.width = picture.shape[:2]
    coder.pix_fmt, coder.time_base = "yuvj420p", Fraction(1)
    coder.qmin = coder.qmax = FINENESS
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    how = {"dst_colorspace": "ITU601", "dst_color_range": "JPEG"}
    full = frame.reformat(format="yuvj420p", **how)  # type: ignore[arg-type]
    return b"".join(bytes(packet) for f in (full, None) for packet in coder.encode(f))


def name(film: str) -> str:
    """What the strip of a film is called, beside it."""
    return str(Path(film).with_suffix(".jpg"))


def embedded(folder: Path, film: str) -> str:
    """The strip of a film in a folder as an address that holds it; empty where there is none."""
    try:
        data = (folder / name(film)).read_bytes() if film else b""
    except OSError:
        data = b""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if data else ""


def blocks(
    folder: Path, sources: dict[str, str], coded: Sequence[tuple[str, str, str, str]]
) -> list[dict[str, Any]]:
    """By clip the strips of its source and of what was ``coded`` of it (clip, rate, label, film),
    equal rates together. Clips of which nothing can be shown are left out."""
    found = []
    for clip, source in sources.items():
        rates: dict[str, list[dict[str, str]]] = {}
        for of, rate, label, film in coded:
            if of == clip and (shown := embedded(folder, film)):
                rates.setdefault(rate, []).append({"label": label, "picture": shown})
        first = embedded(folder, source)
        if first and rates:
            parts = [{"rate": rate, "lines": lines} for rate, lines in rates.items()]
            found.append({"clip": clip, "source": first, "rates": parts})
    return found
