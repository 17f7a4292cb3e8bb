"""The kernel distance between sets of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avcc.evaluation import perceptual
from avcc.evaluation.bench import Row
from avcc.evaluation.kernel import features, kid
from avcc.evaluation.report import summary

FOLDER = Path(__file__).parent.parent.parent / "shared" / "data" / "perceptual"


def test_by_hand() -> None:
    """Sets of numbers on a line, with the kernel (x y + 1)^3 written out."""
    a, b = [0.0, 1.0, 2.0], [1.0, 3.0]
    within_a = 2 * ((0 + 1) ** 3 + (0 + 1) ** 3 + (2 + 1) ** 3) / 6
    within_b = (3 + 1) ** 3
    across = np.mean([(x * y + 1) ** 3 for x in a for y in b])
    found = kid(np.array(a)[:, None], np.array(b)[:, None])
    assert found == pytest.approx(within_a + within_b - 2 * across)


def test_alike_is_about_zero_and_other_is_not() -> None:
    rng = np.random.default_rng(0)
    same = [kid(*rng.normal(size=(2, 60, 20))) for _ in range(50)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 50**0.5  # without bias: on both sides of 0
    assert min(same) < 0
    a, b = rng.normal(size=(2, 60, 20))
    far = [kid(a, b + shift) for shift in (0.5, 1, 2)]
    assert far == sorted(far) and far[0] > max(same)


def test_too_few_pictures() -> None:
    assert np.isnan(kid(np.ones((1, 3)), np.ones((5, 3))))


def test_a_column_over_all_clips() -> None:
    rng = np.random.default_rng(1)
    sets = rng.normal(size=(3, 2, 9, 16))
    rows = [
        Row(f"clip{i}", "avcc", 2000, 1, 250, features=(s[0], s[1])) for i, s in enumerate(sets)
    ]
    told = summary(rows)[0]["metrics"]["kid"]
    whole = kid(sets[:, 0].reshape(-1, 16), sets[:, 1].reshape(-1, 16))
    assert told["mean"] == pytest.approx(1000 * whole) and told["clips"] == 1
    assert "features" not in rows[0].as_dict()
    assert "kid" not in summary([Row("clip", "avcc", 2000, 1, 250)])[0]["metrics"]


def test_blur_is_far_from_the_camera() -> None:
    network, note = perceptual.load(perceptual.SecondDistance, FOLDER)
    if network is None:
        pytest.skip(note)
    import cv2

    grain = np.random.default_rng(0).integers(0, 256, (24, 128, 128, 3), dtype=np.uint8)
    blurred = np.stack([cv2.GaussianBlur(p, (0, 0), 2) for p in grain[12:]])
    one, other, soft = (features(network, x) for x in (grain[:12], grain[12:], blurred))
    assert one.shape == (12, 512)
    np.testing.assert_allclose(np.square(one).mean(1), 1, rtol=1e-4)
    assert kid(one, soft) > 10 * abs(kid(one, other))
