"""What an encoder sends so that faces are drawn where they are: with the shipped weights, on a
portrait that moves."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from clips import portrait
from torch.nn import functional as F

from avcc import aim, weights
from avcc.encoder import Encoder, encoder
from avcc.media.mesh import FaceMesh
from avcc.stages import KeyFrame

MOVES = 8


@lru_cache
def _nets() -> Encoder:
    return encoder(weights.default(), "cpu")


@lru_cache
def _looks() -> tuple[KeyFrame, ...]:
    """A head that goes to and fro."""
    whole = torch.from_numpy(portrait()).permute(2, 0, 1)[None].float()
    still = F.interpolate(whole, (256, 256), mode="area")[0].permute(1, 2, 0).byte().numpy()
    shifts = [round(6 * np.sin(i)) for i in range(MOVES)]
    finder, found = FaceMesh(), []
    for i, shift in enumerate(shifts):
        picture = np.roll(still, shift, 1)
        mesh = finder.points(picture)
        assert mesh is not None
        found.append(KeyFrame(picture, mesh, 2 * i))
    return tuple(found)


def _told() -> np.ndarray:
    """Motion of all frames relative to the first, every second one sent."""
    looks, bank = _looks(), _nets().bank
    out = np.full((2 * MOVES, len(bank.directions)), np.nan, np.float32)
    out[::2] = bank.coefficients(np.stack([x.mesh for x in looks]), looks[0].mesh)
    return out


def _aimed(told: np.ndarray, looks: tuple[KeyFrame, ...] | None = None) -> np.ndarray | None:
    nets, key = _nets(), _looks()[0]
    shown = KeyFrame(key.picture, key.mesh, 0, 2000)
    looks = _looks() if looks is None else looks
    return aim.aimed(nets.renderer, nets.bank, shown, key.mesh, told, looks, "cpu")


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


def test_there_must_be_something_to_look_at() -> None:
    assert _aimed(_told() + 1, looks=()) is None
    assert _aimed(_told() + 1, looks=_looks()[:1]) is None
    assert _aimed(_told() * np.nan) is None


def test_a_picture_that_gets_worse_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where meshes say one thing and pixels another."""
    monkeypatch.setattr(aim, "WORSE", 0.0)
    assert _aimed(_told() + np.eye(1, _told().shape[1], dtype=np.float32)[0]) is None


def test_chance_is_no_offset() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (24, 20))
    assert np.linalg.norm(aim._steady(noise)) < 0.5 * np.linalg.norm(noise.mean(0))
    common = np.linspace(-2, 2, 20)
    found = aim._steady(common + 0.1 * noise)
    np.testing.assert_allclose(found, common, atol=0.1)
