"""The honest floors: what no learning at all makes of the same bits.

``frozen``: one AV1 still for the whole clip. ``warped``: the same still, warped to each frame by a
thin-plate spline through the *true* mesh points of the source, whose bits are not counted: an
oracle's geometry and no network. Weights that don't beat it don't ship. Their voices are those of
the other peers (``split``).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from avcc.evaluation import peers
from avcc.evaluation.peers import Drawn

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


class Stills:
    """AV1 stills of one picture: SVT-AV1's still-picture mode through PyAV, preset 0, tuned for
    SSIM; bare OBUs without the temporal delimiter and the sequence header, which a format need not
    repeat. ``drawn`` gives the pictures of the whole clip that a decoded still becomes."""

    def __init__(self, picture: np.ndarray, drawn: Callable[[np.ndarray], np.ndarray]) -> None:
        """``picture`` uint8 (H, W, 3)."""
        self.picture, self.drawn = picture, drawn
        self._kept: dict[int, tuple[list[bytes], float]] = {}

    def within(self, most: int) -> Iterator[Drawn]:
        """The finest of at most ``most`` bytes, if any is."""
        found = peers.finest(self._coded, 8, 63, most)
        if found is None:
            return
        began = time.perf_counter()
        packets, took = self._kept[found[0]]
        frames = _shown(self.drawn, packets)
        setting = f"-c:v libsvtav1 -preset 0 -svtav1-params avif=1:tune=2 -crf {found[0]}, a still"
        spent = time.perf_counter() - began
        encode = partial(peers.encoded, "libsvtav1", self.picture[None], self._options(found[0]))
        decode = partial(_shown, self.drawn, packets)
        yield Drawn(sum(map(len, found[1])), frames, setting, took, spent, encode, decode)

    def _coded(self, quality: int) -> peers.Coded:
        if quality not in self._kept:
            began = time.perf_counter()
            packets = peers.encoded("libsvtav1", self.picture[None], self._options(quality))
            self._kept[quality] = packets, time.perf_counter() - began
        packets, took = self._kept[quality]
        return [frame_obus(packet) for packet in packets], took

    @staticmethod
    def _options(quality: int) -> dict[str, str]:
        return {"preset": "0", "svtav1-params": "avif=1:tune=2", "crf": str(quality)}


def _shown(drawn: Callable[[np.ndarray], np.ndarray], packets: list[bytes]) -> np.ndarray:
    return drawn(peers.decoded_pictures("libdav1d", packets)[0])


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


def frozen(frames: np.ndarray) -> Stills:
    """The frame that is most like all others, for as long as the clip lasts."""
    home = middle(frames)
    return Stills(frames[home], partial(_held, count=len(frames)))


def _held(key: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(key[None], count, 0)


def warped(frames: np.ndarray, mesh: np.ndarray) -> Stills:
    """The same still, warped to ``mesh`` (N, 478, 2) in pixels, NaN where no face was found."""
    seen = np.flatnonzero(~np.isnan(mesh[: len(frames), 0, 0]))
    home = int(seen[middle(frames[seen])]) if len(seen) else 0
    return Stills(frames[home], partial(warps, mesh=mesh[: len(frames)], home=home))


def middle(frames: np.ndarray) -> int:
    """Which of the frames (N, H, W, 3) is nearest to their mean, by every fourth pixel."""
    small = frames[:, ::4, ::4].astype(np.float32)
    return int(np.square(small - small.mean(0)).mean((1, 2, 3)).argmin())


def warps(key: np.ndarray, mesh: np.ndarray, home: int = 0) -> np.ndarray:
    """``key`` (H, W, 3) as it would look with each ``mesh``, whose own is ``home``: (N, H, W, 3).

    Frames without a mesh repeat the one before.
    """
    import torch  # here, for a still that is held doesn't need it
    from torch.nn import functional

    height, width = key.shape[:2]
    edge = np.linspace(0, 1, 5)
    border = {(x, y) for x in edge for y in edge if x in (0, 1) or y in (0, 1)}
    pinned = np.array(sorted(border)) * (width - 1, height - 1)
    own = np.concatenate([mesh[home, list(CONTROL)], pinned])
    across, down = np.linspace(0, width - 1, GRID), np.linspace(0, height - 1, GRID)
    places = np.stack(np.meshgrid(across, down)).reshape(2, -1).T
    picture = torch.from_numpy(key.copy()).permute(2, 0, 1)[None].float()
    results: list[np.ndarray] = []
    for points in mesh:
        if np.isnan(points[0, 0]) or np.isnan(own[0, 0]):
            results.append(results[-1] if results else key)
            continue
        there = np.concatenate([points[list(CONTROL)], pinned])
        field = torch.from_numpy(spline(there, own, places).reshape(1, GRID, GRID, 2)).float()
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
