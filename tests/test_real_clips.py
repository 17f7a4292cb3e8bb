"""Quality floors of the shipped weights on real clips of people that no training has seen.

The clips are not in this repository: without the folder ``../shared/data`` these are skipped.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from needs import needs_mediapipe

import avcc
from avcc.evaluation import perceptual
from avcc.evaluation.bench import Source, source_of
from avcc.evaluation.picture import face_meshes, landmark_scores
from avcc.evaluation.sound import lag_samples

DATA = Path(__file__).parents[2] / "shared" / "data"
CLIP = DATA / "clips" / "hi" / "conanobrien_95e7b33e.mp4"
RATE = 2000

pytestmark = pytest.mark.skipif(
    not CLIP.exists(), reason="the real clips (../shared/data) are not here"
)


@cache
def source() -> Source:
    return source_of(CLIP, 4.0)


@cache
def decoded() -> tuple[np.ndarray, np.ndarray, int]:
    data = avcc.encode(source().clip, bitrate=RATE)
    clip = avcc.decode(data)
    assert clip.audio is not None
    return np.stack(list(clip.frames)), clip.audio, len(data)


def test_rate_and_length() -> None:
    frames, audio, size = decoded()
    assert 8 * size <= RATE * source().seconds
    assert len(frames) == len(source().frames)
    real = source().clip.audio
    assert real is not None
    assert len(audio) == len(real)


@needs_mediapipe
def test_the_face_moves_as_its_source() -> None:
    scores = landmark_scores(source().mesh, face_meshes(decoded()[0]))
    assert scores["landmark"] < LANDMARK
    assert scores["mouth_corr"] > MOUTH


def test_the_picture_is_nearer_than_a_frozen_one() -> None:
    if not (DATA / "perceptual").exists():
        pytest.skip("the perceptual networks are not here")
    lpips = perceptual.Lpips(DATA / "perceptual")
    a, b = source().frames[::10], decoded()[0][::10]
    distance = perceptual.distances(lpips, a, b).mean()
    frozen = perceptual.distances(lpips, a, np.repeat(b[:1], len(a), 0)).mean()
    assert distance < frozen
    assert distance < LPIPS


def test_the_voice_can_be_followed() -> None:
    pystoi = pytest.importorskip("pystoi")
    real, heard = source().clip.audio, decoded()[1]
    assert real is not None
    assert abs(lag_samples(real, heard)) <= 640  # one frame
    assert pystoi.stoi(real, heard, 16_000) > STOI


LANDMARK, MOUTH, LPIPS, STOI = 4.0, 0.7, 0.15, 0.6
