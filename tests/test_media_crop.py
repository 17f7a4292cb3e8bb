"""The square that is coded, cut out of a picture, and the clock of 25 pictures a second."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from avcc.media.clock import repeats_of
from avcc.media.crop import covers, cut, whole
from avcc.stages import SIDE, Crop
from tests.clips import picture, still

WIDE = (480, 360)
FEW = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """uint8 (360, 480, 3)."""
    return picture(77, 0, WIDE, (still,))


def test_a_square_of_the_coded_size_is_cut_exactly(scene: np.ndarray) -> None:
    crop = Crop(100, 50, SIDE, *WIDE)
    assert np.array_equal(cut(scene, crop), scene[50 : 50 + SIDE, 100 : 100 + SIDE])


def test_beyond_the_border_the_edge_goes_on(scene: np.ndarray) -> None:
    face = cut(scene, Crop(-20, -30, SIDE, *WIDE))
    assert np.array_equal(face[30:, 20:], scene[: SIDE - 30, : SIDE - 20])
    assert (face[:30, 20:] == scene[0, : SIDE - 20]).all()
    assert (face[:30, :20] == scene[0, 0]).all()
    far = cut(scene, Crop(480 - 200, 360 - 100, SIDE, *WIDE))
    assert np.array_equal(far[:100, :200], scene[-100:, -200:])
    assert (far[100:, 200:] == scene[-1, -1]).all()


@FEW
@given(
    x=some.integers(-500, 900),
    y=some.integers(-500, 900),
    side=some.integers(1, 700),
    size=some.tuples(some.integers(1, 400), some.integers(1, 400)),
)
def test_any_square_of_any_picture(x: int, y: int, side: int, size: tuple[int, int]) -> None:
    width, height = size
    grey = np.full((height, width, 3), 77, np.uint8)
    crop = Crop(x, y, side, width, height)
    face = cut(grey, crop)
    assert face.shape == (SIDE, SIDE, 3) and face.dtype == np.uint8 and (face == 77).all()
    assert (grey == 77).all(), "the picture itself is not touched"


@pytest.mark.parametrize(
    ("size", "crop"),
    [
        ((SIDE, SIDE), Crop(0, 0, SIDE, SIDE, SIDE)),
        ((640, 480), Crop(80, 0, 480, 640, 480)),
        ((480, 640), Crop(0, 80, 480, 480, 640)),
    ],
)
def test_the_square_over_a_whole_picture(size: tuple[int, int], crop: Crop) -> None:
    assert whole(*size) == crop
    assert covers(crop) == (size[0] == size[1])
    assert covers(Crop(-9, -9, 700, *size)) and not covers(Crop(-9, 1, 700, *size))


@pytest.mark.parametrize(
    ("rate", "shown"), [(25, [1] * 6), (50, [1, 0] * 6), (12.5, [2] * 6), (75, [1, 0, 0] * 4)]
)
def test_rates_that_fit(rate: float, shown: list[int]) -> None:
    times = np.arange(len(shown)) / rate
    assert repeats_of(times, len(shown) / rate).tolist() == shown


@pytest.mark.parametrize("rate", [23.976, 24, 29.97, 30, 60])
def test_each_tick_shows_what_the_source_shows_then(rate: float) -> None:
    times = np.arange(round(4 * rate)) / rate
    rounded = np.round(times, 3)  # as Matroska keeps them
    for kept in (times, rounded):
        repeats = repeats_of(kept, len(times) / rate)
        assert repeats.sum() == round(len(times) / rate * 25)
        order = np.repeat(np.arange(len(times)), repeats)
        late = np.arange(len(order)) / 25 - times[order]
        assert late.min() >= -0.002 and late.max() < 1 / rate + 1e-6


@FEW
@given(gaps=some.lists(some.floats(0, 2), max_size=40), hold=some.floats(0, 3))
def test_any_times(gaps: list[float], hold: float) -> None:
    times = np.cumsum([0.0, *gaps])
    duration = float(times[-1]) + hold
    repeats = repeats_of(times, duration)
    assert len(repeats) == len(times) and (repeats >= 0).all()
    assert repeats.sum() == max(1, round(duration * 25)), "no drift, and never no picture at all"
