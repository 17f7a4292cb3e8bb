"""Quantisation: numbers to integers and back, segments of a clip, and how a budget is split."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avcc.entropy.tables import Codebook
from avcc.quantise.codebook import nearest, residual_paths, residual_sum, residual_tokens
from avcc.quantise.rate import STRIDES, UNMOVED, Costs, ranked
from avcc.quantise.scalar import (
    GAIN_LEVELS,
    GAIN_STEP,
    HOLD,
    SHAPE_STEPS,
    STEPS,
    VOICE_LEVELS,
    gain_index,
    gain_value,
    rounded,
    steady,
    voice_levels,
    voice_values,
)
from avcc.quantise.symbols import Quantiser, shape_vector
from avcc.stages import (
    LATENT,
    MOTION,
    SEGMENT_FRAMES,
    SILENT,
    UNSENT,
    VOICE,
    Features,
    Head,
    KeyFrame,
    OperatingPoint,
    Symbols,
)

WIDTH, LAYERS = 12, 6

# -- scalar -----------------------------------------------------------------------------------


@given(st.integers(0, 1 << 20), st.floats(1e-3, 10))
@settings(max_examples=50, deadline=None)
def test_rounding_is_within_half_a_step(seed: int, step: float) -> None:
    values = np.random.default_rng(seed).normal(0, 20 * step, (9, 4))
    indices = rounded(values, step)
    assert indices.dtype == np.int64 and (abs(indices * step - values) <= step * 0.5001).all()
    assert rounded(np.array([np.nan]), step) == 0


@given(st.integers(0, 1 << 20), st.sampled_from(STEPS.tolist()))
@settings(max_examples=50, deadline=None)
def test_steady_is_within_its_hold(seed: int, step: float) -> None:
    values = np.random.default_rng(seed).normal(0, step, (40, 5)).cumsum(0)
    indices = steady(values, step)
    assert indices.dtype == np.int64 and indices.shape == values.shape
    assert (abs(indices * step - values) <= HOLD * step * 1.0001).all()
    assert (indices[0] == rounded(values[0], step)).all()


def test_steady_ignores_jitter_and_follows_motion() -> None:
    rng = np.random.default_rng(0)
    trembling = 0.5 + rng.uniform(-0.14, 0.14, (500, 3))  # just where rounding can't decide
    assert (np.diff(steady(trembling, 1.0), axis=0) == 0).all()
    assert (np.diff(rounded(trembling, 1.0), axis=0) != 0).any()
    slow = np.linspace(0, 10, 200)[:, None]
    assert (np.diff(steady(slow, 1.0)[:, 0]) >= 0).all() and steady(slow, 1.0)[-1] == 10
    missing = np.full((3, 2), np.nan)
    assert (steady(missing, 0.1) == 0).all() and steady(missing[:0], 0.1).shape == (0, 2)


def test_voice_code_is_within_half_a_level() -> None:
    code = np.random.default_rng(0).uniform(-1, 1, 1000)
    levels = voice_levels(code)
    assert levels.min() == 0 and levels.max() == VOICE_LEVELS - 1
    back = voice_values(levels)
    assert back.dtype == np.float32 and abs(back - code).max() <= 1 / (VOICE_LEVELS - 1) + 1e-6
    assert (voice_values(voice_levels(np.array([-1.0, 1.0]))) == [-1, 1]).all()
    assert voice_levels(np.array([-9.0, 9.0])).tolist() == [0, VOICE_LEVELS - 1]
    # a table has room for levels that no code uses: those beyond the last count as the last
    assert voice_values(np.array([GAIN_LEVELS - 1])) == 1


def test_gain_indices() -> None:
    for index in range(GAIN_LEVELS):
        assert gain_index(gain_value(index)) == index
    for decibels in np.linspace(-62, 0, 500):
        found = 20 * np.log10(gain_value(gain_index(10 ** (decibels / 20))))
        assert abs(found - decibels) <= GAIN_STEP / 2 + 1e-6
    assert gain_index(0.0) == gain_index(1e-9) == 0 and gain_index(5.0) == GAIN_LEVELS - 1
    assert gain_value(GAIN_LEVELS - 1) == gain_value(GAIN_LEVELS + 90) == 1.0


# -- codebook ---------------------------------------------------------------------------------


def test_nearest_is_nearest() -> None:
    rng = np.random.default_rng(1)
    vectors, centroids = rng.normal(size=(200, 7)), rng.normal(size=(31, 7)) * 2
    away = np.linalg.norm(vectors[:, None] - centroids, axis=2)
    found = nearest(vectors, centroids)
    assert found.dtype == np.int64 and (found == away.argmin(1)).all()
    assert (nearest(centroids, centroids) == np.arange(31)).all()


def _books(rng: np.random.Generator) -> np.ndarray:
    """Layers that halve in size, as trained ones do."""
    books = rng.normal(size=(LAYERS, 256, LATENT))
    return (books * 0.6 ** np.arange(LAYERS)[:, None, None]).astype(np.float32)


def test_more_layers_leave_less() -> None:
    rng = np.random.default_rng(2)
    books = _books(rng)
    books[:, 0] = 0  # a code of nothing: no layer can make it worse
    latents = rng.normal(size=(300, LATENT)).astype(np.float32)
    paths = residual_paths(latents, books)
    left = [np.square(latents - residual_sum(tokens, books)).sum(1) for tokens in paths]
    for fewer, more in pairwise(left):
        assert (more <= fewer + 1e-4).all() and more.mean() < fewer.mean()
    for n in range(LAYERS + 1):
        assert paths[n].shape == (300, n) and paths[n].dtype == np.int64
        assert (residual_tokens(latents, books, n) == paths[n]).all()
    # one by one they leave more, and the first of them are those of fewer layers
    alone = residual_tokens(latents, books, LAYERS, beam=1)
    assert (residual_tokens(latents, books, 2, beam=1) == alone[:, :2]).all()
    assert left[-1].mean() < 0.93 * np.square(latents - residual_sum(alone, books)).sum(1).mean()


def test_the_beam_finds_the_best_sum() -> None:
    rng = np.random.default_rng(7)
    books = rng.normal(size=(2, 5, 3)).astype(np.float32)
    latents = rng.normal(size=(1500, 3)).astype(np.float32)  # more than are searched at once
    every = np.array([(i, j) for i in range(5) for j in range(5)])
    away = np.square(latents[:, None] - residual_sum(every, books)).sum(2)
    assert (residual_tokens(latents, books, 2) == every[away.argmin(1)]).all()
    assert residual_tokens(latents[:0], books, 2).shape == (0, 2)


def test_layers_add_up() -> None:
    books = _books(np.random.default_rng(2))
    sums = books[np.arange(LAYERS), [3, 1, 4, 1, 5, 9]].sum(0)
    np.testing.assert_allclose(
        residual_sum(np.array([[3, 1, 4, 1, 5, 9]]), books)[0], sums, rtol=1e-5
    )


# -- symbols ----------------------------------------------------------------------------------


def _laplace(rows: int) -> np.ndarray:
    """Tables of signed values, small ones likelier."""
    share = 0.7 ** np.abs(np.arange(62) - 30.0) + 1e-6
    return np.tile((share / share.sum() * (1 << 24)).astype(np.uint32), (rows, 1))


def _quantiser() -> tuple[Quantiser, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    centroids = rng.normal(size=(SILENT, WIDTH)).astype(np.float32)
    books = _books(rng)
    contexts = {
        "context.semantic_class": (np.arange(SILENT + 1) == SILENT).astype(np.uint8),
        "context.acoustic_class": np.zeros((LAYERS, 256), np.uint8),
    }
    contexts |= {
        "context.motion_first": np.zeros((len(STEPS), MOTION), np.uint8),
        "context.motion_start": np.full((len(STEPS), MOTION), 16, np.int32),
    }
    flat = {f"table.acoustic_{n}": np.full((4, 256), 1 << 16, np.uint32) for n in range(LAYERS)}
    flat |= {"table.motion": _laplace(36), "table.motion_first": _laplace(24)}
    arrays = {"semantic.centroids": centroids, "acoustic.books": books}
    book = Codebook(b"test", arrays | contexts | flat)
    return Quantiser(book), centroids, books


QUANTISER, CENTROIDS, BOOKS = _quantiser()
KEYS = (KeyFrame(np.zeros((256, 256, 3), np.uint8), np.zeros((478, 2), np.float32)),)


def _features(count: int, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    motion = rng.normal(0, 0.3, (count, MOTION)).cumsum(0).astype(np.float32)
    semantic = rng.normal(size=(count, WIDTH)).astype(np.float32)
    acoustic = rng.normal(size=(count, LATENT)).astype(np.float32)
    voice = np.append(rng.uniform(-1, 1, VOICE), 0.05).astype(np.float32)
    return Features(KEYS, motion, semantic, acoustic, rng.random(count) < 0.3, voice)


def _symbols(f: Features, point: OperatingPoint) -> Symbols:
    segments = QUANTISER.segments(f, QUANTISER.tokens(f), point)
    one = QUANTISER.identity(np.zeros(len(SHAPE_STEPS), np.float32), f, point.semantic)
    count = len(f.motion)
    head = Head(b"test", Fraction(25), count, count * 640, None, 0, point)
    return Symbols(head, (one,), tuple(segments))


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_segments_there_and_back(stride: int, count: int) -> None:
    f, point = _features(count), OperatingPoint(stride, 1, 2, True)
    symbols = _symbols(f, point)
    lengths = [s.frames for s in symbols.segments if s is not None]
    assert sum(lengths) == count and all(n == SEGMENT_FRAMES for n in lengths[:-1])
    for s in symbols.segments:
        assert s is not None
        assert s.motion.shape == (-(-s.frames // stride), MOTION) and s.motion.dtype == np.int64
        assert s.semantic.shape == (s.frames,) and s.acoustic.shape == (s.frames, 2)
        assert (s.acoustic[s.semantic == SILENT] == 0).all()  # there they cost nothing
    back = QUANTISER.features(symbols, KEYS)
    # each segment starts anew, with its first frame
    sent = np.arange(count) % SEGMENT_FRAMES % stride == 0
    assert (np.isnan(back.motion).any(1) == ~sent).all() and np.isnan(back.motion[~sent]).all()
    off = abs(back.motion - f.motion)[sent]
    assert off.max() <= 2.5 * STEPS[1] * 1.001
    assert (back.silent == f.silent).all()
    expected = np.where(f.silent, SILENT, nearest(f.semantic, CENTROIDS))
    assert (back.semantic == expected).all() and back.semantic.dtype == np.int64
    coded = residual_sum(residual_tokens(f.acoustic, BOOKS, 2), BOOKS)
    np.testing.assert_allclose(back.acoustic, np.where(f.silent[:, None], 0, coded), atol=1e-5)
    assert abs(back.voice[:VOICE] - f.voice[:VOICE]).max() <= 1 / (VOICE_LEVELS - 1) + 1e-6
    assert abs(20 * np.log10(back.voice[VOICE] / f.voice[VOICE])) <= GAIN_STEP / 2 + 1e-4
    for got, kind in ((back.motion, np.float32), (back.acoustic, np.float32)):
        assert got.dtype == kind


def test_lost_segments_leave_gaps_and_nothing_else() -> None:
    symbols = _symbols(_features(250), OperatingPoint(2, 0, 3, True))
    whole = QUANTISER.features(symbols, KEYS)
    for lost in range(3):
        segments = tuple(None if i == lost else s for i, s in enumerate(symbols.segments))
        back = QUANTISER.features(replace(symbols, segments=segments), KEYS)
        gone = np.arange(250) // SEGMENT_FRAMES == lost
        assert np.isnan(back.motion[gone]).all() and (back.semantic[gone] == UNSENT).all()
        assert (back.acoustic[gone] == 0).all() and not back.silent[gone].any()
        for name in ("motion", "semantic", "acoustic", "silent"):
            ours, theirs = getattr(back, name)[~gone], getattr(whole, name)[~gone]
            np.testing.assert_array_equal(ours, theirs)
        assert (back.voice == whole.voice).all()


def test_what_a_point_leaves_out_is_missing() -> None:
    f = _features(130)
    back = QUANTISER.features(_symbols(f, OperatingPoint(0, 1, 2, True)), KEYS)
    assert np.isnan(back.motion).all() and (back.silent == f.silent).all()
    back = QUANTISER.features(_symbols(f, OperatingPoint(3, 1, 2, False)), KEYS)
    assert (back.semantic == UNSENT).all() and (back.acoustic == 0).all()
    assert not back.silent.any() and (back.voice == 0).all() and not np.isnan(back.motion[0]).any()
    back = QUANTISER.features(_symbols(f, OperatingPoint(1, 0, 0, True)), KEYS)
    assert (back.acoustic == 0).all() and (back.semantic != UNSENT).all()


def test_a_silent_clip_needs_no_features() -> None:
    f = replace(_features(120), silent=np.ones(120, bool), semantic=np.zeros((120, 1), np.float32))
    tokens = QUANTISER.tokens(f)
    assert (tokens.semantic == SILENT).all()
    for n, acoustic in enumerate(tokens.acoustic):
        assert acoustic.shape == (120, n) and not acoustic.any()


def test_shape_is_within_half_a_step() -> None:
    shape = np.random.default_rng(5).normal(size=len(SHAPE_STEPS)).astype(np.float32)
    one = QUANTISER.identity(shape, _features(1), True)
    assert one.shape.dtype == one.voice.dtype == np.int64 and len(one.voice) == VOICE + 1
    back = shape_vector(one)
    assert back.dtype == np.float32 and (abs(back - shape) <= SHAPE_STEPS / 2 + 1e-6).all()
    assert len(QUANTISER.identity(shape, _features(1), False).voice) == 0


# -- rate -------------------------------------------------------------------------------------


def _costs(seed: int, sound: bool = True) -> Costs:
    """Costs that fall with the stride and the step and grow with the layers."""
    rng = np.random.default_rng(seed)
    much, each, fixed = rng.uniform(50, 4000), rng.uniform(20, 800), rng.uniform(20, 80)
    motion = {(s, q): much / s / (1 + q) for s in STRIDES for q in range(len(STEPS))}
    voice = {n: each * (1.5 + n) for n in range(LAYERS + 1)} if sound else {}
    return Costs(motion, voice, fixed, 30.0, np.array([1.0]))


def _plans(costs: Costs, budget: float) -> list[OperatingPoint]:
    """The operating points of the plans, all of one key frame."""
    plans = ranked(costs, budget)
    assert {p.keys for p in plans} == {1}
    return [p.point for p in plans]


def _spent(costs: Costs, p: OperatingPoint) -> float:
    voice = costs.voice[p.acoustic_layers] if costs.voice else 0.0
    return costs.fixed + (costs.motion | UNMOVED)[p.motion_stride, p.motion_step] + voice


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_more_budget_is_never_worse(seed: int, sound: bool) -> None:
    costs = _costs(seed, sound)
    cheapest = min(_spent(costs, p) for p in _plans(costs, 1e9))
    before: OperatingPoint | None = None
    for budget in np.geomspace(cheapest, 20 * cheapest, 60):
        *points, last = _plans(costs, budget)
        assert _spent(costs, last) == cheapest
        assert points and len(set(points)) == len(points)
        assert all(_spent(costs, p) <= budget for p in points)
        assert all(p.semantic == sound for p in points)
        best = points[0]
        if before is not None and before != best:
            # what it gave up for less, of motion or voice, it got back somewhere
            finer = (
                not before.motion_stride
                or best.motion_stride < before.motion_stride
                or best.motion_step < before.motion_step
                or best.acoustic_layers > before.acoustic_layers
            )
            assert finer or _spent(costs, best) < _spent(costs, before)
        before = best


def test_the_pitch_is_sent_where_it_is_worth_its_bytes() -> None:
    costs = replace(_costs(2), voice={n: 100.0 * (1 + n) for n in range(3)})
    assert not any(plan.pitch for plan in ranked(costs, 1e6))
    cheap, dear = replace(costs, pitch=1.0), replace(costs, pitch=1e5)
    assert ranked(cheap, 3e3)[0].pitch
    for with_it in (cheap, dear):
        plans = ranked(with_it, 1e6)
        assert plans[0].pitch and len(plans) == 2 * len(ranked(costs, 1e6)) - 1
        assert not plans[-1].pitch  # the cheapest
    assert not any(plan.pitch for plan in ranked(dear, 9e4))
    assert not any(plan.pitch for plan in ranked(cheap, 1e6, "video-driven"))
    # beside many layers it brings nothing
    assert not ranked(replace(_costs(2), pitch=1.0), 1e6)[0].pitch


def test_a_dearer_face_gets_more_of_the_bytes() -> None:
    costs = _costs(0)
    for budget in (2e3, 6e3):
        spent = [_spent(costs, _plans(replace(costs, dear=x), budget)[0]) for x in (0.4, 1, 2.5)]
        assert spent == sorted(spent, reverse=True) and spent[0] > spent[-1]


def test_no_room_gives_the_cheapest_alone() -> None:
    costs = _costs(1)
    every = _plans(costs, 1e9)[:-1]
    assert len(every) == (len(costs.motion) + 1) * len(costs.voice)  # one without any motion
    cheapest = min(every, key=lambda p: _spent(costs, p))
    for budget in (-5.0, 0.0, _spent(costs, cheapest) - 1):
        assert _plans(costs, budget) == [cheapest]
    assert _plans(costs, _spent(costs, cheapest)) == [cheapest, cheapest]
    # where bytes don't matter, nothing is left out
    finest = every[0]
    assert (finest.motion_stride, finest.motion_step) == (1, 0)
    assert finest.acoustic_layers == LAYERS
