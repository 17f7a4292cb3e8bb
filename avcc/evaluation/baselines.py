"""The honest floors: what no learning at all makes of the same bits.

``frozen``: one AV1 still for the whole clip and Codec2 for the voice. ``warped``: the same still,
warped to each frame by a thin-plate spline through the *true* mesh points of the source, whose
bits are not counted: an oracle's geometry and no network. Weights that don't beat it don't ship.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from avcc.evaluation import peers

GRID = 64  # the spline is evaluated at GRID x GRID places and interpolated between
STIFFNESS = 1e-4  # added to the spline's diagonal: neighbouring lip points may nearly coincide
# fmt: off
CONTROL = (  # 98 of the 478 mesh points
    10, 297, 284, 389, 454, 361, 397, 379, 400, 152, 176, 150, 172, 132, 234, 162, 54, 67,  # oval
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 88, 87, 14, 317, 318, 308, 80, 82, 13, 312, 310,  # inner lips
    33, 163, 145, 154, 133, 157, 159, 161, 263, 390, 374, 381, 362, 384, 386, 388,  # eyelids
    468, 473,  # irises
    46, 52, 55, 65, 70, 105, 107, 276, 282, 285, 295, 300, 334, 336,  # brows
    1, 2, 4, 6, 98, 168, 195, 327,  # nose
    50, 205, 280, 425, 199, 151, 108, 337,  # cheeks, chin, forehead
)
# fmt: on


@dataclass(frozen=True)
class Coded:
    """One coder's clip: ``size`` in real bytes, pictures uint8 (N, H, W, 3), sound or ``None``."""

    size: int
    frames: np.ndarray
    audio: np.ndarray | None
    encode_seconds: float
    decode_seconds: float
    note: str = ""


def still(picture: np.ndarray, most: int) -> tuple[int, np.ndarray] | None:
    """Size and decoding of the finest AV1 still of at most ``most`` bytes; ``None``: none fits.

    SVT-AV1's still-picture mode through PyAV, preset 0, tuned for SSIM; bare OBUs without the
    temporal delimiter and the sequence header, which a format need not repeat.
    """
    options = {"preset": "0", "svtav1-params": "avif=1:tune=2"}

    def code(quality: int) -> list[bytes]:
        packets = peers.encoded("libsvtav1", picture[None], {**options, "crf": str(quality)})
        kept.update({quality: packets})
        return [frame_obus(packet) for packet in packets]

    kept: dict[int, list[bytes]] = {}
    found = peers.finest(code, 8, 63, most)
    if found is None:
        return None
    whole = min(q for q, packets in kept.items() if [frame_obus(p) for p in packets] == found)
    return sum(map(len, found)), peers.decoded_pictures("libdav1d", kept[whole])[0]


def frame_obus(data: bytes) -> bytes:
    """The frame OBUs of an AV1 temporal unit, without delimiter, sequence header and metadata."""
    stream, kept = io.BytesIO(data), b""
    while header := stream.read(1):
        size, shift, coded = 0, 0, b""
        while True:
            byte = stream.read(1)
            coded += byte
            size |= (byte[0] & 127) << shift
            shift += 7
            if byte[0] < 128:
                break
        body = stream.read(size)
        if (header[0] >> 3) & 15 in (3, 4, 6):  # frame header, tile group, frame
            kept += header + coded + body
    return kept


def frozen(frames: np.ndarray, audio: np.ndarray | None, rate: float) -> Coded | None:
    """The first frame for as long as the clip lasts; ``rate`` in bits a second of everything."""
    return _with_voice(frames, audio, rate, lambda most: _frozen(frames, most))


def warped(
    frames: np.ndarray, audio: np.ndarray | None, rate: float, mesh: np.ndarray
) -> Coded | None:
    """The first frame warped to ``mesh`` (N, 478, 2) in pixels, NaN where no face was found."""

    def pictures(most: int) -> tuple[int, np.ndarray] | None:
        key = still(frames[0], most)
        return None if key is None else (key[0], warps(key[1], mesh[: len(frames)]))

    return _with_voice(frames, audio, rate, pictures)


def peer(name: str, frames: np.ndarray, audio: np.ndarray | None, rate: float) -> Coded | None:
    """An ordinary video codec (``peers``) with the cheapest voice."""
    return _with_voice(frames, audio, rate, lambda most: peers.pictures_within(name, frames, most))


def _frozen(frames: np.ndarray, most: int) -> tuple[int, np.ndarray] | None:
    key = still(frames[0], most)
    return None if key is None else (key[0], np.repeat(key[1][None], len(frames), 0))


def _with_voice(
    frames: np.ndarray,
    audio: np.ndarray | None,
    rate: float,
    pictures: Callable[[int], tuple[int, np.ndarray] | None],
) -> Coded | None:
    """Voice first (Codec2 700C, or Opus where at least 12 kbps are there), pictures by the rest.

    Seconds count the quality search as encoding, and decoding is not told apart: 0.
    """
    began = time.perf_counter()
    total = int(rate * len(frames) / 25 / 8)
    size, sound, note = 0, None, "no sound"
    if audio is not None and rate >= 12_000:
        (size, sound), note = peers.opus(audio, 6_000), "Opus 6 kbps"
    elif audio is not None and peers.codec2_found():
        (size, sound), note = peers.codec2(audio, "700C"), "Codec2 700C"
    elif audio is not None:
        note = "voice absent and free: c2enc is not on the path"
    found = pictures(total - size)
    if found is None:
        return None
    return Coded(size + found[0], found[1], sound, time.perf_counter() - began, 0.0, note)


def warps(key: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """``key`` (H, W, 3) as it would look with each ``mesh``; the first is its own: (N, H, W, 3).

    Frames without a mesh repeat the one before.
    """
    height, width = key.shape[:2]
    edge = np.linspace(0, 1, 5)
    border = {(x, y) for x in edge for y in edge if x in (0, 1) or y in (0, 1)}
    pinned = np.array(sorted(border)) * (width - 1, height - 1)
    home = np.concatenate([mesh[0, list(CONTROL)], pinned])
    across, down = np.linspace(0, width - 1, GRID), np.linspace(0, height - 1, GRID)
    places = np.stack(np.meshgrid(across, down)).reshape(2, -1).T
    picture = torch.from_numpy(key.copy()).permute(2, 0, 1)[None].float()
    results: list[np.ndarray] = []
    for points in mesh:
        if np.isnan(points[0, 0]) or np.isnan(home[0, 0]):
            results.append(results[-1] if results else key)
            continue
        there = np.concatenate([points[list(CONTROL)], pinned])
        field = torch.from_numpy(spline(there, home, places).reshape(1, GRID, GRID, 2)).float()
        field = functional.interpolate(
            field.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True
        ).permute(0, 2, 3, 1)
        field = 2 * field / torch.tensor([width - 1.0, height - 1.0]) - 1
        moved = functional.grid_sample(picture, field, "bicubic", "border", align_corners=True)
        results.append(moved[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy())
    return np.stack(results)


def spline(points: np.ndarray, values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Thin-plate spline through ``values`` (N, 2) at ``points`` (N, 2), at ``places`` (M, 2)."""
    scale = np.abs(points).max()

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = np.square((a[:, None] - b[None]) / scale).sum(-1)
        return square * np.log(square + 1e-12)

    count = len(points)
    ones = np.concatenate([np.ones((count, 1)), points / scale], 1)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = kernel(points, points) + STIFFNESS * np.eye(count)
    system[:count, count:], system[count:, :count] = ones, ones.T
    weights = np.linalg.solve(system, np.concatenate([values, np.zeros((3, values.shape[1]))]))
    affine = np.concatenate([np.ones((len(places), 1)), places / scale], 1)
    return kernel(places, points) @ weights[:count] + affine @ weights[count:]
