"""Several key frames: which are chosen, how bits are split, what is drawn from them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import avcc
from avcc.analysis.keys import Candidate, chosen_keys
from avcc.analysis.motion import MotionBank
from avcc.container import layout
from avcc.container.read import Chunk, chunks, read
from avcc.quantise.rate import Costs, ranked
from avcc.render.draw import Rendering
from avcc.render.face import Renderer
from avcc.stages import MOTION, Clip, KeyFrame
from tests import faces
from tests.test_codec import talk

# -- choice -----------------------------------------------------------------------------------


def _candidates(places: np.ndarray, every: int = 1, blurred: int = -1) -> list[Candidate]:
    picture, mesh = np.zeros((256, 256, 3), np.uint8), faces.mesh()
    return [
        Candidate(KeyFrame(picture, mesh, i), places[i], 0.1 if i == blurred else 1.0)
        for i in range(0, len(places), every)
    ]


def test_each_view_gets_a_key_frame() -> None:
    places = np.zeros((60, MOTION), np.float32)
    places[20:40, 0], places[40:, 1] = 3, 5
    places += np.random.default_rng(0).normal(0, 0.01, places.shape).astype(np.float32)
    keys, away, _ = chosen_keys(_candidates(places, 4), np.arange(60), places)
    assert {key.frame // 20 for key in keys[:3]} == {0, 1, 2}
    assert len(away) == len(keys) and (np.diff(away) < 0).all()
    assert away[2] < 0.2 * away[1] < 0.2 * away[0]


def test_a_view_that_comes_back_needs_its_key_frame_on_both_sides() -> None:
    """A frame is drawn from the key frames around it in time, however good a far one would be."""
    places = np.zeros((90, MOTION), np.float32)
    places[30:60, 0] = 4
    keys, *_ = chosen_keys(_candidates(places, 5), np.arange(90), places)
    assert {key.frame // 30 for key in keys[:3]} == {0, 1, 2}


def test_a_blurred_picture_is_second_choice() -> None:
    places = np.random.default_rng(1).normal(size=(9, MOTION)).astype(np.float32) * 0.01
    best = chosen_keys(_candidates(places), np.arange(9), places)[0][0].frame
    again = chosen_keys(_candidates(places, blurred=best), np.arange(9), places)[0][0].frame
    assert again != best


def test_coefficients_move_from_key_frame_to_key_frame() -> None:
    rng = np.random.default_rng(2)
    bank = MotionBank(np.linalg.qr(rng.normal(size=(956, MOTION)))[0].T.astype(np.float32))
    one, other = faces.mesh(), (faces.mesh(0.08, 3) * 1.2 - 0.1).astype(np.float32)
    meshes = np.stack([faces.mesh(0.01 * i, i) for i in range(5)])
    moved = bank.rebased(bank.coefficients(meshes, one), one, other)
    np.testing.assert_allclose(moved, bank.coefficients(meshes, other), atol=2e-3)


# -- bits -------------------------------------------------------------------------------------


def _keys_sent(budget: float, away: list[float]) -> int:
    motion = {(s, q): 500 / s / (1 + q) for s in (1, 2, 3, 5) for q in range(4)}
    voice = {n: 100.0 + 100 * n for n in range(7)}
    return ranked(Costs(motion, voice, 60, 30, np.array(away)), budget)[0].keys


def test_more_bits_buy_more_key_frames_where_they_help() -> None:
    far = [24.0, 16, 10, 6, 4, 3, 2.4, 2.0]
    sent = [_keys_sent(budget, far) for budget in (900, 2500, 5000, 10_000, 100_000)]
    assert sent == sorted(sent) and sent[0] == 1 and sent[-1] == 8
    assert _keys_sent(30_000, [3.0, 3.0, 3.0]) == 1  # where they don't, they aren't sent


# -- pictures ---------------------------------------------------------------------------------


def _drawn(keys: list[KeyFrame], count: int) -> np.ndarray:
    torch.manual_seed(0)
    net = Renderer().eval()  # untrained it is the warp, and here nothing moves

    def meshes(code: np.ndarray) -> np.ndarray:
        return np.repeat(faces.mesh()[None], len(code), 0)

    motion = np.zeros((count, MOTION), np.float32)
    return np.stack([*Rendering(net, keys, motion, meshes, "cpu")]).astype(int)


def test_pictures_pass_from_one_key_frame_to_the_next() -> None:
    pictures = [faces.picture(seed=i) for i in range(3)]
    at = (3, 9, 14)
    keys = [KeyFrame(p, faces.mesh(), t) for p, t in zip(pictures, at, strict=True)]
    drawn = _drawn(keys, 18)
    for frame in (0, 1, 3):  # before the first, from the first
        assert abs(drawn[frame] - pictures[0]).max() <= 1
    assert abs(drawn[9] - pictures[1]).max() <= 1
    for frame in (14, 17):
        assert abs(drawn[frame] - pictures[2]).max() <= 1
    half = (pictures[0].astype(int) + pictures[1]) / 2
    assert abs(drawn[6] - half).max() <= 2
    steps = abs(np.diff(drawn, axis=0)).mean((1, 2, 3))
    assert steps[3:9].max() < 1.5 * steps[3:9].min()  # none comes at once


def test_one_key_frame_is_good_for_all_times() -> None:
    picture = faces.picture()
    for frame in (0, 5):
        drawn = _drawn([KeyFrame(picture, faces.mesh(), frame)], 7)
        assert abs(drawn - picture).max() <= 1


# -- there and back ---------------------------------------------------------------------------


@cache
def _rich() -> bytes:
    """Two looks one after the other, and bits enough for several key frames."""
    clip = talk()
    frames = np.stack(list(clip.frames))
    frames[25:] = 255 - (255 - frames[25:]) // 2  # the light goes on
    return avcc.encode(Clip(frames, clip.count, None), bitrate=24_000)


def test_a_file_with_several_key_frames() -> None:
    told = avcc.info(_rich())
    assert 8 * told["bytes"] <= 24_000 * 2
    at = [key["frame"] for key in told["key_frames"]]
    assert len(at) > 1 and at == sorted(at)
    kinds = [c.type for c in chunks(_rich()) if isinstance(c, Chunk)]
    assert kinds.count(layout.IDENTITY) == len(at)
    assert len(list(avcc.decode(_rich()).frames)) == 50


def test_a_lost_later_key_frame_is_told_and_done_without() -> None:
    data = _rich()
    later = [c for c in chunks(data) if isinstance(c, Chunk) and c.type == layout.IDENTITY][1]
    broken = bytearray(data)
    broken[(later.start + later.end) // 2] ^= 1
    heard: list[str] = []
    assert len(list(avcc.Codec("cpu").decode(bytes(broken), warn=heard.append).frames)) == 50
    assert heard and len(read(bytes(broken)).identities) == len(read(data).identities) - 1


@pytest.mark.parametrize("rate", [1500, 2500])
def test_few_bits_go_into_one_picture(rate: int) -> None:
    assert len(avcc.info(avcc.encode(talk(), bitrate=rate))["key_frames"]) == 1
