"""The networks that find faces: what the shipped ones see, and that they follow it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import portrait
from needs import needs_mediapipe
from PIL import Image

from avcc import weights
from avcc.errors import ModelError
from avcc.evaluation.picture import eye_distances
from avcc.media.face import Detector
from avcc.media.facenet import MeshNet, fused
from avcc.media.finder import marked
from avcc.media.findernet import CELL, TYPICAL, FinderNet
from avcc.media.mesh import FaceMesh, upright
from avcc.media.upright import frames_of
from avcc.mesh import LIPS, POINTS

torch.set_num_threads(1)

MESH, LIP = 4.0, 4.0  # % of the eye distance, from MediaPipe's points


def placed(turn: float = 0, size: int = 256, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The portrait, turned by degrees, in the middle of grey 256 x 256."""
    whole = Image.new("RGB", (256, 256), (110, 110, 110))
    small = Image.fromarray(portrait()).resize((size, size), Image.Resampling.LANCZOS)
    small = small.rotate(turn, Image.Resampling.BICUBIC, fillcolor=(110, 110, 110))
    corner = tuple((256 - size) // 2 + s for s in shift)
    whole.paste(small, (corner[0], corner[1]))
    return np.array(whole)


def mesh_of(picture: np.ndarray) -> np.ndarray:
    finder = FaceMesh(static=True)
    found = finder.points(picture)
    assert found is not None
    assert found.shape == (POINTS, 2) and found.dtype == np.float32
    return found


def off(found: np.ndarray, true: np.ndarray, points: list[int] | slice = slice(None)) -> float:
    """Mean distance in % of the eye distance."""
    eyes = float(eye_distances(true[None])[0])
    return 100 * float(np.linalg.norm(found - true, axis=-1)[points].mean()) / eyes


@needs_mediapipe
@pytest.mark.parametrize(
    "picture",
    [placed, lambda: placed(25), lambda: placed(-25), lambda: placed(size=150, shift=(40, 20))],
    ids=["as it is", "turned left", "turned right", "small"],
)
def test_the_mesh_is_that_of_mediapipe(picture: Callable[[], np.ndarray]) -> None:
    from avcc.evaluation.landmarks import MediaPipeMesh

    with MediaPipeMesh(static=True) as teacher:
        true = teacher.points(picture())
    assert true is not None
    found = mesh_of(picture())
    assert off(found, true) < MESH
    assert off(found, true, list(LIPS)) < LIP


def test_a_face_that_moves_is_followed() -> None:
    """Followed from where it was: as if it had been found in each picture anew."""
    shifts = [(3 * i, 2 * i) for i in range(8)]
    finder = FaceMesh()
    for shift in shifts:
        found = finder.points(placed(size=200, shift=shift))
        assert found is not None
        assert off(found, mesh_of(placed(size=200, shift=shift))) < 1.5
    assert finder.points(np.full((256, 256, 3), 90, np.uint8)) is None  # it is gone
    assert finder.points(placed()) is not None  # and back


def test_pixels_of_any_picture() -> None:
    """Wide, large and small pictures: the same face in units of the longer side."""
    true = mesh_of(placed())
    wide = np.pad(placed(), ((0, 0), (64, 192), (0, 0)), "edge")
    found = mesh_of(wide)
    np.testing.assert_allclose((found * 512 - [64, 0]) / 256, true, atol=0.02)
    large = np.array(Image.fromarray(placed()).resize((1024, 1024), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(mesh_of(large), true, atol=0.02)


@pytest.mark.parametrize("name", ["coffee.png", "horse.png", "page.png", "moon.png", "grass.png"])
def test_no_face_is_seen_where_there_is_none(name: str) -> None:
    import skimage

    path = Path(skimage.__file__).parent / "data" / name
    with Image.open(path) as photo:
        assert Detector().boxes(np.array(photo.convert("RGB"))) == []


def test_every_face_is_found_once() -> None:
    one = placed(size=200)
    both = np.concatenate([one, one[:, ::-1]], 1)
    detector = Detector()
    boxes = sorted(detector.boxes(both))
    assert len(boxes) == 2
    assert boxes[0].x + boxes[1].x == pytest.approx(512, abs=6)
    assert boxes[0].size == pytest.approx(boxes[1].size, rel=0.1)
    assert all(0.5 <= box.confidence <= 1 for box in boxes)


def test_the_frame_turns_with_the_face() -> None:
    mesh = mesh_of(placed())[None]
    axes, centre = frames_of(mesh)
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned, moved = frames_of(mesh @ turn * 2 + 5)
    np.testing.assert_allclose(turned, 2 * axes @ turn, atol=1e-5)
    np.testing.assert_allclose(moved, 2 * centre @ turn + 5, atol=1e-5)


@pytest.mark.parametrize("side", [128, 400, 1000])
def test_a_square_shows_what_lies_in_it(side: int) -> None:
    """A ramp seen through a square that is turned by a right angle."""
    ramp = torch.linspace(-1, 1, 2048).expand(1, 3, 2048, 2048)
    axes = np.array([[[0.0, side], [-side, 0.0]]])
    seen = upright(ramp, axes, np.full((1, 1, 2), 1024.0))[0, 0].numpy()
    assert seen.std(1).max() < 1e-4  # along the square's rows the ramp's columns
    assert seen[0, 0] - seen[-1, 0] == pytest.approx(side * 127 / 128 * 2 / 2048, rel=0.02)


def test_fusing_changes_nothing() -> None:
    torch.manual_seed(0)
    for net, shape in ((MeshNet(), (2, 3, 128, 128)), (FinderNet(), (1, 3, 64, 96))):
        for part in net.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        x = torch.randn(shape)
        with torch.no_grad():
            before = net.eval()(x)
            after = fused(net)(x)
        torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-3)


def test_marks_are_peaks() -> None:
    cells = torch.full((4, 6, 8), -9.0)
    cells[1:] = 0
    cells[0, 2, 3], cells[0, 2, 4], cells[0, 5, 7] = 2.0, 1.0, -1.0
    cells[1:, 2, 3] = torch.tensor([0.25, -0.5, np.log(2)])
    marks = marked(cells)
    np.testing.assert_allclose(
        marks, [[3.75 * CELL, 2 * CELL, 2 * TYPICAL, 2], [7.5 * CELL, 5.5 * CELL, TYPICAL, -1]]
    )


def test_they_are_small() -> None:
    count = sum(p.numel() for net in (MeshNet(), FinderNet()) for p in net.parameters())
    assert count <= 1_500_000


def test_a_model_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (weights.folder() / weights.MANIFEST).read_text()
    (tmp_path / weights.MANIFEST).write_text(text.replace('"faces": "faces', '"other": "faces'))
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match="has no part faces"):
        weights.tensors(weights.default(), "faces")
