"""Diffusion: the specified noise, what is expected of the symbols, the network, the sampler."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avcc.analysis.mel import SILENCE
from avcc.diffusion import sample as sampler
from avcc.diffusion.avdiff import MEL, AVDiff, Condition, fitting
from avcc.diffusion.blocks import BranchBlock
from avcc.diffusion.conditions import Conditions
from avcc.diffusion.estimate import Estimator
from avcc.diffusion.sample import OVERLAP, WINDOW, plan, sample, window_sample
from avcc.diffusion.schedule import FORGETS, GAP, MEL_UNSENT, between, gaps, mel_off, times
from avcc.layers import halve, rotary
from avcc.noise import gaussian, philox
from avcc.stages import BANDS, LATENT, MOTION, SHAPE, SILENT, UNSENT, VOICE, Features, KeyFrame

torch.set_num_threads(1)

# Random123, kat_vectors, philox4x32 with 10 rounds: counter, key, result.
PI = "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0"
KNOWN = [
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (PI[:35], PI[36:], "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize("texts", KNOWN)
def test_philox_is_philox(texts: tuple[str, str, str]) -> None:
    counter, (first, second), result = ([int(w, 16) for w in t.split()] for t in texts)
    found = philox(np.array([counter] * 2, np.uint32), (first, second))
    assert found.tolist() == [result] * 2


@pytest.mark.parametrize("width", [1, 4, 20, 160])
def test_noise_is_the_same_however_it_is_cut(width: int) -> None:
    whole = gaussian(7, 1, 0, 300, width)
    assert whole.shape == (300, width) and whole.dtype == np.float32
    for first, count in ((0, 1), (17, 40), (299, 1), (100, 200)):
        assert (gaussian(7, 1, first, count, width) == whole[first : first + count]).all()
    assert (gaussian(7, 1, 0, 300, width + 5)[:, :width] == whole).all()
    assert gaussian(7, 1, 2**32 - 2, 2, width).shape == (2, width)  # the last tokens there are


def test_noise_is_normal_and_independent() -> None:
    x = gaussian(3, 0, 0, 2000, 100).astype(np.float64)
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01
    assert abs((x**4).mean() - 3) < 0.1 and 4 < abs(x).max() < 7
    others = [gaussian(3, 1, 0, 2000, 100), gaussian(4, 0, 0, 2000, 100), np.roll(x, 1, 0)]
    for other in [*others, np.roll(x, 1, 1)]:
        assert abs((x * other).mean()) < 0.01


def test_between_sent_frames() -> None:
    motion = np.full((12, 2), np.nan, np.float32)
    motion[2], motion[6], motion[7] = (1, -4), (5, 0), (6, 2)
    step = np.array([0.4, 0.02], np.float32)
    full, off = between(motion, step)
    assert full.dtype == off.dtype == np.float32
    np.testing.assert_allclose(full[:, 0], [1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6], atol=1e-6)
    np.testing.assert_allclose(full[2:7, 1], [-4, -3, -2, -1, 0], atol=1e-6)
    # as far off as rounding where sent, further the further away, never beyond what is typical
    np.testing.assert_allclose(off[[2, 6, 7], 0], 0.4 / 12**0.5, rtol=1e-5)
    assert (off[4] > off[3]).all() and (off[3] > off[2]).all() and (off[8:] > off[7]).all()
    assert (np.diff(off[7:], axis=0) >= 0).all() and off.min() > 0 and off.max() <= 1
    np.testing.assert_allclose(off[3], off[5], rtol=1e-5)


def test_between_nothing_and_everything() -> None:
    nothing = np.full((5, 3), np.nan, np.float32)
    full, off = between(nothing, np.ones(3, np.float32))
    assert (full == 0).all() and (off == 1).all()
    every = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    full, off = between(every, np.full(3, 0.3, np.float32))
    np.testing.assert_allclose(full, every, atol=1e-6)
    assert (off == off[0, 0]).all()


def test_long_gaps_are_eased() -> None:
    """From what was before towards the mean and on to what comes after, as a Gauss-Markov process
    would; any length of it, and at both ends of a clip."""
    count = 900
    rng = np.random.default_rng(4)
    motion = rng.normal(2, 1, (count, 2)).astype(np.float32)
    motion[:, 1] = 7  # what never moves stays where it is
    sent = np.ones(count, bool)
    for first, last in ((0, 30), (100, 100 + GAP), (200, 260), (400, 600), (870, 900)):
        sent[first:last] = False
    motion[~sent] = np.nan
    assert gaps(sent) == [(0, 30), (200, 260), (400, 600), (870, 900)]
    full, off = between(motion, np.ones(2, np.float32))
    assert full.dtype == np.float32 and np.isfinite(full).all() and (off[~sent] <= 1).all()
    np.testing.assert_allclose(full[sent], motion[sent], rtol=1e-6)
    np.testing.assert_allclose(full[:, 1], 7, rtol=1e-5)
    np.testing.assert_allclose(np.diff(full[99 : 101 + GAP, 0], 2), 0, atol=1e-5)  # short: straight
    near = motion[150:460, 0]
    assert abs(full[230, 0] - np.nanmean(near)) < 0.5 * abs(motion[[199, 260], 0] - 2).max() + 0.2
    assert abs(full[500, 0] - 2) < 0.15 and abs(full[0, 0] - 2) < 0.6 and abs(full[-1, 0] - 2) < 0.6
    for at in (30, 199, 260, 399, 600, 869):  # nothing jumps where a gap begins or ends
        inside = at - 1 if sent[at] and not sent[at - 1] else at + 1
        assert abs(full[inside, 0] - full[at, 0]) < 0.06 * abs(full[at, 0] - 2) + 0.02
    # by the textbook: the conditional mean under a covariance of exp(-|t| / FORGETS)
    frames, known = np.arange(200, 260), np.array([199, 260])
    cov = np.exp(-abs(frames[:, None] - known) / FORGETS)
    among = np.exp(-abs(known[:, None] - known) / FORGETS)
    mean = motion[:510, 0][sent[:510]].mean()
    expected = mean + cov @ np.linalg.solve(among, motion[known, 0] - mean)
    np.testing.assert_allclose(full[200:260, 0], expected, rtol=1e-4)
    # a gap of hours overflows nothing
    far = np.full((200_000, 1), np.nan, np.float32)
    far[0], far[-1] = 1, 3
    assert np.isfinite(between(far, np.ones(1, np.float32))[0]).all()


def test_more_sent_is_less_off() -> None:
    spreads = [MEL_UNSENT, *mel_off(np.arange(9)), 0]
    assert spreads == sorted(spreads, reverse=True) and MEL_UNSENT > spreads[1] > mel_off(99)


@pytest.mark.parametrize("steps", [1, 2, 4, 50])
def test_times_fall_from_noise_to_none(steps: int) -> None:
    levels = times(steps)
    assert levels.shape == (steps + 1,) and levels[0] == 1 and levels[-1] == 0
    np.testing.assert_allclose(np.diff(levels), -1 / steps, rtol=1e-4)


def test_plan_covers_everything_with_overlap() -> None:
    for count in [*range(1, 3 * WINDOW), 10_007]:
        windows = plan(count)
        assert windows[0][0] == 0 and windows[-1][1] == count
        assert all(0 < b - a <= WINDOW for a, b in windows)
        assert all(u[1] - v[0] == OVERLAP and v[1] > u[1] for u, v in pairwise(windows))


def _condition(a: int, b: int, value: float = 0.0, batch: int = 1) -> Condition:
    n = b - a
    rng = np.random.default_rng([a, b])
    return Condition(
        torch.full((batch, n, MEL), value),
        torch.full((batch, n, MOTION), -value),
        torch.full((batch, n, 1), 0.5),
        torch.full((batch, n, MOTION), 0.25),
        torch.from_numpy(rng.normal(size=(batch, VOICE)).astype(np.float32)),
        torch.from_numpy(rng.normal(size=(batch, SHAPE)).astype(np.float32)),
    )


def _towards(mel: float, motion: float) -> AVDiff:
    """The exact field of a rectified flow whose data is one point."""

    def field(x: Tensor, y: Tensor, s: Tensor, t: Tensor, _: Condition) -> tuple[Tensor, Tensor]:
        return (x - mel) / s[:, None, None], (y - motion) / t[:, None, None]

    return cast(AVDiff, field)


@pytest.mark.parametrize("steps", [1, 3, 4, 10])
@pytest.mark.parametrize("count", [1, 30, 250])
def test_known_field_gives_its_solution(steps: int, count: int) -> None:
    told: list[float] = []
    net = _towards(3.0, -2.0)
    mel, motion = sample(net, lambda a, b: _condition(a, b, 1.0), count, 5, steps, told.append)
    assert mel.shape == (count, MEL) and motion.shape == (count, MOTION)
    assert mel.dtype == motion.dtype == np.float32
    # the estimate, and the share that is heeded of its error, in units
    np.testing.assert_allclose(mel, 1 + sampler.HEEDED * 0.5 * 3, atol=1e-4)
    np.testing.assert_allclose(motion, -1 - 0.25 * 2, atol=1e-4)
    assert told == sorted(told) and told[-1] == 1


def test_where_no_voice_was_sent_all_is_taken() -> None:
    c = _condition(0, 30, 1.0)
    off = c.mel_off.clone()
    off[:, 10:] = MEL_UNSENT
    mel, _ = window_sample(_towards(3.0, -2.0), replace(c, mel_off=off), 5, 0, 4)
    np.testing.assert_allclose(mel[:10], 1 + sampler.HEEDED * 0.5 * 3, atol=1e-4)
    np.testing.assert_allclose(mel[10:], 1 + 3, atol=1e-4)


def _waves(x: Tensor, y: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    """A field that keeps something of the noise, and looks at each token alone."""
    return torch.sin(3 * x) + y[..., :1], torch.cos(2 * y) - x[..., :1]


def test_seed_decides() -> None:
    net = cast(AVDiff, _waves)
    first, again, other = (sample(net, _condition, 30, seed, 3) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert abs(first[0] - other[0]).mean() > 0.05 * sampler.HEEDED * sampler.MEL_NOISE > 0


def test_windows_see_the_same_noise() -> None:
    """With a field that looks at no neighbours, windows change nothing."""
    net, count = cast(AVDiff, _waves), 2 * WINDOW + 50
    cut = sample(net, _condition, count, 9, 4)
    whole = window_sample(net, _condition(0, count), 9, 0, 4)
    for a, b in zip(cut, whole, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-5)


def test_windows_fade_into_each_other() -> None:
    """Windows that disagree by a whole unit: no step between neighbours is near that."""
    count, pace = 3 * WINDOW, WINDOW - OVERLAP
    mel, motion = sample(_towards(0, 0), lambda a, b: _condition(a, b, a / pace), count, 0, 2)
    assert mel.max() - mel.min() > 2.9
    for x in (mel, motion):
        assert abs(np.diff(x, axis=0)).max() < 1.1 / OVERLAP
    assert (mel[:pace] == 0).all() and (abs(mel[WINDOW : 2 * pace] - 1) < 1e-5).all()


def _net(cross: bool = True, seed: int = 0) -> AVDiff:
    """A small network whose every weight is random, the last layers' too."""
    torch.manual_seed(seed)
    net = AVDiff(32, 5, 4, cross).eval()
    for p in net.parameters():
        nn.init.normal_(p, 0, 0.15)
    return net


def _noisy(n: int, batch: int = 2, seed: int = 1) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(batch, n, MEL, generator=g), torch.randn(batch, n, MOTION, generator=g)


@torch.no_grad()
def test_untrained_network_moves_nothing() -> None:
    x, y = _noisy(7)
    t = torch.tensor([1.0, 0.3])
    mel, motion = AVDiff(32, 2, 4)(x, y, t, t, _condition(0, 7, batch=2))
    assert mel.shape == x.shape and motion.shape == y.shape
    assert (mel == 0).all() and (motion == 0).all()
    block = BranchBlock(32, 4, True)
    z = torch.randn(2, 7, 32)
    assert (block(z, z.flip(1), torch.zeros(2, 9, 32), torch.arange(7) / 25) == z).all()


@torch.no_grad()
@pytest.mark.parametrize("cross", [True, False])
def test_modalities_inform_each_other_only_across(cross: bool) -> None:
    net, c = _net(cross), _condition(0, 9, 0.3, batch=2)
    x, y = _noisy(9)
    t = torch.tensor([0.8, 0.4])
    mel, motion = net(x, y, t, t, c)
    other = net(x + 1, y, t, t, c)[1], net(x, y - 1, t, t, c)[0]
    changed = abs(other[0] - motion).max(), abs(other[1] - mel).max()
    assert all(float(c) > 1e-3 for c in changed) if cross else changed == (0, 0)
    assert fitting({f"avdiff.{k}": v for k, v in net.state_dict().items()}).cross == cross
    # each hears how noisy the other is, and its own conditions
    assert abs(net(x, y, t, t / 2, c)[0] - mel).max() > 1e-3
    assert abs(net(x, y, t / 2, t, c)[1] - motion).max() > 1e-3


@torch.no_grad()
def test_samples_of_a_batch_are_strangers() -> None:
    net, c = _net(), _condition(0, 9, 0.3, batch=2)
    x, y = _noisy(9)
    t = torch.tensor([0.8, 0.4])
    both = net(x, y, t, t, c)
    for i in range(2):
        parts = (c.mel, c.motion, c.mel_off, c.motion_off, c.voice, c.shape)
        alone = net(
            *(v[i : i + 1] for v in (x, y, t, t)), Condition(*(p[i : i + 1] for p in parts))
        )
        for a, b in zip(alone, both, strict=True):
            torch.testing.assert_close(a, b[i : i + 1], atol=1e-4, rtol=1e-4)


def test_rotary_positions_are_relative() -> None:
    q, k = torch.randn(2, 1, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    at = torch.tensor([0.0, 0.04, 0.5, 1.0, 3.0, 100.0])

    def scores(shift: float) -> Tensor:
        return rotary(q, at + shift) @ rotary(k, at + shift).transpose(-1, -2)

    torch.testing.assert_close(scores(7.0), scores(0.0), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(rotary(q, at).norm(dim=-1), q.norm(dim=-1))
    assert not torch.allclose(rotary(q, at), q, atol=0.1)


def _features(count: int, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    semantic = rng.integers(0, SILENT, count)
    semantic[20:30] = SILENT
    semantic[40:80] = UNSENT
    acoustic = rng.normal(size=(count, LATENT)).astype(np.float32)
    motion = rng.normal(size=(count, MOTION)).astype(np.float32)
    motion[np.arange(count) % 3 > 0] = np.nan
    motion[60:100] = np.nan
    voice = rng.uniform(-1, 1, VOICE + 1).astype(np.float32)
    picture, mesh = np.zeros((256, 256, 3), np.uint8), np.zeros((478, 2), np.float32)
    return Features(
        (KeyFrame(picture, mesh),), motion, semantic, acoustic, semantic == SILENT, voice
    )


SCALE = np.linspace(0.5, 2, MOTION).astype(np.float32)


def _conditions(f: Features, estimator: Estimator, sound: bool = True) -> Conditions:
    shape = np.arange(SHAPE, dtype=np.float32)
    step, layers = np.full(len(f.motion), np.float32(0.2)), np.full(len(f.motion), 2)
    return Conditions(
        estimator, f, SCALE, step=step, layers=layers, shape=shape, sound=sound, device="cpu"
    )


def test_conditions_are_the_decoded_symbols() -> None:
    f, estimator = _features(620), Estimator(16).eval()
    c = (conditions := _conditions(f, estimator))(0, 620)
    sent = ~np.isnan(f.motion[:, 0])
    np.testing.assert_allclose(c.motion[0, sent].numpy(), (f.motion / SCALE)[sent], rtol=1e-5)
    assert c.motion.isfinite().all() and (c.motion_off[0, 75:85] > c.motion_off[0, 0]).all()
    unsent = f.semantic == UNSENT
    assert (c.mel[0, unsent] == 0).all() and (c.mel_off[0, unsent] == MEL_UNSENT).all()
    assert (c.mel_off[0, ~unsent] == float(mel_off(2))).all()
    # long clips are estimated in windows, which can't be heard
    voice = torch.from_numpy(f.voice[None, :VOICE])
    with torch.no_grad():
        whole = estimator(
            torch.from_numpy(f.semantic)[None], torch.from_numpy(f.acoustic)[None], voice
        )
    torch.testing.assert_close(c.mel[0, ~unsent], halve(whole)[0, ~unsent], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(c.voice, voice)
    part = conditions(100, 130)
    assert (part.mel == c.mel[:, 100:130]).all() and (part.motion == c.motion[:, 100:130]).all()
    assert (_conditions(f, estimator, sound=False)(0, 9).voice == 0).all()


def test_latents_are_in_their_own_units() -> None:
    f = _features(90)
    rng = np.random.default_rng(1)
    mel = rng.normal(size=(90, MEL)).astype(np.float32)
    motion = rng.normal(size=(90, MOTION)).astype(np.float32)
    given = mel.copy()
    out = _conditions(f, Estimator(8, 1)).latents(mel, motion)
    assert out.mel is not None and out.mel.shape == (180, BANDS)
    assert (mel == given).all()
    np.testing.assert_allclose(out.motion, motion * SCALE, rtol=1e-5)
    silent = np.repeat(f.silent, 2)
    assert (out.mel[silent] == np.float32(SILENCE)).all()
    assert (out.mel[~silent] == mel.reshape(-1, BANDS)[~silent]).all()
