"""Makers of small test clips: a face (NASA's portrait of Eileen Collins, in the public domain,
from scikit-image's own wheel) over a grey scene, with the number of each frame in a bar code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch.nn import functional as F

from avcc.media.mesh import FaceMesh
from avcc.stages import Crop, KeyFrame

BITS = 7  # of the bar code: frame numbers modulo 128
Place = tuple[float, float, float]  # centre x and y, height of the head picture; scene heights


@cache
def portrait() -> np.ndarray:
    """uint8 (300, 300, 3): head and shoulders; the face is about a third of it."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    stored = cv2.imread(str(path))
    assert stored is not None
    return np.ascontiguousarray(stored[0:300, 80:380, ::-1])


@cache
def swaying(count: int, far: int, every: int = 1) -> tuple[KeyFrame, ...]:
    """That portrait going to and fro by ``far`` pixels of 256, as the frames 0, ``every``, ... of a
    clip."""
    whole = torch.from_numpy(portrait()).permute(2, 0, 1)[None].float()
    still = F.interpolate(whole, (256, 256), mode="area")[0].permute(1, 2, 0).byte().numpy()
    finder, found = FaceMesh(), []
    for i in range(count):
        picture = np.roll(still, round(far * np.sin(i)), 1)
        mesh = finder.points(picture)
        assert mesh is not None
        found.append(KeyFrame(picture, mesh, every * i))
    return tuple(found)


def still(_: float) -> Place:
    """The head in the middle, 0.9 of the scene's height."""
    return 0.0, 0.5, 0.9


def picture(
    number: int, time: float, size: tuple[int, int], heads: Sequence[Callable[[float], Place]]
) -> np.ndarray:
    """uint8 (H, W, 3): the scene at ``time``; x of a head is counted from the scene's middle."""
    width, height = size
    ramp = np.linspace(90, 130, width, dtype=np.float32)
    scene = np.repeat(np.repeat(ramp[None, :, None], height, 0), 3, 2).astype(np.uint8)
    for head in heads:
        x, y, tall = head(time)
        scale = tall * height / 300
        left, top = width / 2 + x * height - 150 * scale, y * height - 150 * scale
        move = np.array([[scale, 0, left], [0, scale, top]], np.float32)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        cv2.warpAffine(
            portrait(), move, size, dst=scene, flags=how, borderMode=cv2.BORDER_TRANSPARENT
        )
    for bit in range(BITS):
        left, top, side = bar(bit, size)
        scene[top : top + side, left : left + side] = 235 if number >> bit & 1 else 20
    return scene


def bar(bit: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """(left, top, side) in pixels of one bit of the code: under the chin of a still head."""
    width, height = size
    side = height // 20
    return round(width / 2 + (bit - BITS / 2) * side), round(0.64 * height), side


def number_in(face: np.ndarray, crop: Crop) -> int:
    """The frame number (modulo 128) that a canonical picture shows."""
    number = 0
    for bit in range(BITS):
        left, top, side = bar(bit, (crop.width, crop.height))
        x = round((left + side / 2 - crop.x) * 256 / crop.side)
        y = round((top + side / 2 - crop.y) * 256 / crop.side)
        number |= int(face[y - 2 : y + 3, x - 2 : x + 3].mean() > 128) << bit
    return number


def clicks(times: Sequence[float], seconds: float, rate: int) -> np.ndarray:
    """float32 (samples,): silence with 2 ms bursts at ``times``."""
    sound = np.zeros(round(seconds * rate), np.float32)
    for time in times:
        at = round(time * rate)
        sound[at : at + round(0.002 * rate)] = 0.9
    return sound


def first_click(sound: np.ndarray, after: float = 0.0) -> float:
    """Seconds of the first burst in 16 kHz ``sound``."""
    start = round(after * 16_000)
    loud = np.flatnonzero(np.abs(sound[start:]) > 0.25)
    return float((start + loud[0]) / 16_000)


@dataclass(frozen=True)
class Recipe:
    """A clip to make. Frame i is shown from ``times[i]`` (or i / ``rate``) on."""

    size: tuple[int, int] = (320, 240)
    seconds: float = 1.0
    rate: int = 25
    times: tuple[float, ...] | None = None  # a variable frame rate, to the millisecond
    heads: tuple[Callable[[float], Place], ...] = (still,)
    sound: np.ndarray | None = None  # float32 (n,), in every channel
    sound_rate: int = 44_100
    layout: str = "stereo"
    sound_start: float = 0.0  # seconds of the file's clock
    video_start: float = 0.0
    degrees: int = 0  # the display matrix turns the stored picture counter-clockwise by this
    mirrored: bool = False
    aspect: Fraction = Fraction(1)  # of a stored pixel: width over height
    codec: str = "libx264"
    container: str | None = None
    muxing: tuple[tuple[str, str], ...] = ()


def make(path: Path, recipe: Recipe) -> Path:
    """Write the clip and give its path."""
    times = recipe.times or tuple(
        i / recipe.rate for i in range(max(1, round(recipe.seconds * recipe.rate)))
    )
    unit = Fraction(1, 1000) if recipe.times else Fraction(1, recipe.rate * 10)
    with av.open(str(path), "w", format=recipe.container, options=dict(recipe.muxing)) as out:
        video = out.add_stream(recipe.codec, rate=recipe.rate)
        assert isinstance(video, VideoStream)
        if recipe.codec == "libx264":
            video.options = {"preset": "ultrafast", "crf": "16", "bf": "2", "b-adapt": "0"}
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = unit
        video.time_base = unit
        audio = None
        if recipe.sound is not None:
            audio = out.add_stream("aac", rate=recipe.sound_rate, layout=recipe.layout)
        stored = [
            _stored(picture(i, t, recipe.size, recipe.heads), recipe) for i, t in enumerate(times)
        ]
        video.height, video.width = stored[0].shape[:2]
        video.codec_context.sample_aspect_ratio = recipe.aspect
        if recipe.degrees or recipe.mirrored:
            video.set_display_rotation(recipe.degrees, hflip=recipe.mirrored)
        packets = []
        for time, image in zip(times, stored, strict=True):
            frame = VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = round((time + recipe.video_start) / unit)
            frame.time_base = unit
            packets += video.encode(frame.reformat(format="yuv420p"))
        packets += video.encode(None)
        if isinstance(audio, AudioStream):
            packets += _sound_packets(audio, recipe)
        for packet in packets:
            out.mux(packet)
    return path


def _stored(image: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The upright picture as the file stores it: squeezed, mirrored, turned."""
    if recipe.aspect != 1:
        width = round(image.shape[1] / recipe.aspect / 2) * 2
        image = cv2.resize(image, (width, image.shape[0]), interpolation=cv2.INTER_AREA)
    if recipe.mirrored:
        image = image[:, ::-1]
    return np.ascontiguousarray(np.rot90(image, -recipe.degrees // 90))


def _sound_packets(stream: AudioStream, recipe: Recipe) -> list[av.Packet]:
    assert recipe.sound is not None
    packets = []
    channels = stream.codec_context.layout.nb_channels
    start = round(recipe.sound_start * recipe.sound_rate)
    for at in range(0, len(recipe.sound), 1024):
        part = recipe.sound[at : at + 1024].astype(np.float32)
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(np.repeat(part[None], channels, 0)),
            format="fltp",
            layout=recipe.layout,
        )
        frame.sample_rate = recipe.sound_rate
        frame.time_base = Fraction(1, recipe.sound_rate)
        frame.pts = start + at
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))
