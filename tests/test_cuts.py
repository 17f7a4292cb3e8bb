"""Shots: where they begin, and that no picture is drawn from another shot's key frame."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import books
import faces
import numpy as np
import pytest
import torch

import avcc
from avcc.analysis.cuts import LEAST, cuts, small
from avcc.analysis.keys import Candidate, chosen_keys
from avcc.container import layout
from avcc.container.layout import Chunk, pack_chunk, varint
from avcc.container.read import chunks, read
from avcc.container.write import write
from avcc.entropy.coder import decode, encode
from avcc.errors import FormatError
from avcc.render.draw import Rendering
from avcc.render.face import Renderer
from avcc.shots import neighbours, shots
from avcc.stages import MOTION, Clip, KeyFrame
from tests.clips import picture
from tests.test_codec import talk

BOOK = books.book()

# -- detection --------------------------------------------------------------------------------


def _changes(pictures: list[np.ndarray]) -> np.ndarray:
    each = [small(p) for p in pictures]
    return np.array([0.0, *(np.abs(b - a).mean() for a, b in pairwise(each))])


def _moving(seed: int, count: int) -> list[np.ndarray]:
    """A picture that slides by a pixel a frame."""
    return [np.roll(faces.picture(seed=seed), t, 1) for t in range(count)]


def test_cuts_are_found_where_they_are() -> None:
    shown = _moving(0, 30) + _moving(1, 20) + _moving(2, 40)
    assert cuts(_changes(shown)) == (30, 50)
    assert cuts(_changes(_moving(0, 60))) == ()
    assert cuts(np.zeros(1)) == cuts(np.zeros(0)) == ()


def test_a_flash_is_no_cut() -> None:
    shown = _moving(0, 40)
    shown[20] = 255 - shown[20] // 4
    assert _changes(shown).max() > LEAST
    assert cuts(_changes(shown)) == ()


def test_wild_motion_is_no_cut() -> None:
    wild = [np.roll(faces.picture(seed=3), 30 * t, 1) for t in range(40)]
    assert _changes(wild)[1:].min() > LEAST
    assert cuts(_changes(wild)) == ()


def test_small_pictures_are_means() -> None:
    shown = faces.picture(seed=4)
    assert small(shown).shape == (16, 16, 3)
    np.testing.assert_allclose(small(shown)[3, 5], shown[48:64, 80:96].mean((0, 1)), rtol=1e-5)


# -- key frames -------------------------------------------------------------------------------


def test_frames_are_drawn_from_their_own_shot() -> None:
    keys, frames = np.array([4, 12, 25]), np.arange(40)
    before, after = neighbours(keys, frames, (10, 20, 30))
    assert [*shots(frames[[0, 9, 10, 29, 30]], (10, 20, 30))] == [0, 0, 1, 2, 3]
    assert (before[:20] == [0] * 10 + [1] * 10).all() and (after[:20] == before[:20]).all()
    assert (before[20:30] == 2).all() and (after[20:30] == 2).all()
    assert (before[30:] == 2).all() and (after[30:] == 2).all()  # a shot without any: the nearest
    before, after = neighbours(keys, frames, ())
    assert (before[5], after[5], before[13], after[13]) == (0, 1, 1, 2)
    # a shot without a key frame, between two that have one, takes both
    before, after = neighbours(np.array([4, 25]), frames, (10, 20))
    assert (before[10:20] == 0).all() and (after[10:20] == 1).all()


def test_each_shot_gets_a_key_frame_before_one_gets_two() -> None:
    """Though the motion says that all shots look alike."""
    places = np.random.default_rng(0).normal(0, 0.5, (60, MOTION)).astype(np.float32)
    frame, mesh = np.zeros((256, 256, 3), np.uint8), faces.mesh()
    all_of_them = [Candidate(KeyFrame(frame, mesh, i), places[i], 1.0) for i in range(0, 60, 3)]
    keys, away, _ = chosen_keys(all_of_them, np.arange(60), places, (20, 40))
    assert {key.frame // 20 for key in keys[:3]} == {0, 1, 2}
    gains = -np.diff(away)
    assert gains[:2].min() > 30 > 5 > gains[2:].max()


def test_no_picture_mixes_shots() -> None:
    torch.manual_seed(0)
    net = Renderer().eval()  # untrained it is the warp, and here nothing moves
    pictures = [faces.picture(seed=i) for i in range(3)]
    keys = [KeyFrame(p, faces.mesh(), t) for p, t in zip(pictures, (3, 13, 17), strict=True)]

    def meshes(code: np.ndarray) -> np.ndarray:
        return np.repeat(faces.mesh()[None], len(code), 0)

    motion = np.zeros((20, MOTION), np.float32)
    drawn = np.stack([*Rendering(net, keys, motion, meshes, "cpu", (10,))]).astype(int)
    assert abs(drawn[:10] - pictures[0]).max() <= 1
    assert abs(drawn[10:14] - pictures[1]).max() <= 1
    assert abs(drawn[17:] - pictures[2]).max() <= 1
    assert abs(drawn[15] - (pictures[1].astype(int) + pictures[2]) / 2).max() <= 2


# -- the file ---------------------------------------------------------------------------------


def test_cuts_travel() -> None:
    symbols = replace(books.symbols(3, 250), cuts=(1, 100, 249))
    data = write(encode(symbols, BOOK))
    assert read(data).cuts == decode(read(data), BOOK).cuts == (1, 100, 249)
    assert read(write(encode(books.symbols(3, 250), BOOK))).cuts == ()
    assert len(data) - len(write(encode(books.symbols(3, 250), BOOK))) == 4 + 2 + 1 + 3 + 1


@pytest.mark.parametrize("bad", [(0,), (250,), (30, 30), (40, 20), (-1,)])
def test_senseless_cuts_are_not_written(bad: tuple[int, ...]) -> None:
    with pytest.raises(FormatError):
        write(replace(encode(books.symbols(3, 250), BOOK), cuts=bad))


@pytest.mark.parametrize(
    ("flags", "payload"),
    [
        (1, varint(30)),
        (0, varint(0)),
        (0, varint(250)),
        (0, varint(9) * 40),
        (0, b"\x80"),
        (0, b""),
    ],
)
def test_malformed_cuts_are_done_without(flags: int, payload: bytes) -> None:
    stream = encode(books.symbols(3, 250), BOOK)
    data = write(stream)
    later = next(c for c in chunks(data) if isinstance(c, Chunk) and c.type == layout.SEGMENT)
    broken = data[: later.start] + pack_chunk(layout.CUTS, flags, payload) + data[later.start :]
    assert read(broken).cuts == ()
    assert not read(broken).damage
    assert len(decode(read(broken), BOOK).segments) == 3


# -- there and back ---------------------------------------------------------------------------


@cache
def _two_shots() -> tuple[np.ndarray, bytes]:
    """The same head, near and before a grey wall; then far, in warmer light."""
    near = np.stack(list(talk().frames))
    sway = (lambda t: (0.03 * np.sin(4 * t), 0.5, 0.75),)
    far = [picture(0, t, (256, 256), sway) for t in np.arange(50) / 25]
    warm = np.array([0.5, 0.4, 0.3]) * np.stack(far) + np.array([125, 125, 90])
    frames = np.concatenate([near, warm.astype(np.uint8)])
    return frames, avcc.encode(Clip(frames, len(frames), None), bitrate=8000)


def test_a_clip_of_two_shots() -> None:
    frames, data = _two_shots()
    told = avcc.info(data)
    assert told["cuts"] == [50]
    assert {key["frame"] // 50 for key in told["key_frames"]} == {0, 1}
    shown = np.stack(list(avcc.decode(data).frames)).astype(float)
    near, far = frames[:50].mean(0), frames[50:].mean(0)
    to_near = np.abs(shown - near).mean((1, 2, 3))
    to_far = np.abs(shown - far).mean((1, 2, 3))
    assert (to_near[:50] < 0.5 * to_far[:50]).all()  # up to both sides of the cut
    assert (to_far[50:] < 0.5 * to_near[50:]).all()


def test_one_key_frame_says_nothing_of_cuts() -> None:
    frames, _ = _two_shots()
    frames = frames[40:52]  # so short that the bits are for one picture
    told = avcc.info(avcc.encode(Clip(frames, len(frames), None), bitrate=6000))
    assert len(told["key_frames"]) == 1 and told["cuts"] == []
