"""What an encoder sends so that faces are drawn where they are: with the shipped weights, on a
portrait that moves."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from clips import swaying

import avcc
from avcc import aim, fitting, weights
from avcc.container.read import read
from avcc.encoder import Encoder, encoder
from avcc.entropy import coder
from avcc.media.arrays import from_arrays
from avcc.quantise.scalar import STEPS
from avcc.stages import KeyFrame
from avcc.trial import drawn

MOVES = 8


@lru_cache
def _nets() -> Encoder:
    return encoder(weights.default(), "cpu")


def _looks() -> tuple[KeyFrame, ...]:
    return swaying(MOVES, 6, 2)


def _told() -> np.ndarray:
    """Motion of all frames relative to the first, every second one sent."""
    looks, bank = _looks(), _nets().bank
    out = np.full((2 * MOVES, len(bank.directions)), np.nan, np.float32)
    out[::2] = bank.coefficients(np.stack([x.mesh for x in looks]), looks[0].mesh)
    return out


def _shown() -> KeyFrame:
    key = _looks()[0]
    return KeyFrame(key.picture, key.mesh, 0, 2000)


def _aim(told: np.ndarray, looks: tuple[KeyFrame, ...] | None = None) -> aim.Aim:
    looks = _looks() if looks is None else looks
    return aim.aimed(_nets(), _shown(), _looks()[0].mesh, told, looks)


def _aimed(told: np.ndarray, looks: tuple[KeyFrame, ...] | None = None) -> np.ndarray | None:
    return _aim(told, looks).more


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_told_wrongly_throughout_is_mended(which: int) -> None:
    wrong = np.zeros(_told().shape[1], np.float32)
    wrong[which] = 1.5
    found = _aimed(_told() + wrong)
    assert found is not None and found.dtype == np.float32
    assert np.linalg.norm(found + wrong) < 0.6  # of 1.5


def test_what_is_right_is_left_alone() -> None:
    found = _aimed(_told())
    assert found is None or np.linalg.norm(found) < 0.6


NEVER = -100.0  # an exponent by which no picture could be good enough


@pytest.mark.parametrize("worth", [aim.WORTH, NEVER])
def test_it_gives_what_is_drawn(monkeypatch: pytest.MonkeyPatch, worth: float) -> None:
    """With what it found, or as told."""
    monkeypatch.setattr(aim, "WORTH", worth)
    told = _told() + 1.5 * np.eye(1, _told().shape[1], dtype=np.float32)[0]
    more, pictures = _aim(told)
    assert (more is None) == (worth == NEVER)
    motion = told[::2] if more is None else told[::2] + more
    expected = drawn(_nets(), [_shown()], motion)
    np.testing.assert_array_equal(np.stack(pictures), np.stack(expected))
    assert not _aim(told, looks=()).pictures


def test_there_must_be_something_to_look_at() -> None:
    assert _aimed(_told() + 1, looks=()) is None
    assert _aimed(_told() + 1, looks=_looks()[:1]) is None
    assert _aimed(_told() * np.nan) is None


def test_a_picture_that_gets_worse_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where meshes say one thing and pixels another."""
    monkeypatch.setattr(aim, "WORTH", NEVER)
    assert _aimed(_told() + np.eye(1, _told().shape[1], dtype=np.float32)[0]) is None


def test_chance_is_no_offset() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (24, 20))
    assert np.linalg.norm(aim._steady(noise)) < 0.5 * np.linalg.norm(noise.mean(0))
    common = np.linspace(-2, 2, 20)
    found = aim._steady(common + 0.1 * noise)
    np.testing.assert_allclose(found, common, atol=0.1)


@pytest.mark.parametrize("fec", [False, True])
def test_what_is_found_is_sent(monkeypatch: pytest.MonkeyPatch, fec: bool) -> None:
    """In motion and in its coarse copies, within the rate; without it nothing else changes."""
    frames = np.stack([look.picture for look in _looks()] * 4)
    clip = from_arrays(frames)
    offset = np.zeros(20, np.float32)
    offset[1] = 3.0
    sent = []
    for found in (None, offset):
        monkeypatch.setattr(fitting, "aimed", lambda *_, found=found: aim.Aim(found))
        data = avcc.encode(clip, bitrate=4000, fec=fec)
        assert 8 * len(data) <= 4000 * len(frames) / 25
        sent.append(coder.decode(read(data), _nets().book))
    (plain, moved) = ([s.segments[0], *(c.segment for c in s.copies if c)] for s in sent)
    points = [sent[0].head.point, *(c.point for c in sent[0].copies if c)]
    assert len(points) == 1 + fec and sent[0].head == sent[1].head
    assert (sent[0].identities[0].shape == sent[1].identities[0].shape).all()
    for a, b, point in zip(plain, moved, points, strict=True):
        assert a is not None and b is not None
        change = (b.motion - a.motion).mean(0) * STEPS[point.motion_step]
        assert abs(change[1] - 3.0) < 0.5 and np.abs(np.delete(change, 1)).max() < 0.5
