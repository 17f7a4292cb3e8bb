"""The measure of lips against voice: known delays, known likeness, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from avcc.evaluation.sync import REACH, energies, likeness, offset, peak, scores
from avcc.mesh import MOUTH_GAPS, POINTS
from avcc.stages import SAMPLES_PER_FRAME

COUNT = 200


def _envelope(seed: int = 0) -> np.ndarray:
    """Levels in dB (COUNT,) that rise and fall as syllables do."""
    noise = np.random.default_rng(seed).normal(size=COUNT + 8)
    return 20 * np.convolve(noise, np.hanning(9) / 4.5, "valid")


def _voice(levels: np.ndarray) -> np.ndarray:
    tone = np.sin(np.arange(len(levels) * SAMPLES_PER_FRAME) * 0.3).astype(np.float32)
    return tone * np.repeat(10 ** (levels / 20) * 0.01, SAMPLES_PER_FRAME).astype(np.float32)


def _mesh(opening: np.ndarray) -> np.ndarray:
    """A face of which only the lips move, (N, 478, 2), eyes 100 apart."""
    mesh = np.zeros((len(opening), POINTS, 2), np.float32)
    mesh[:, [362, 263], 0] = 100
    for _, low in MOUTH_GAPS:
        mesh[:, low, 1] = 100 * opening
    return mesh


def test_energies_are_levels() -> None:
    found = energies(_voice(np.array([-6.0, 0.0, -90.0])), 4)
    np.testing.assert_allclose(np.diff(found), [6, -50, 0], atol=0.2)


@pytest.mark.parametrize("late", [-6, 0, 3])
def test_a_known_delay_is_found(late: int) -> None:
    level = _envelope()
    mesh = _mesh(0.2 + 0.01 * np.roll(level, -late))
    found = scores(mesh, _voice(level))
    assert found["sync_ms"] == pytest.approx(40 * late, abs=8)
    assert found["sync"] > 0.95
    # half of a frame is told as well, and a few frames without a face don't matter
    between = 0.2 + 0.005 * (np.roll(level, -late) + np.roll(level, -late - 1))
    mesh = _mesh(between)
    mesh[[3, 50, 51]] = np.nan
    assert scores(mesh, _voice(level))["sync_ms"] == pytest.approx(40 * late + 20, abs=14)


def test_an_offset_is_told_beside_the_sources() -> None:
    assert offset({"sync_ms": -10.0, "sync_ms_source": 30.0}) == {"av_offset": 40}
    assert offset({"sync_ms": -10.0}) == offset({"sync_ms_source": 0.0}) == {}


def test_strangers_are_not_alike() -> None:
    found = scores(_mesh(0.2 + 0.01 * _envelope(1)), _voice(_envelope(2)))
    assert found["sync"] < 0.6
    assert abs(found["sync_ms"]) <= 40 * (REACH + 1)


def test_nothing_to_compare() -> None:
    level = _envelope()
    assert scores(_mesh(np.full(COUNT, 0.2)), _voice(level)) == {}  # a mouth that never moves
    assert scores(_mesh(0.2 + 0.01 * level), None) == {}
    assert scores(_mesh(0.2 + 0.01 * level), np.zeros(COUNT * SAMPLES_PER_FRAME)) == {}
    assert scores(np.full((COUNT, POINTS, 2), np.nan), _voice(level)) == {}
    assert scores(_mesh(np.arange(10) / 10), _voice(level[:10])) == {}


def test_the_highest_lag_of_a_curve() -> None:
    curve = np.zeros(2 * REACH + 1)
    curve[[REACH + 1, REACH + 2, REACH + 3]] = 0.5, 0.8, 0.5
    assert peak(curve) == (2, 0.8)
    curve[REACH + 3] = 0.7
    assert 2 < peak(curve)[0] < 2.5
    assert peak(np.arange(2 * REACH + 1.0))[0] == REACH  # the highest may be the last
    assert (likeness(np.ones(COUNT), _envelope()) == 0).all()
