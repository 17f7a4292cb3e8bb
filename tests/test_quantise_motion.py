"""Motion indices that are chosen by what they cost as well as by how near they come."""

from __future__ import annotations

import books
import numpy as np
import pytest

from avcc import weights
from avcc.analysis.motion import MotionBank
from avcc.entropy.context import segment
from avcc.entropy.count import Cost, segment_bits
from avcc.entropy.forecast import motion_prices
from avcc.entropy.primitive import Ask
from avcc.entropy.tables import ESCAPE, REACH, Codebook
from avcc.mesh import LIPS, POINTS
from avcc.quantise.motion import A_BIT, FURTHEST, LIPS_WEIGHT, NEAR, MotionPaths, _prices
from avcc.quantise.scalar import STEPS, rounded, steady
from avcc.stages import MOTION, OperatingPoint, Segment


class Asked(Cost):
    """What each foretold symbol costs."""

    def __init__(self, book: Codebook) -> None:
        super().__init__(book)
        self.spent: list[float] = []

    def foretold(self, ask: Ask) -> int:
        assert ask.symbol is not None
        found = ask.prior.frequencies(ask.state, ask.slot, ask.row)
        self.spent.append(24 - float(np.log2(found[ask.symbol])))
        return ask.symbol


@pytest.fixture(scope="module")
def book() -> Codebook:
    return weights.codebook(weights.default())


@pytest.fixture(scope="module")
def paths(book: Codebook) -> MotionPaths:
    return MotionPaths(book)


def moving(frames: int, seed: int) -> np.ndarray:
    """Coefficients that wander smoothly, the first ones farther, and tremble."""
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(np.cumsum(rng.normal(0, 0.05, (frames, MOTION)), 0) * 0.3, 0)
    wander = np.sin(np.arange(frames)[:, None] / rng.uniform(4, 30, MOTION)) * 2 + smooth / 20
    far = 0.8 ** np.arange(MOTION)
    return (wander * far + rng.normal(0, 0.04, (frames, MOTION))).astype(np.float32)


def drawn(codes: np.ndarray, frames: int, stride: int, step: int) -> np.ndarray:
    """What a decoder interpolates."""
    at, every = np.arange(0, frames, stride), np.arange(frames)
    return np.stack([np.interp(every, at, c) for c in codes.T], 1) * STEPS[step]


def bits(book: Codebook, codes: np.ndarray, frames: int, stride: int, step: int) -> float:
    nothing = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
    seg = Segment(frames, codes, *nothing)
    return segment_bits(seg, OperatingPoint(stride, step, 0, False), book)[0]


@pytest.mark.parametrize(("stride", "step"), [(1, 0), (1, 2), (2, 1), (3, 2), (5, 3)])
def test_fewer_bits_for_their_error(
    book: Codebook, paths: MotionPaths, stride: int, step: int
) -> None:
    """Cheaper than indices that follow once they must, than rounding still more, and by the sum
    that is minimised better than both."""
    totals = np.zeros((3, 2))
    for seed in range(6):
        motion = moving(100, seed)
        chosen = paths.codes(motion[None], stride, step)[0]
        at = motion[::stride]
        for i, codes in enumerate((chosen, steady(at, STEPS[step]), rounded(at, STEPS[step]))):
            away = np.square((drawn(codes, 100, stride, step) - motion) / STEPS[step])
            away = (away * paths.weight).sum()
            totals[i] += away, bits(book, codes, 100, stride, step)
    sums = totals @ [1.0, A_BIT * stride]
    assert sums[0] < 0.99 * sums[1:].min()
    assert totals[0, 1] < 0.97 * totals[1:, 1].min()


def test_lips_weigh_more(book: Codebook, paths: MotionPaths) -> None:
    """Each direction by its share of lips: a head that moves as a whole has none."""
    assert paths.weight.shape == (MOTION,) and 1 <= paths.weight.min() < 1.01
    bank = MotionBank(book.arrays["motion.directions"].astype(np.float32))
    face = np.random.default_rng(0).uniform(0.3, 0.7, (POINTS, 2)).astype(np.float32)
    most = int(paths.weight.argmax())
    moved = bank.meshes(np.eye(MOTION, dtype=np.float32)[most][None], face)[0] - face
    lips = moved[list(LIPS)] - moved[list(LIPS)].mean(0)
    share = np.square(lips).sum() / np.square(moved).sum()
    assert paths.weight[most] == pytest.approx(1 + LIPS_WEIGHT * share, rel=1e-3)


def test_segments_side_by_side_are_as_alone(paths: MotionPaths) -> None:
    clip = moving(340, 1)
    cuts = [clip[a : a + 100] for a in range(0, 340, 100)]
    together = paths.parts(cuts, 3, 1)
    assert [len(codes) for codes in together] == [34, 34, 34, 14]
    for cut, codes in zip(cuts, together, strict=True):
        assert codes.dtype == np.int64
        np.testing.assert_array_equal(codes, paths.codes(cut[None], 3, 1)[0])
        assert abs(codes - rounded(cut[::3], STEPS[1])).max() <= NEAR[-1]
    received = paths.received(clip, 3, 1)
    assert np.isnan(received).all(1).sum() == 340 - 34 * 3 - 14
    np.testing.assert_allclose(received[300::3], together[3] * STEPS[1], atol=1e-6)


def test_one_frame_and_gaps(paths: MotionPaths) -> None:
    assert paths.codes(np.full((1, 1, MOTION), np.nan, np.float32), 5, 0).shape == (1, 1, MOTION)
    clip = moving(100, 2)
    clip[40:] = np.nan
    assert not paths.codes(clip[None], 2, 3)[0, 25:].any()
    far = np.where(np.arange(100)[:, None] < 50, 0, 40.0) * np.ones(MOTION)
    codes = paths.codes(far[None].astype(np.float32), 1, 0)[0]  # a leap of 400 steps
    assert (abs(codes - rounded(far, STEPS[0])) <= NEAR[-1]).all()


def test_a_still_face_costs_its_first_code(book: Codebook, paths: MotionPaths) -> None:
    """A tremble of a third of a step about a half is hardly followed."""
    rng = np.random.default_rng(0)
    still = 0.5 * STEPS[1] + rng.uniform(-0.3, 0.3, (100, MOTION)) * STEPS[1]
    codes = paths.codes(still[None].astype(np.float32), 1, 1)[0]
    assert (np.diff(codes, axis=0) == 0).mean() > 0.98
    assert (np.diff(rounded(still, STEPS[1]), axis=0) == 0).mean() < 0.6


def test_rows_and_prices_are_the_coders(book: Codebook, paths: MotionPaths) -> None:
    """What the search takes a path to cost is what coding it by tables alone costs."""
    book = Codebook.from_arrays({k: v for k, v in book.arrays.items() if not k.startswith("prior")})
    rng = np.random.default_rng(3)
    codes = np.cumsum(rng.integers(-3, 4, (60, MOTION)), 0)
    codes[30:] += 45 * (np.arange(MOTION) == 2)  # an escape
    rows = paths.rows(codes[None], 2)[0]
    change = np.clip(np.diff(codes, axis=0), -FURTHEST, FURTHEST) + FURTHEST
    priced = paths._changes[rows[1:], change].sum()
    first = _prices(book.table("motion_first"))[np.array(book.motion_first)[2], codes[0] + FURTHEST]
    cost = Cost(book)
    nothing = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
    segment(cost, book, OperatingPoint(1, 2, 0, False), 60, Segment(60, codes, *nothing))
    assert priced + first.sum() == pytest.approx(cost.bits["motion"], rel=1e-4)


def test_what_priors_would_say_is_what_they_say() -> None:
    """Whole segments at once, and the traversal's walk: the same bits."""
    book = books.book(foretells=True)
    rng = np.random.default_rng(3)
    paths = MotionPaths(book)
    for stride, step, spread in ((1, 0, 0.7), (2, 2, 3.0), (9, 1, 40.0)):
        frames = 61
        rows = -(-frames // stride)
        codes = np.rint(rng.normal(0, spread, (2, rows, books.DIRECTIONS))).cumsum(1)
        codes = codes.astype(np.int64)
        found = motion_prices(book, codes, paths.rows(codes, step)[:, 1:], stride, step)
        for one, given in zip(codes, found, strict=True):
            change = np.diff(one, axis=0)
            symbol = np.where(np.abs(change) <= REACH, change + REACH, ESCAPE)
            spent = np.take_along_axis(given, symbol[..., None], -1)
            spy = Asked(book)
            seg = Segment(frames, one, np.zeros(0, np.int64), np.zeros((0, 0), np.int64))
            segment(spy, book, OperatingPoint(stride, step, 0, False), frames, seg)
            assert spy.spent == pytest.approx(spent.ravel().tolist(), rel=0.05, abs=0.05)
