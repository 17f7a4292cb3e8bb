"""What ordinary codecs make of pictures: H.264, HEVC, AV1 (two encoders), VP9 and VVC.

Each is a good, slow setting of its encoder with one key frame; ten bits where the encoder has them,
for that saves bits even with sources of eight. Its quality is searched for the finest that fits the
bits asked for. Few bits go further on a smaller picture, or on every other one, so each may also
code the picture at a half or a quarter of its width, every one, every second or every fourth, and
scale and repeat it when decoding (``SHAPES``); ``split`` takes the best. Sizes are real bytes of
the elementary streams (every packet, headers in band), without a container, which flatters peers
by some hundred bytes.

Encoders are PyAV's; ``aom`` goes through ``aomenc`` (Debian: ``aom-tools``) where PyAV's build
lacks libaom, and ``vvenc`` through ``vvencapp``, both on the path.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from typing import Any

import av
import numpy as np

from avcc.analysis.identity import same_priority
from avcc.evaluation import commands
from avcc.evaluation.memory import Task
from avcc.stages import FRAME_RATE

os.environ.setdefault("SVT_LOG", "1")  # errors only; read when the encoder starts


@dataclass(frozen=True)
class Encoder:
    """How a peer is run: names of PyAV's coders, the range of its quality, pixels, options."""

    encoder: str
    decoder: str
    fine: int
    coarse: int
    pixels: str
    options: dict[str, str]
    quality: str = "crf"
    program: str = ""  # on the path, where PyAV has no such encoder


PEERS = {
    "x264": Encoder(
        "libx264", "h264", 10, 51, "yuv420p", {"preset": "veryslow", "tune": "ssim", "g": "9999"}
    ),
    "x265": Encoder(
        *("libx265", "hevc", 10, 51, "yuv420p10le"),
        {"preset": "slower", "x265-params": "keyint=9999:log-level=none:info=0:pools=none"},
    ),
    "svtav1": Encoder(
        *("libsvtav1", "libdav1d", 20, 63, "yuv420p10le"),
        {"preset": "3", "svtav1-params": "keyint=-1:tune=2:lp=1"},
    ),
    "aom": Encoder(
        *("libaom-av1", "libdav1d", 20, 63, "yuv420p10le"),
        {"cpu-used": "2", "b": "0", "g": "9999", "lag-in-frames": "48"},
        program="aomenc",
    ),
    "vp9": Encoder(
        *("libvpx-vp9", "libvpx-vp9", 20, 63, "yuv420p"),
        {"deadline": "good", "cpu-used": "1", "b": "0", "g": "9999"},
    ),
    "vvenc": Encoder("", "vvc", 20, 63, "yuv420p10le", {}, "qp", program="vvencapp"),
}
# The width's divisor; one of how many pictures is coded.
SHAPES = ((1, 1), (2, 1), (2, 2), (2, 4), (4, 2))
Coded = tuple[list[bytes], float]  # packets, and seconds that coding them took


@dataclass(frozen=True)
class Drawn:
    """Coded pictures: real bytes, frames uint8 (N, H, W, 3), how they were made, what it took, and
    the tasks that code and decode them again (``memory``)."""

    size: int
    frames: np.ndarray
    setting: str
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    encode: Task | None = None
    decode: Task | None = None


@cache
def absence(peer: str) -> str:
    """Why ``peer`` can't be run here; empty where it can."""
    how = PEERS[peer]
    if not _has(how.decoder, "r"):
        return f"this PyAV build has no decoder {how.decoder}"
    if _has(how.encoder, "w") or commands.found(how.program):
        return ""
    wanted = [f"this PyAV build has no encoder {how.encoder}"] if how.encoder else []
    wanted += [f"{how.program} isn't on the path"] if how.program else []
    return " and ".join(wanted)


def _has(name: str, mode: Any) -> bool:
    try:
        av.codec.Codec(name, mode)
    except ValueError:
        return False
    return True


class Pictures:
    """One clip's pictures by one peer. What was coded once is kept, for other rates ask for it."""

    def __init__(self, peer: str, frames: np.ndarray) -> None:
        """Frames uint8 RGB (N, H, W, 3), sides even also when quartered."""
        self.how, self.frames = PEERS[peer], frames
        self._kept: dict[tuple[int, int, int], Coded] = {}

    def within(self, most: int) -> Iterator[Drawn]:
        """For each shape the finest quality of at most ``most`` bytes, if any is."""
        how = self.how
        for narrow, apart in SHAPES:
            found = finest(self._coder(narrow, apart), how.fine, how.coarse, most)
            if found is not None:
                yield self._drawn(narrow, apart, *found)

    def _coder(self, narrow: int, apart: int) -> Callable[[int], Coded]:
        def code(quality: int) -> Coded:
            key = (narrow, apart, quality)
            if key not in self._kept:
                self._kept[key] = coded(self.how, self.frames[::apart], quality, narrow, apart)
            return self._kept[key]

        return code

    def _drawn(self, narrow: int, apart: int, quality: int, packets: list[bytes]) -> Drawn:
        height, width = self.frames.shape[1:3]
        began = time.perf_counter()
        pictures = decoded_pictures(self.how.decoder, packets, width, height)
        frames = np.repeat(pictures, apart, 0)[: len(self.frames)]
        spent = time.perf_counter() - began
        rate = f"{float(FRAME_RATE / apart):g}"
        setting = f"{told(self.how, quality)}, {width // narrow}x{height // narrow} at {rate} Hz"
        took = self._kept[narrow, apart, quality][1]
        encode = partial(coded, self.how, self.frames[::apart], quality, narrow, apart)
        decode = partial(decoded_pictures, self.how.decoder, packets, width, height)
        return Drawn(sum(map(len, packets)), frames, setting, took, spent, encode, decode)


def told(how: Encoder, quality: int | str) -> str:
    """The settings as FFmpeg's options, or as the command."""
    if not _has(how.encoder, "w"):
        return " ".join(commands.command(how.program, quality, "in.y4m", "out"))
    options = {**how.options, how.quality: str(quality)}
    given = " ".join(f"-{name} {value}" for name, value in options.items())
    return f"-c:v {how.encoder} -pix_fmt {how.pixels} {given}"


def coded(how: Encoder, frames: np.ndarray, quality: int, narrow: int, apart: int) -> Coded:
    """Packets of frames (N, H, W, 3), ``apart`` frames apart, at one ``narrow``th of the width."""
    height, width = (side // narrow for side in frames.shape[1:3])
    rate = FRAME_RATE / apart
    began = time.perf_counter()
    if _has(how.encoder, "w"):
        options = {**how.options, how.quality: str(quality)}
        packets = encoded(how.encoder, frames, options, how.pixels, (width, height), rate)
    else:
        planes = (_planar(rgb, how.pixels, width, height) for rgb in frames)
        packets = commands.packets(how.program, planes, quality, (width, height), rate)
    return packets, time.perf_counter() - began


def encoded(
    encoder: str,
    frames: np.ndarray,
    options: dict[str, str],
    pixels: str = "yuv420p",
    size: tuple[int, int] | None = None,
    rate: Fraction = FRAME_RATE,
) -> list[bytes]:
    """Packets of uint8 RGB (N, H, W, 3) as 4:2:0, BT.601, studio range, scaled to ``size``."""
    context: Any = av.CodecContext.create(encoder, "w")
    context.width, context.height = size or frames.shape[2:0:-1]
    context.pix_fmt = pixels
    context.framerate, context.time_base = rate, 1 / rate
    context.thread_count = 1
    context.options = options
    packets = []
    with same_priority():
        for index, rgb in enumerate(frames):
            picture = _planar(rgb, pixels, context.width, context.height)
            picture.pts, picture.time_base = index, Fraction(1 / rate)
            packets += context.encode(picture)
        packets += context.encode(None)
    return [bytes(packet) for packet in packets]


def _planar(rgb: np.ndarray, pixels: str, width: int, height: int) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    how = {"dst_colorspace": "ITU601", "dst_color_range": "MPEG", "interpolation": "LANCZOS"}
    return picture.reformat(width=width, height=height, format=pixels, **how)  # type: ignore[arg-type]


def decoded_pictures(
    decoder: str, packets: list[bytes], width: int | None = None, height: int | None = None
) -> np.ndarray:
    """uint8 RGB (N, H, W, 3) of packets in coding order, scaled to a size."""
    context: Any = av.CodecContext.create(decoder, "r")
    pictures = []
    for packet in packets:
        pictures += context.decode(av.Packet(packet))
    pictures += context.decode(None)
    how = {"format": "rgb24", "src_colorspace": "ITU601", "interpolation": "LANCZOS"}
    size = {"width": width, "height": height}
    return np.stack([picture.reformat(**size, **how).to_ndarray() for picture in pictures])


def finest(
    code: Callable[[int], Coded], fine: int, coarse: int, most: int
) -> tuple[int, list[bytes]] | None:
    """The lowest quantiser in ``fine..coarse`` within ``most`` bytes, and its packets."""
    if sum(map(len, code(coarse)[0])) > most:
        return None  # one try tells what would else take six
    best = None
    while fine <= coarse:
        middle = (fine + coarse) // 2
        packets, _ = code(middle)
        if sum(map(len, packets)) <= most:
            best, coarse = (middle, packets), middle - 1
        else:
            fine = middle + 1
    return best
