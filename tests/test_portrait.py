"""Which frame becomes the only key frame: with the shipped weights, on a portrait that moves and
changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest
from clips import swaying

import avcc
from avcc import fitting, weights
from avcc import portrait as portraits
from avcc.aim import Aim
from avcc.analysis import identity
from avcc.analysis.keys import FAVOURED, FURTHER, Candidate, chosen_keys
from avcc.container.read import read
from avcc.encoder import Encoder, encoder
from avcc.entropy import coder
from avcc.media.arrays import from_arrays
from avcc.media.mesh import FaceMesh
from avcc.mesh import LIPS
from avcc.portrait import portrait
from avcc.quantise.symbols import shape_vector
from avcc.stages import MOTION, KeyFrame
from avcc.trial import DIFFERENCE, Unlikeness, drawn, lips_off, squared
from tests import faces

MOVES = 6
BUDGET = 900


@lru_cache
def _nets() -> Encoder:
    return encoder(weights.default(), "cpu")


def _looks() -> tuple[KeyFrame, ...]:
    return swaying(MOVES, 5)


def _dark(key: KeyFrame) -> KeyFrame:
    """The same face when a lamp was out."""
    return KeyFrame((key.picture * 0.6).astype(np.uint8), key.mesh, key.frame)


def _best(
    present: KeyFrame,
    rivals: Sequence[KeyFrame],
    looks: Sequence[KeyFrame] | None = None,
    budget: int = BUDGET,
) -> KeyFrame:
    looks = _looks() if looks is None else looks
    meshes = np.stack([look.mesh for look in _looks()])
    motion = _nets().bank.coefficients(meshes, present.mesh)
    return portrait(_nets(), present, rivals, motion, looks, budget)


def test_a_frame_like_the_others_is_found_among_rivals() -> None:
    rivals = [_dark(_looks()[2]), _looks()[4], _dark(_looks()[3])]
    assert _best(_dark(_looks()[1]), rivals) is rivals[1]


def test_a_good_frame_stays() -> None:
    present = _looks()[1]
    assert _best(present, [_dark(look) for look in _looks()[2:]]) is present
    assert _best(present, [KeyFrame(present.picture, present.mesh, 5)]) is present  # no better


def test_there_must_be_rivals_pictures_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portraits, "lips_off", lambda *_: np.zeros(2))
    present, rivals = _dark(_looks()[1]), _looks()[2:4]
    assert _best(present, []) is present
    assert _best(present, rivals, looks=()) is present
    assert _best(present, rivals, budget=portraits.LEAST - 1) is present
    assert _best(present, rivals, budget=portraits.LEAST) is not present
    assert _best(present, rivals, looks=_looks()[:1]) is not present  # one is enough


def test_what_is_drawn_moves_as_told() -> None:
    key = _looks()[0]
    moved = _nets().bank.coefficients(np.stack([x.mesh for x in _looks()]), key.mesh)
    pictures = drawn(_nets(), [KeyFrame(key.picture, key.mesh, 0, 4000)], moved)
    assert len(pictures) == MOVES and pictures[0].shape == (256, 256, 3)
    still = [pictures[0]] * MOVES
    assert squared(pictures, _looks()) < squared(still, _looks())
    unlike = Unlikeness(_looks())
    assert unlike(pictures) < unlike(still)


def test_unlike_counts_brightness_and_detail() -> None:
    looks = _looks()[:2]
    same = [look.picture for look in looks]
    unlike = Unlikeness(looks)
    assert unlike(same) == squared(same, looks) == 0
    rng = np.random.default_rng(0)
    for change in (
        lambda x, a: x * (1 - a),
        lambda x, a: x + 60 * a * rng.normal(size=x.shape),
        lambda x, a: x + a * (x.mean((0, 1)) - x),
    ):
        worse = [
            unlike([np.clip(change(x.astype(float), a), 0, 255).astype(np.uint8) for x in same])
            for a in (0.1, 0.3, 0.6)
        ]
        assert 0 < worse[0] < worse[1] < worse[2]
    # what is left without its detail is further off than its pixels say
    smooth = [np.full_like(x, x.mean()) for x in same]
    assert (
        unlike(smooth) > 1.2 * 2 * DIFFERENCE * np.abs(smooth[0] / 127.5 - same[0] / 127.5).mean()
    )


def test_the_mouth_counts_beside_the_whole() -> None:
    look = _looks()[0]
    lips = look.mesh[list(LIPS)].mean(0) * 256
    spot, elsewhere = look.picture.copy(), look.picture.copy()
    x, y = lips.astype(int)
    spot[y - 6 : y + 6, x - 6 : x + 6] = 255 - spot[y - 6 : y + 6, x - 6 : x + 6]
    elsewhere[4:16, 4:16] = 255 - elsewhere[4:16, 4:16]
    unlike = Unlikeness([look])
    assert unlike([spot]) > 3 * unlike([elsewhere])
    # wherever the lips are said to be
    gone = KeyFrame(look.picture, look.mesh + 3)
    assert np.isfinite(Unlikeness([gone])([spot]))


def test_rivals_are_the_next_best_and_some_others() -> None:
    places = np.zeros((60, MOTION), np.float32)
    places[:, 0] = np.arange(60) / 10
    picture, mesh = np.zeros((256, 256, 3), np.uint8), faces.mesh()
    candidates = [Candidate(KeyFrame(picture, mesh, i), places[i], 1.0) for i in range(60)]
    keys, _, rivals = chosen_keys(candidates, np.arange(60), places)
    frames = [rival.frame for rival in rivals]
    assert len(set(frames)) == len(frames) == FAVOURED + FURTHER and keys[0].frame not in frames
    far = np.abs(np.array(frames) - keys[0].frame)
    assert far[:FAVOURED].max() <= FAVOURED and far[-1] > far[:FAVOURED].max()
    assert not chosen_keys(candidates[:1], np.arange(60), places).rivals
    assert len(chosen_keys(candidates[:3], np.arange(60), places).rivals) == 2


def test_what_does_not_fit_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another key frame motion may cost more, and leave no room for its picture."""
    looks = _looks()
    clip = from_arrays(np.stack([look.picture for look in looks] * 2))
    monkeypatch.setattr(fitting, "aimed", lambda *_: Aim())
    monkeypatch.setattr(fitting, "portrait", lambda nets, present, *_: present)
    plain = avcc.encode(clip, bitrate=6000)
    fitting_pictures = identity.fitting_pictures
    calls = iter([fitting_pictures, lambda *_: None])
    monkeypatch.setattr(identity, "fitting_pictures", lambda *some: next(calls)(*some))
    monkeypatch.setattr(fitting, "portrait", lambda nets, present, rivals, *_: rivals[0])
    assert avcc.encode(clip, bitrate=6000) == plain
    assert next(calls, None) is None


@pytest.mark.parametrize("fec", [False, True])
def test_what_is_found_is_sent(monkeypatch: pytest.MonkeyPatch, fec: bool) -> None:
    """Its picture, its shape, and motion relative to it, within the rate."""
    looks = _looks()
    frames = np.stack([look.picture for look in looks] * 4)
    frames[1::MOVES] = _dark(looks[1]).picture  # to be told by its light
    clip = from_arrays(frames)
    dark: list[KeyFrame] = []

    def other(nets: Encoder, present: KeyFrame, *rest: object) -> KeyFrame:
        mesh = FaceMesh(static=True).points(frames[1])
        assert mesh is not None
        dark.append(KeyFrame(frames[1], mesh, 1))
        return dark[0]

    monkeypatch.setattr(fitting, "aimed", lambda *_: Aim())
    monkeypatch.setattr(fitting, "portrait", other)
    data = avcc.encode(clip, bitrate=6000, fec=fec)
    assert 8 * len(data) <= 6000 * len(frames) / 25
    symbols = coder.decode(read(data), _nets().book)
    (one,) = symbols.identities
    picture = identity.shown_picture(one.picture, one.side)
    assert abs(picture.mean() - frames[1].mean()) < 0.1 * frames[1].mean() < frames[0].mean() / 5
    nets = _nets()
    assert np.abs(nets.shape.mesh(shape_vector(one)) - dark[0].mesh).max() < 0.02
    key = KeyFrame(picture, nets.shape.mesh(shape_vector(one)))
    motion = nets.quantiser.features(symbols, (key,)).motion
    sent = np.flatnonzero(~np.isnan(motion[:, 0]))
    told = nets.bank.meshes(motion[sent], key.mesh)
    true = np.stack([looks[i % MOVES].mesh for i in sent])
    assert np.abs(told - true).mean() < 0.01


def test_lips_must_not_be_further_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """However like the rest of the picture is."""
    rival = _looks()[4]
    off = iter([np.array([0.02, 0.02]), np.array([0.01, 0.03])])
    monkeypatch.setattr(portraits, "lips_off", lambda *_: next(off))
    assert _best(_dark(_looks()[1]), [rival]) is not rival
    off = iter([np.array([0.02, 0.02]), np.array([0.01, 0.02])])
    assert _best(_dark(_looks()[1]), [rival]) is rival


def test_lips_are_found_where_they_are_drawn() -> None:
    looks, finder = _looks(), FaceMesh()
    pictures, near = [look.picture for look in looks], np.stack([look.mesh for look in looks])
    there = lips_off(finder, pictures, looks, near)
    aside = lips_off(
        finder, [np.roll(p, 8, 1) for p in pictures], looks, near + np.array([8 / 256, 0])
    )
    assert there.shape == (2,) and (there < 0.01).all()
    assert aside[0] > 5 * there[0] and aside[1] < 0.02
    blank = np.zeros((256, 256, 3), np.uint8)
    assert np.isinf(lips_off(finder, [blank] * len(looks), looks, near - 2)).all()
