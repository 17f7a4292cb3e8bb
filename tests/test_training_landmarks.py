"""Training: MediaPipe's face mesh as a torch module finds what MediaPipe finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import portrait
from needs import needs_mediapipe
from torch.nn import functional as F

from avcc.evaluation.landmarks import MediaPipeMesh
from avcc.mesh import EYES, LIPS
from avcc.training.landmarks import Landmarks
from avcc.training.tflite import Graph

pytestmark = needs_mediapipe


@pytest.fixture(scope="module")
def network() -> Landmarks:
    return Landmarks()


def _turned(picture: np.ndarray, degrees: float) -> np.ndarray:
    """The picture at 256 x 256, turned about its middle."""
    angle = torch.tensor(np.deg2rad(degrees))
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])
    where = F.affine_grid(turn[None].float(), [1, 3, 256, 256], align_corners=False)
    out = F.grid_sample(_tensor(picture), where, padding_mode="border", align_corners=False)
    return ((out[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()


def _tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def _mesh(picture: np.ndarray) -> torch.Tensor:
    with MediaPipeMesh(static=True) as finder:
        found = finder.points(picture)
    assert found is not None
    return torch.from_numpy(found)[None]


@pytest.mark.parametrize("degrees", [0, 25, -25])
def test_agrees_with_mediapipe(network: Landmarks, degrees: float) -> None:
    picture = _turned(portrait(), degrees)
    true = _mesh(picture)
    with torch.no_grad():
        found = network(_tensor(picture), true)
    away = (found - true).norm(dim=-1)[0] / (true[0, 468] - true[0, 473]).norm()
    assert away.mean() < 0.02
    assert away[list(LIPS)].mean() < 0.02 and away[list(EYES)].mean() < 0.02


def test_distance_sees_a_face_that_has_moved(network: Landmarks) -> None:
    shown = _turned(portrait(), 0)
    picture, near = _tensor(shown), _mesh(shown)
    moved = [torch.roll(picture, n, 3) for n in (0, 1, 3)]
    with torch.no_grad():
        none, little, more = (float(network.distance(x, picture, near)) for x in moved)
    assert none == 0
    assert 0.005 < little < more < 0.2


def test_gradient_lies_on_the_face(network: Landmarks) -> None:
    shown = _turned(portrait(), 0)
    picture, near = _tensor(shown), _mesh(shown)
    drawn = torch.roll(picture, 2, 3).requires_grad_()
    network.distance(drawn, picture, near).backward()
    assert drawn.grad is not None
    slope = drawn.grad.abs().sum((0, 1))
    assert torch.isfinite(slope).all()
    (left, top), (right, bottom) = near[0].amin(0), near[0].amax(0)
    inside = slope[int(256 * top) : int(256 * bottom), int(256 * left) : int(256 * right)]
    assert inside.mean() > 3 * slope.mean()


def test_what_is_not_known_is_refused() -> None:
    import mediapipe

    folder = Path(mediapipe.__file__).parent / "modules"
    with pytest.raises(ValueError, match=r"the operator [A-Z_]+ isn't known here"):
        Graph(folder / "selfie_segmentation" / "selfie_segmentation.tflite")
