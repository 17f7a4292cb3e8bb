"""Lost segments: which are drawn, what is left of the features, and what stands in for AVDiff."""

from __future__ import annotations

import numpy as np
import pytest

from avcc.stages import LATENT, MOTION, SILENT, UNSENT, Features
from avcc.training.concealment import Decoded, chosen, held_over, without


def test_a_share_of_all_segments_is_lost() -> None:
    counts = [3, 1, 5, 2]
    for share, lost in ((0.1, 1), (0.3, 3), (1.0, 11), (0.01, 1)):
        found = chosen(counts, share, 4)
        assert sum(map(len, found)) == lost
        for numbers, count in zip(found, counts, strict=True):
            assert numbers == sorted(set(numbers)) and all(0 <= n < count for n in numbers)
    assert chosen(counts, 0.3, 4) == chosen(counts, 0.3, 4)
    assert len({str(chosen(counts, 0.3, seed)) for seed in range(20)}) > 5


def _features(count: int) -> Features:
    semantic = np.full(count, 7)
    semantic[5:8] = SILENT
    ones = np.ones((count, MOTION), np.float32), np.ones((count, LATENT), np.float32)
    voice = np.zeros(25, np.float32)
    return Features((), ones[0], semantic, ones[1], semantic == SILENT, voice)


@pytest.mark.parametrize("motion", [True, False])
@pytest.mark.parametrize("voice", [True, False])
def test_what_is_lost_is_missing_and_nothing_else(motion: bool, voice: bool) -> None:
    gone = np.arange(20) // 6 == 1
    left = without(_features(20), gone, motion, voice)
    assert (np.isnan(left.motion).all(1) == (gone & motion)).all()
    assert ((left.semantic == UNSENT) == (gone & voice)).all()
    assert ((left.acoustic == 0).all(1) == (gone & voice)).all()
    assert (left.silent == (np.isin(np.arange(20), [5, 6, 7]) & ~(gone & voice))).all()


def test_the_last_picture_is_held_and_the_sound_is_silent() -> None:
    mesh = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 478, 2), np.float32)
    audio = np.ones(10 * 640 - 30, np.float32)
    gone = np.isin(np.arange(10), [0, 1, 4, 5, 9])
    out = held_over(Decoded(mesh, audio), gone, True, True)
    assert out.mesh[:, 0, 0].tolist() == [2, 2, 2, 3, 3, 3, 6, 7, 8, 8]
    assert [bool(out.audio[640 * i + 9]) for i in range(10)] == (~gone).tolist()
    assert out.audio.shape == audio.shape
    kept = held_over(Decoded(mesh, audio), gone, False, False)
    assert kept.mesh is mesh and kept.audio is audio
    assert held_over(Decoded(mesh, audio), np.ones(10, bool), True, False).mesh is mesh
