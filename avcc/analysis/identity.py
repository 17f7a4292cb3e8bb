"""Still <-> AV1 intra picture: the first half of the identity code C_id, and scenes.

AV1 decodes bit-exactly everywhere, so the decoder's key frame is known to the encoder. SVT-AV1's
slowest preset in its still-picture mode, tuned for structural similarity (``tune=2``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from math import log

import av
import numpy as np

from avcc import obus
from avcc.errors import FormatError, MediaError
from avcc.stages import SIDE

# Sizes that a key frame may be coded at, and from how many bytes on each looks best.
SIDES = {256: 900, 192: 500, 128: 130, 64: 0}
CRFS = 8, 63
FALLS = 0.06  # of the logarithm of a picture's bytes, for each unit of CRF
CLOSE = 0.985  # of a budget, that is enough of it
TRIES = 5  # along lines, before it's halved
TYPICAL, TYPICAL_CRF = 840, 44  # bytes of a validation face, mean, at a quality
_TEMPORAL_DELIMITER = b"\x12\x00"


def coded_picture(picture: np.ndarray, side: int, crf: float, preset: int = 0) -> bytes:
    """Picture uint8 (S, S, 3) coded at ``side`` x ``side``, as it is sent
    (``obus.short``).

    ``crf``: SVT-AV1's, 8 to 63, less is better, in quarters (an older SVT-AV1 rounds down).
    """
    os.environ.setdefault("SVT_LOG", "1")  # errors only; read when the encoder starts
    with same_priority():
        return _coded(picture.tobytes(), picture.shape, side, crf, preset)


# What a key frame takes is asked for more than once: to know how dear it is, and for each plan.
@lru_cache(maxsize=64)
def _coded(pixels: bytes, shape: tuple[int, ...], side: int, crf: float, preset: int) -> bytes:
    picture = np.frombuffer(pixels, np.uint8).reshape(shape)
    encoder = av.codec.CodecContext.create("libsvtav1", "w")
    encoder.width = encoder.height = side
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 25)
    whole = int(crf)  # all that FFmpeg's own option takes
    parameters = "avif=1:tune=2:lp=1" + (f":crf={crf}" if crf != whole else "")
    encoder.options = {"preset": str(preset), "crf": str(whole), "svtav1-params": parameters}
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame = frame.reformat(side, side, "yuv420p", interpolation="LANCZOS")
    frame.pts = 0
    data = b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])
    if not data:
        raise MediaError("the AV1 encoder gave nothing for a picture")
    return obus.short(data.removeprefix(_TEMPORAL_DELIMITER), side)


@contextmanager
def same_priority() -> Iterator[None]:
    """SVT-AV1, run by root, makes the thread that calls it a realtime one, and leaves it so: then
    nothing else on that core gets its turn."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameter)


def shown_picture(data: bytes, side: int, size: int = SIDE) -> np.ndarray:
    """What was sent -> uint8 (size, size, 3). Raises FormatError where they aren't one picture of
    ``side`` x ``side``."""
    try:
        decoder = av.codec.CodecContext.create("libdav1d", "r")
        # a few bytes can claim a picture of gigabytes
        decoder.options = {"max_pixels": str(side * side)}
        packet = av.Packet(_TEMPORAL_DELIMITER + obus.whole(data, side))
        frames = [*decoder.decode(packet), *decoder.decode(None)]  # type: ignore[attr-defined]
    except (av.FFmpegError, ValueError) as e:
        raise FormatError("the still isn't a readable AV1 picture") from e
    if len(frames) != 1 or (frames[0].width, frames[0].height) != (side, side):
        raise FormatError("the still isn't one AV1 picture of the size that its chunk names")
    return frames[0].reformat(size, size, "rgb24", interpolation="LANCZOS").to_ndarray()


def dearness(picture: np.ndarray) -> float:
    """How many times the bytes of a typical face a picture uint8 (S, S, 3) takes to look as good.

    What coding at one quality takes says it: of validation faces at all qualities, LPIPS after the
    renderer's restoration follows the quality more nearly than the bytes (docs/training.md).
    """
    return len(coded_picture(picture, SIDE, TYPICAL_CRF)) / TYPICAL


def fitting_picture(
    picture: np.ndarray, budget: int, sides: dict[int, int] = SIDES, preset: int = 0
) -> tuple[bytes, int] | None:
    """The best coded picture of at most ``budget`` bytes and its side; ``None`` if none fits.
    ``preset``: SVT-AV1's, for a draft that is sooner done."""
    for side in (side for side, least in sides.items() if budget >= least):
        best = _largest(picture, side, budget, preset)
        if best is not None:
            return best, side
    return None


def _largest(picture: np.ndarray, side: int, budget: int, preset: int) -> bytes | None:
    """The picture at the least CRF that fits, or nearly: the logarithm of its bytes falls evenly
    with the CRF, so two to four tries come within a hundredth of the budget."""
    fails, fits = 4 * CRFS[0] - 1, 4 * CRFS[1] + 1  # quarters, both beyond what there is
    best, at = None, 4 * TYPICAL_CRF
    wanted = log(budget * (1 + CLOSE) / 2)
    sizes: dict[int, float] = {}
    while True:
        data = coded_picture(picture, side, at / 4, preset)
        sizes[at] = log(len(data))
        if len(data) <= budget:
            best, fits = data, at
        else:
            fails = at
        if fits - fails <= 1 or (best and len(best) >= CLOSE * budget):
            return best
        at = min(max(round(_crossing(sizes, fails, fits, wanted)), fails + 1), fits - 1)


def _crossing(sizes: dict[int, float], fails: int, fits: int, wanted: float) -> float:
    """Where the logarithm of the bytes, known as ``sizes`` by CRF, would be ``wanted``: on the line
    from the CRF that ``fails`` to the one that ``fits``, in the middle where that didn't help; by
    how it falls so far where only one of them is known, farther with every try."""
    if fails in sizes and fits in sizes:
        if len(sizes) > TRIES:
            return (fails + fits) / 2
        falls = max(1e-9, (sizes[fails] - sizes[fits]) / (fits - fails))
        return fails + (sizes[fails] - wanted) / falls
    near, far = (fits, max(sizes)) if fits in sizes else (fails, min(sizes))
    falls = (sizes[near] - sizes[far]) / (far - near) if far != near else FALLS / 4
    step = (sizes[near] - wanted) / min(max(falls, FALLS / 8), FALLS / 2)
    least = len(sizes) - 1
    return near + (min(step, -least) if near == fits else max(step, least))


def fitting_pictures(pictures: Sequence[np.ndarray], budget: int) -> list[tuple[bytes, int]] | None:
    """Each as ``fitting_picture``, of at most ``budget`` bytes together, and about equally many."""
    found: list[tuple[bytes, int]] = []
    for number, picture in enumerate(pictures):
        one = fitting_picture(picture, budget // (len(pictures) - number))
        if one is None:
            return None
        found.append(one)
        budget -= len(one[0])
    return found


def smallest_picture(picture: np.ndarray) -> bytes:
    """The fewest bytes that a still can be coded in."""
    return coded_picture(picture, min(SIDES), 63)
