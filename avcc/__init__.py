"""avcc: a person talking to a camera, picture and voice together, in about 2,000 bits a second.

    data = avcc.encode("talk.mp4", bitrate=2000)   # bytes of an .avc file
    clip = avcc.decode(data)                       # frames at 25 a second, sound at 16 kHz
    told = avcc.info(data)                         # what is inside, and what it costs

What ``decode`` gives is synthetic: a generative model makes it from very few bits. Nothing heavy is
loaded before it is needed; ``info`` never loads torch.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from avcc.errors import AvccError, FormatError, MediaError, ModelError, RateError

if TYPE_CHECKING:
    import numpy as np

    from avcc.codec import Codec
    from avcc.stages import Clip

__all__ = [
    "AvccError",
    "Codec",
    "FormatError",
    "MediaError",
    "ModelError",
    "RateError",
    "decode",
    "encode",
    "info",
]


def encode(
    source: str | Path | BinaryIO | Clip | np.ndarray,
    bitrate: float = 2000,
    *,
    audio: np.ndarray | None = None,
    sample_rate: int = 16_000,
    fps: float = 25,
    mode: str = "auto",
    scene: bool = False,
    fec: bool = False,
    seed: int = 0,
    max_duration: float = 7200,
    max_pixels: int = 8192 * 4320,
    device: str = "auto",
) -> bytes:
    """A video of a person talking -> the bytes of an ``.avc`` file.

    ``source``: a path, a binary stream, a ``Clip``, or uint8 frames (N, H, W, 3) at ``fps``, then
    with ``audio`` float (samples,) in -1..1 at ``sample_rate``. ``bitrate``: bits a second, a
    ceiling on the whole file over the clip's duration. ``mode``: what is sent beside the key frame:
    ``av`` motion and voice, ``audio-driven`` the voice alone, from which the decoder guesses how
    the face moves, ``video-driven`` motion alone, ``auto`` whatever is best at the rate.
    ``scene``: a still of what surrounds the face is sent too, and the decoder gives the whole
    picture. ``fec``: a coarse copy of each segment is sent behind the next one, and used where the
    segment is lost. ``seed``: 0 to 65535, of the noise. ``max_duration``: seconds; a longer file or
    stream is refused, because memory grows with it, and so is one with pictures above
    ``max_pixels``.

    Raises ``MediaError`` (no face, can't be read, no voice that could drive a picture),
    ``RateError`` (out of reach for this clip), ``ModelError`` (weights).
    """
    from avcc.media.read import from_arrays, read
    from avcc.stages import Clip

    if isinstance(source, Clip):
        clip = source
    elif isinstance(source, (str, Path)) or hasattr(source, "read"):
        clip = read(source, max_duration=max_duration, max_pixels=max_pixels)  # type: ignore[arg-type]
    else:
        clip = from_arrays(source, audio, sample_rate, fps)
    return _codec(device).encode(clip, bitrate, mode=mode, scene=scene, fec=fec, seed=seed)


def decode(
    data: bytes,
    *,
    steps: int | None = None,
    seed: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    max_duration: float = 7200,
    scene: bool = True,
    max_pixels: int = 4096 * 2304,
    device: str = "auto",
) -> Clip:
    """The bytes of an ``.avc`` file -> a ``Clip``, whose frames are drawn as they are iterated.

    ``steps``: of the diffusion, more is slower. ``seed``: other noise than the file's own.
    ``start``, ``duration``: seconds, of a part; nothing else is decoded. ``max_duration``: seconds;
    a longer file is refused, because memory grows with what it declares. ``scene``: where the file
    has the surroundings, frames are the whole picture, uint8 (H, W, 3) of the source's size (even
    numbers) or, above ``max_pixels``, smaller; otherwise the crop, (256, 256, 3). Segments that
    were damaged are concealed. Raises ``FormatError``, ``ModelError``, ``AvccError`` (no such
    part).
    """
    return _codec(device).decode(
        data, steps=steps, seed=seed, start=start, duration=duration, max_duration=max_duration,
        scene=scene, max_pixels=max_pixels,
    )  # fmt: skip


def info(data: bytes) -> dict[str, Any]:
    """What an ``.avc`` file says about itself, as values that JSON can hold. ``FormatError``."""
    from avcc.container.describe import info as describe
    from avcc.container.read import read
    from avcc.weights import codebook

    try:
        book = codebook(read(data).head.model)
    except ModelError:  # a file of another model can be described all the same
        book = None
    return describe(data, book)


@lru_cache(maxsize=4)
def _codec(device: str) -> Codec:
    from avcc.codec import Codec

    return Codec(device)


def __getattr__(name: str) -> Any:
    if name == "Codec":
        from avcc.codec import Codec

        return Codec
    raise AttributeError(f"module 'avcc' has no attribute {name!r}")
