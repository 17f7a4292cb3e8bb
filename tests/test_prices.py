"""What a clip would cost, told before it is coded."""

from __future__ import annotations

import numpy as np
import pytest

from avcc import prices, weights
from avcc.encoder import Encoder, encoder
from avcc.entropy.count import segment_bits
from avcc.prices import Prices
from avcc.quantise.rate import Costs
from avcc.stages import LATENT, MOTION, SEGMENT_FRAMES, VOICE, Features, KeyFrame, OperatingPoint
from tests import faces

POINT = OperatingPoint(2, 1, 2)


def _nets() -> Encoder:
    return encoder(weights.default(), "cpu")


def _features(segments: int) -> Features:
    """A face that sways, the more the later, and a voice of random latents."""
    rng = np.random.default_rng(0)
    count = segments * SEGMENT_FRAMES - 30
    times = np.arange(count)[:, None] / 25
    motion = np.sin(times * rng.uniform(1, 5, MOTION)) * times / 4
    key = KeyFrame(np.zeros((256, 256, 3), np.uint8), faces.mesh())
    wide = _nets().quantiser.centroids.shape[1]
    return Features(
        (key,),
        motion.astype(np.float32),
        rng.normal(size=(count, wide)).astype(np.float32),
        rng.normal(size=(count, LATENT)).astype(np.float32),
        np.arange(count) % 50 < 10,
        np.zeros(VOICE + 1, np.float32),
    )


def _paid(features: Features, point: OperatingPoint) -> np.ndarray:
    """Bytes of motion and voice in the end."""
    nets = _nets()
    segments = nets.quantiser.segments(features, nets.quantiser.tokens(features), point)
    return np.sum([segment_bits(one, point, nets.book) for one in segments], 0) / 8


def test_a_short_clip_is_weighed_exactly() -> None:
    features = _features(3)
    found = Prices(_nets(), features, _nets().quantiser.tokens(features), 3).weighed(POINT)
    np.testing.assert_allclose(found, _paid(features, POINT))


def test_a_long_one_is_weighed_on_the_safe_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "WEIGHED", 4)
    features = _features(9)
    found = Prices(_nets(), features, _nets().quantiser.tokens(features), 9).weighed(POINT)
    paid = _paid(features, POINT)
    assert (np.array(found) >= paid).all() and (np.array(found) < 2 * paid).all()


def test_drafts_are_a_little_dear() -> None:
    features = _features(2)
    motion, voice = Prices(_nets(), features, _nets().quantiser.tokens(features), 2).all(True)
    paid = _paid(features, POINT)
    assert 1 <= motion[2, 1] / paid[0] < 1.35 and 1 <= voice[2] / paid[1] < 1.2
    assert set(voice) == set(_nets().book.depths)
    _, silent = Prices(_nets(), features, _nets().quantiser.tokens(features), 2).all(False)
    assert not silent


def test_one_price_tells_the_others() -> None:
    motion, voice = {(1, 0): 400.0, (2, 1): 200.0}, {1: 100.0, 2: 160.0}
    costs = Costs(motion, voice, 60.0, 30.0, np.array([1.0]), pitch=20.0)
    found = costs.scaled(POINT, 150.0, 144.0)
    assert found.motion == {(1, 0): 300.0, (2, 1): 150.0}
    assert found.voice == pytest.approx({1: 90.0, 2: 144.0})
    assert (found.fixed, found.pitch, found.another) == (60.0, 20.0, 30.0)
    # of what isn't sent nothing is known
    unmoved = costs.scaled(OperatingPoint(0, 0, 2), 0.0, 144.0)
    assert unmoved.motion == motion and unmoved.voice[1] == pytest.approx(90.0)
    mute = costs.scaled(OperatingPoint(2, 1, 0, False), 150.0, 0.0)
    assert mute.voice == voice and mute.motion[1, 0] == 300.0
