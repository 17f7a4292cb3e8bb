"""What ordinary codecs make of a clip: H.264, HEVC, AV1 and VP9 through PyAV; Opus and Codec2.

Each picture coder is a good, slow setting of its encoder with one key frame, and its quality is
searched for the finest that fits the bits asked for. Sizes are real bytes of the elementary streams
(every packet, headers in band), without a container, which flatters peers by some hundred bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from avcc.stages import FRAME_RATE, SAMPLE_RATE

os.environ.setdefault("SVT_LOG", "1")  # errors only; read when the encoder starts

CODEC2_MODES = {"700C": 700, "1200": 1200, "2400": 2400}  # mode: bits a second
_PICTURE = {  # peer: encoder, decoder, range of its quality (fine, coarse), options
    "x264": ("libx264", "h264", (10, 51), {"preset": "veryslow", "tune": "ssim", "g": "9999"}),
    "x265": (
        "libx265",
        "hevc",
        (10, 51),
        {"preset": "slower", "x265-params": "keyint=9999:log-level=none:info=0:pools=none"},
    ),
    "svtav1": (
        "libsvtav1",
        "libdav1d",
        (20, 63),
        {"preset": "3", "svtav1-params": "keyint=-1:tune=2:lp=1"},
    ),
    "vp9": (
        "libvpx-vp9",
        "libvpx-vp9",
        (20, 63),
        {"deadline": "good", "cpu-used": "1", "b": "0", "g": "9999"},
    ),
}


@cache
def available(peer: str) -> bool:
    """Whether this PyAV build can code and decode ``peer``."""
    encoder, decoder, *_ = _PICTURE[peer]
    try:
        av.codec.Codec(encoder, "w")
        av.codec.Codec(decoder, "r")
    except ValueError:
        return False
    return True


def coded_pictures(peer: str, frames: np.ndarray, quality: int) -> list[bytes]:
    """Packets of ``frames`` (N, H, W, 3) at 25 a second with constant ``quality`` (CRF)."""
    encoder, _, _, options = _PICTURE[peer]
    return encoded(encoder, frames, {**options, "crf": str(quality)})


def encoded(encoder: str, frames: np.ndarray, options: dict[str, str]) -> list[bytes]:
    """Packets of uint8 RGB (N, H, W, 3) as 4:2:0, BT.601, studio range."""
    context: Any = av.CodecContext.create(encoder, "w")
    context.height, context.width = frames.shape[1:3]
    context.pix_fmt = "yuv420p"
    context.framerate, context.time_base = FRAME_RATE, 1 / FRAME_RATE
    context.thread_count = 1
    context.options = options
    packets = []
    for index, rgb in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        picture = picture.reformat(
            format="yuv420p",
            dst_colorspace="ITU601",
            dst_color_range="MPEG",
            interpolation="LANCZOS",
        )
        picture.pts, picture.time_base = index, Fraction(1 / FRAME_RATE)
        packets += context.encode(picture)
    packets += context.encode(None)
    return [bytes(packet) for packet in packets]


def decoded_pictures(decoder: str, packets: list[bytes]) -> np.ndarray:
    """uint8 RGB (N, H, W, 3) of packets in coding order."""
    context: Any = av.CodecContext.create(decoder, "r")
    pictures = []
    for packet in packets:
        pictures += context.decode(av.Packet(packet))
    pictures += context.decode(None)
    how = {"format": "rgb24", "src_colorspace": "ITU601", "interpolation": "LANCZOS"}
    return np.stack([picture.reformat(**how).to_ndarray() for picture in pictures])


def pictures_within(peer: str, frames: np.ndarray, most: int) -> tuple[int, np.ndarray] | None:
    """Real size and decoded frames of the finest quality of at most ``most`` bytes, if any is."""
    _, decoder, (fine, coarse), _ = _PICTURE[peer]
    found = finest(lambda quality: coded_pictures(peer, frames, quality), fine, coarse, most)
    if found is None:
        return None
    return sum(map(len, found)), decoded_pictures(decoder, found)


def finest(
    code: Callable[[int], list[bytes]], fine: int, coarse: int, most: int
) -> list[bytes] | None:
    """Packets of the lowest quantiser in ``fine..coarse`` that take at most ``most`` bytes."""
    best = None
    while fine <= coarse:
        middle = (fine + coarse) // 2
        packets = code(middle)
        if sum(map(len, packets)) <= most:
            best, coarse = packets, middle - 1
        else:
            fine = middle + 1
    return best


def opus(audio: np.ndarray, bitrate: int) -> tuple[int, np.ndarray]:
    """Real size and decoded sound of Opus (VBR, 60 ms packets, its delay removed)."""
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
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "mono"
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    pieces = []
    for packet in [*map(av.Packet, data), None]:
        for frame in decoder.decode(packet):
            frame.pts = None
            pieces += [f.to_ndarray().reshape(-1) for f in resampler.resample(frame)]
    pieces += [f.to_ndarray().reshape(-1) for f in resampler.resample(None)]
    sound = np.concatenate(pieces)
    delay = 104  # 6.5 ms of look-ahead at 16 kHz
    return sum(map(len, data)), sound[delay : delay + len(audio)]


def codec2_found() -> bool:
    """Whether Codec2's two commands (Debian: ``codec2``) are on the path."""
    return bool(shutil.which("c2enc") and shutil.which("c2dec"))


def codec2(audio: np.ndarray, mode: str = "700C") -> tuple[int, np.ndarray]:
    """Real size and decoded sound, 8 kHz inside, through ``c2enc`` and ``c2dec``."""
    with tempfile.TemporaryDirectory() as folder:
        raw, bits, back = (str(Path(folder, name)) for name in ("in.raw", "bits.c2", "out.raw"))
        narrow = np.clip(_resampled(audio, SAMPLE_RATE, 8_000), -1, 1)
        (narrow * 32767).astype("<i2").tofile(raw)
        for command in (["c2enc", mode, raw, bits], ["c2dec", mode, bits, back]):
            subprocess.run(command, check=True, capture_output=True)
        wide = _resampled(np.fromfile(back, "<i2").astype(np.float32) / 32768, 8_000, SAMPLE_RATE)
        size = Path(bits).stat().st_size
    return size, np.pad(wide, (0, max(0, len(audio) - len(wide))))[: len(audio)]


def _resampled(audio: np.ndarray, rate: int, to: int) -> np.ndarray:
    """float32 mono at another sample rate."""
    frame = av.AudioFrame.from_ndarray(audio[None].astype(np.float32), "flt", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler("flt", "mono", to)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([piece.to_ndarray().reshape(-1) for piece in pieces])
