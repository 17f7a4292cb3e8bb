"""Whether it is still the same person."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from needs import needs_mediapipe

from avcc.evaluation import likeness
from avcc.evaluation.likeness import Likeness
from avcc.evaluation.picture import face_meshes
from tests.clips import portrait


class _Counted(Likeness):
    """The descriptor of a frame is its first pixel."""

    def __init__(self) -> None:
        pass

    def descriptor(self, frame: np.ndarray, mesh: np.ndarray) -> np.ndarray:
        assert not np.isnan(mesh).any()
        return frame[0, 0].astype(float)


def test_distances_of_frames_that_have_a_face() -> None:
    source = np.zeros((6, 8, 8, 3), np.uint8)
    decoded = np.tile(np.array([3, 0, 0, 4, 4, 9], np.uint8)[:, None, None, None], (1, 8, 8, 3))
    mesh = np.zeros((6, 478, 2), np.float32)
    lost = mesh.copy()
    lost[5] = np.nan
    meter = _Counted()
    far = np.sqrt(3)
    assert meter.distance(source, decoded, mesh, lost) == pytest.approx(far * (3 + 4 + 4) / 5)
    assert meter.distance(source, decoded, lost, mesh, 3) == pytest.approx(far * (3 + 4) / 2)
    assert np.isnan(meter.distance(source, decoded, mesh, mesh * np.nan))


@needs_mediapipe
def test_the_network_knows_a_face_again() -> None:
    meter, note = likeness.load()
    if meter is None:
        assert "pip install" in note
        pytest.skip(note)
    face = cv2.resize(portrait(), (256, 256), interpolation=cv2.INTER_AREA)
    small = cv2.resize(face, (180, 180), interpolation=cv2.INTER_AREA)
    moved = cv2.copyMakeBorder(small, 60, 16, 10, 66, cv2.BORDER_REPLICATE)
    mirrored = np.ascontiguousarray(face[:, ::-1])
    blurred = cv2.GaussianBlur(face, (0, 0), 8)
    mesh = face_meshes([face])

    def away(other: np.ndarray, at: np.ndarray) -> float:
        return meter.distance(face[None], other[None], mesh, at)

    assert away(face, mesh) == 0
    assert away(moved, face_meshes([moved])) < 0.25
    assert away(mirrored, face_meshes([mirrored])) < 0.4
    assert away(blurred, mesh) > 0.6
