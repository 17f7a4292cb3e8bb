"""How near decoded pictures are to their source: pixels, faces, mouths, steadiness, perception.

Frames are uint8 RGB (N, 256, 256, 3) throughout, meshes float32 (N, 478, 2) in pixels with NaN
rows where MediaPipe finds no face. Meshes come from MediaPipe's face mesh with refined eyes and
lips (Apache-2.0), run over source and decoded clip alike. "Eye distance" is the distance between
the centres of the two eyes (each the middle of its corners), in the source's frame.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from avcc.evaluation import contours, kernel, lattice, likeness, perceptual
from avcc.evaluation.digests import version
from avcc.evaluation.landmarks import MediaPipeMesh
from avcc.mesh import LIPS, MOUTH_GAPS, POINTS

KERNEL_STRIDE = 5  # neighbours are too much alike to tell more
GRID_STRIDE = 5  # a grid is in every picture
LIKENESS_STRIDE = 5  # whom a face belongs to changes slowly
_PACKAGES = ("dlib-bin", "mediapipe", "opencv-contrib-python", "pytorch-msssim", "torch")
_EYES = ((33, 133), (362, 263))  # outer and inner corner of the right, inner and outer of the left


class PictureMeter:
    """All picture metrics at once, with the networks loaded once. ``notes`` name what is absent."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.lpips, lpips_note = perceptual.load(perceptual.Lpips, folder)
        self.second, second_note = perceptual.load(perceptual.SecondDistance, folder)
        mesh_note = "" if _meshes_found() else "landmarks absent: pip install mediapipe==0.10.14"
        flow_note = "" if _flow() else "flicker absent: OpenCV is not installed"
        self.likeness, like_note = likeness.load()
        self.contours, contour_note = contours.load()
        scales_note = "" if _scales() else "MS-SSIM absent: pip install pytorch-msssim"
        notes = lpips_note, second_note, mesh_note, flow_note, like_note, contour_note, scales_note
        self.notes = tuple(n for n in notes if n)
        # What tells these measures from others (``kept``).
        self.identity = [f"{name} {version(name)}" for name in _PACKAGES]
        self.identity += [*self.notes, perceptual.identity(folder)]

    def scores(
        self,
        source: np.ndarray,
        decoded: np.ndarray,
        source_mesh: np.ndarray | None = None,
        stride: int = 1,
        decoded_mesh: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Every metric that can be had. Meshes that are given needn't be found again; ``stride``
        takes the perceptual distances on every so many frames only."""
        count = min(len(source), len(decoded))
        a, b = source[:count], decoded[:count]
        values = {"psnr": psnr(a, b), "ssim": ssim(a, b), "flicker": flicker(a, b)}
        values["ms_ssim"] = ms_ssim(a, b)
        values["grid"] = lattice.grid(a[::GRID_STRIDE], b[::GRID_STRIDE])
        for name, network in (("lpips", self.lpips), ("second", self.second)):
            if network is not None:
                pair = perceptual.distances(network, a[::stride], b[::stride])
                values[name] = float(pair.mean())
        if _meshes_found():
            mesh = face_meshes(a) if source_mesh is None else source_mesh[:count]
            found = face_meshes(b) if decoded_mesh is None else decoded_mesh[:count]
            values |= landmark_scores(mesh, found)
            if self.likeness is not None:
                every = max(stride, LIKENESS_STRIDE)
                values["likeness"] = self.likeness.distance(a, b, mesh, found, every)
            if self.contours is not None:
                values |= self.contours.scores(a, b, mesh)
        return {name: value for name, value in values.items() if not np.isnan(value)}

    def nearness(self, source: np.ndarray, decoded: np.ndarray) -> float:
        """1 - LPIPS, or SSIM where the network is absent: what splits are chosen by (``split``)."""
        if self.lpips is None:
            return ssim(source, decoded)
        return 1 - float(perceptual.distances(self.lpips, source, decoded).mean())

    def features(
        self, source: np.ndarray, decoded: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Of every fifth frame of both, float32 (N, 512) each; ``None`` without the network."""
        if self.second is None:
            return None
        a, b = (kernel.features(self.second, x[::KERNEL_STRIDE]) for x in (source, decoded))
        return a, b


def face_meshes(frames: Iterable[np.ndarray]) -> np.ndarray:
    """MediaPipe meshes of the frames of one clip in order: float32 (N, 478, 2), pixels or NaN."""
    rows = []
    with MediaPipeMesh() as finder:
        for frame in frames:
            points = finder.points(frame)
            missing = np.full((POINTS, 2), np.nan, np.float32)
            rows.append(missing if points is None else points * max(frame.shape[:2]))
    return np.stack(rows) if rows else np.zeros((0, POINTS, 2), np.float32)


def eye_distances(mesh: np.ndarray) -> np.ndarray:
    """(N, 478, 2) -> (N,), in the units of the mesh."""
    centres = [mesh[:, list(corners)].mean(1) for corners in _EYES]
    return np.linalg.norm(centres[0] - centres[1], axis=-1)


def mouth_openings(mesh: np.ndarray) -> np.ndarray:
    """Gap between the inner lips in eye distances of its own frame: (N, 478, 2) -> (N,)."""
    gaps = [np.linalg.norm(mesh[:, low] - mesh[:, up], axis=-1) for up, low in MOUTH_GAPS]
    return np.mean(gaps, 0) / eye_distances(mesh)


def landmark_scores(source: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """Errors in per cent of the source's eye distance, and the correlation of mouth openings.

    ``landmark``: mean over points and over frames that have a face in both; ``mouth``: lip points
    only; ``mouth_corr``: Pearson over time, 0 where the decoded mouth never moves, NaN where the
    source's never does; ``faces_missing``: share of the source's faces not found when decoded.
    """
    found, kept = (~np.isnan(mesh[:, 0, 0]) for mesh in (source, decoded))
    both = found & kept
    values = {"faces_missing": 1 - both.sum() / found.sum() if found.any() else float("nan")}
    if both.any():
        a, b = source[both], decoded[both]
        error = 100 * np.linalg.norm(a - b, axis=-1) / eye_distances(a)[:, None]
        values["landmark"] = float(error.mean())
        values["mouth"] = float(error[:, list(LIPS)].mean())
        values["mouth_corr"] = correlation(mouth_openings(a), mouth_openings(b))
    return {name: float(value) for name, value in values.items()}


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation; NaN where ``a`` is constant, 0 where only ``b`` is."""
    a, b = a - a.mean(), b - b.mean()
    if len(a) < 3 or np.abs(a).max() < 1e-6:
        return float("nan")
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if np.abs(b).max() > 1e-6 else 0.0


def psnr(source: np.ndarray, decoded: np.ndarray) -> float:
    """Mean over frames of the RGB PSNR in dB, each frame at most 100."""
    errors = [
        np.square(a.astype(np.float32) - b).mean() for a, b in zip(source, decoded, strict=True)
    ]
    return float(np.mean([min(100.0, 10 * np.log10(255**2 / max(e, 1e-9))) for e in errors]))


def ssim(source: np.ndarray, decoded: np.ndarray) -> float:
    """Mean SSIM of luma (Wang et al., 2004): Gaussian window of 11, sigma 1.5, no padding."""
    taps = torch.exp(-((torch.arange(11.0) - 5) ** 2) / (2 * 1.5**2))
    taps = taps / taps.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    results = []
    for a, b in zip(source, decoded, strict=True):
        x, y = _luma(a) - 128, _luma(b) - 128  # about zero: float32 suffices for the squares
        planes = torch.stack([x, y, x * x, y * y, x * y])[:, None]
        blurred = functional.conv2d(planes, taps.view(1, 1, 11, 1))
        mx, my, xx, yy, xy = functional.conv2d(blurred, taps.view(1, 1, 1, 11))[:, 0]
        xx, yy, xy = xx - mx * mx, yy - my * my, xy - mx * my
        mx, my = mx + 128, my + 128
        top = (2 * mx * my + c1) * (2 * xy + c2)
        bottom = (mx * mx + my * my + c1) * (xx + yy + c2)
        results.append(float((top / bottom).mean()))
    return float(np.mean(results)) if results else float("nan")


def ms_ssim(source: np.ndarray, decoded: np.ndarray) -> float:
    """Mean multi-scale SSIM of luma (Wang et al., 2003) by ``pytorch-msssim``; NaN without it, or
    where the picture is too small for five scales (176 pixels and under)."""
    if not _scales() or not len(source) or min(source.shape[1:3]) <= 176:
        return float("nan")
    from pytorch_msssim import ms_ssim as measure

    with torch.inference_mode():
        found = [
            float(measure(_luma(a)[None, None], _luma(b)[None, None], data_range=255))
            for a, b in zip(source, decoded, strict=True)
        ]
    return float(np.mean(found))


def flicker(source: np.ndarray, decoded: np.ndarray) -> float:
    """Warping error of the decoded clip above the source's own, in levels of 255.

    Each frame is compared with its predecessor carried along the *source's* optical flow (DIS),
    where that flow explains the source to within 10 levels. 0: as steady as the source; below 0:
    smoother (blurred); NaN without OpenCV or with fewer than two frames.
    """
    flow = _flow()
    if flow is None or len(source) < 2:
        return float("nan")
    import cv2

    rows, columns = np.mgrid[: source.shape[1], : source.shape[2]].astype(np.float32)
    errors = []
    for now in range(1, min(len(source), len(decoded))):
        grey = [cv2.cvtColor(source[t], cv2.COLOR_RGB2GRAY) for t in (now, now - 1)]
        field = flow.calc(grey[0], grey[1], None)
        at = (columns + field[..., 0], rows + field[..., 1])
        pair = []
        for frames in (source, decoded):
            moved = cv2.remap(frames[now - 1], *at, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
            pair.append(np.abs(moved.astype(np.float32) - frames[now]).mean(-1))
        explained = pair[0] < 10
        if explained.any():
            errors.append((pair[1] - pair[0])[explained].mean())
    return float(np.mean(errors)) if errors else float("nan")


def _luma(frame: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) RGB -> float32 (H, W), BT.601 luma in 0..255."""
    return torch.from_numpy(frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))


def _meshes_found() -> bool:
    """Whether MediaPipe is there to find meshes with."""
    return importlib.util.find_spec("mediapipe") is not None


def _scales() -> bool:
    """Whether the package of MS-SSIM is there."""
    return importlib.util.find_spec("pytorch_msssim") is not None


@cache
def _flow() -> Any:  # OpenCV's types differ between builds
    """A dense optical flow (DIS, medium preset), or ``None`` where OpenCV is absent."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
