"""The second finder of eyes and lips."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from clips import portrait
from needs import needs_mediapipe

from avcc.evaluation import contours
from avcc.evaluation.contours import Contours
from avcc.evaluation.picture import eye_distances, face_meshes


class _Counted(Contours):
    """Points on a circle about the frame's first pixel, the lips as far open as its second says."""

    def __init__(self) -> None:
        pass

    def points(self, frame: np.ndarray, mesh: np.ndarray) -> np.ndarray:
        assert not np.isnan(mesh).any()
        angle = np.arange(68) / 68 * 2 * np.pi
        found = np.stack([10 * np.cos(angle), 10 * np.sin(angle)], 1) + frame[0, 0, 0]
        found[36:42], found[42:48] = (0, 0), (10, 0)
        found[[61, 62, 63]], found[[67, 66, 65]] = (0, 0), (0, frame[0, 1, 0])
        return found


def test_scores_by_hand() -> None:
    source = np.zeros((5, 8, 8, 3), np.uint8)
    source[:, 0, 1] = np.array([1, 3, 2, 5, 9])[:, None]
    mesh = np.zeros((5, 478, 2), np.float32)
    mesh[4] = np.nan
    finder = _Counted()
    assert finder.scores(source, source, mesh) == {"contour": 0, "lips_corr": pytest.approx(1)}
    moved = source.copy()
    moved[:, 0, 0] = 3
    moved[:, 0, 1] = 10 - source[:, 0, 1]
    found = finder.scores(source, moved, mesh)
    still = 12 + 6  # eyes and lips
    lips = 3 * np.abs(10 - 2 * source[:4, 0, 1, 0].astype(int)).mean()
    expected = 100 * ((68 - still) * 3 * np.sqrt(2) + lips) / 68 / 10
    assert found["contour"] == pytest.approx(expected)
    assert found["lips_corr"] == pytest.approx(-1)
    assert finder.scores(source, moved, mesh * np.nan) == {}
    source[:, 0, 1] = 4
    assert "lips_corr" not in finder.scores(source, moved, mesh), "a mouth that never moves"


@needs_mediapipe
def test_it_finds_what_mediapipe_finds() -> None:
    finder, note = contours.load()
    if finder is None:
        assert "pip install" in note
        pytest.skip(note)
    face = cv2.resize(portrait(), (256, 256), interpolation=cv2.INTER_AREA)
    mesh = face_meshes([face])
    points = finder.points(face, mesh[0])
    same = {36: 33, 39: 133, 42: 362, 45: 263, 48: 61, 54: 291, 33: 2}
    away = [np.linalg.norm(points[a] - mesh[0, b]) for a, b in same.items()]
    assert np.mean(away) < 0.1 * eye_distances(mesh)[0]
    assert finder.scores(face[None].repeat(3, 0), face[None].repeat(3, 0), mesh.repeat(3, 0)) == {
        "contour": 0
    }
