"""How much detail decoded pictures show: the mask, how strong it and the restoration of key frames
are to be, and that it is sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from clips import swaying

import avcc
from avcc import weights
from avcc.analysis import identity
from avcc.codec import Codec
from avcc.container.read import read
from avcc.container.write import write
from avcc.detail import DRAWN, KEPT, restoration, sharpness
from avcc.encoder import encoder
from avcc.media.arrays import from_arrays
from avcc.render.face import restored_share
from avcc.render.unsharp import TAPS, unsharp
from avcc.stages import MOTION, RESTORED, SHARPEST, Clip, KeyFrame
from avcc.trial import drawn, restored

FRAMES = 60
RATE = 6000


def _smoothed(pictures: np.ndarray) -> np.ndarray:
    """Convolved with the taps down and across, borders repeated: one row after another."""
    x = pictures.astype(float)
    taps, half = np.array(TAPS) / sum(TAPS), len(TAPS) // 2
    for axis in (-3, -2):
        pad = [(0, 0)] * x.ndim
        pad[axis] = half, half
        wide = np.pad(x, pad, mode="edge")
        x = sum(t * np.take(wide, range(i, i + x.shape[axis]), axis) for i, t in enumerate(taps))
    return x


def _looks() -> tuple[KeyFrame, ...]:
    return swaying(6, 6)


def _blurred(look: KeyFrame, times: float) -> KeyFrame:
    """Smoothed so often; a half smooths by half."""
    picture = look.picture.astype(float)
    while times > 0:
        picture += min(times, 1) * (_smoothed(picture) - picture)
        times -= 1
    return replace(look, picture=picture.round().astype(np.uint8))


def _clip(times: int) -> Clip:
    looks = [_blurred(look, times).picture for look in _looks()]
    return from_arrays(np.stack(looks * (FRAMES // len(looks))))


def _detail(frames: np.ndarray) -> float:
    grey = frames.astype(float).mean(-1, keepdims=True)
    return float(np.square(grey - _smoothed(grey)).mean() ** 0.5)


@pytest.mark.parametrize("strength", [-1.0, -0.375, 0.5])
def test_a_mask_adds_what_smoothing_takes(strength: float) -> None:
    pictures = np.stack([look.picture for look in _looks()[:2]])
    pictures[0, :9, :5] = 255, 0, 128  # something at the border
    wanted = pictures + strength * (pictures - _smoothed(pictures))
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).double()
    found = unsharp(x, strength).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_no_strength_changes_nothing() -> None:
    x = torch.rand(1, 3, 16, 16)
    assert unsharp(x, 0.0) is x
    flat = torch.full((1, 3, 16, 16), 0.3)
    assert torch.allclose(unsharp(flat, 0.7), flat)


def test_what_is_drawn_too_sharp_is_softened() -> None:
    looks = [_blurred(look, 0.3) for look in _looks()]
    drawn = [look.picture for look in _looks()]
    found = sharpness(drawn, looks)
    assert -SHARPEST < found < 0
    x = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float()
    shown = unsharp(x, found / SHARPEST).permute(0, 2, 3, 1).numpy()
    less = unsharp(x, (found + 1) / SHARPEST).permute(0, 2, 3, 1).numpy()
    true = np.stack([look.picture for look in looks])
    assert _detail(shown) <= DRAWN * _detail(true) < _detail(less)
    # softer sources ask for more
    softer = [sharpness(drawn, [_blurred(look, n) for look in _looks()]) for n in (0.2, 0.5, 1, 4)]
    assert softer == sorted(softer, reverse=True) and softer[-1] == -SHARPEST


def test_what_is_drawn_softer_than_the_source_stays() -> None:
    looks = _looks()
    assert sharpness([_blurred(look, 3).picture for look in looks], looks) == 0
    assert sharpness([], []) == 0


def _coded(look: KeyFrame, budget: int = 900) -> KeyFrame:
    found = identity.fitting_picture(look.picture, budget)
    assert found is not None
    return KeyFrame(identity.shown_picture(*found), look.mesh, 0, len(found[0]))


def test_soft_key_frames_are_restored_less() -> None:
    """To no more detail than they had; sharp ones as far as their bytes say."""
    nets, told = encoder(weights.default(), "cpu"), []
    for times in (0, 1, 3):
        key = _blurred(_looks()[0], times)
        shown = _coded(key)
        told.append(restoration(nets, [key], [shown]))
        if told[-1]:
            full = [_detail(restored(nets, shown, (told[-1] + n) / RESTORED)) for n in (0, 1)]
            assert full[0] <= KEPT * _detail(key.picture) < full[1]
    assert told[0] is None
    numbers = [RESTORED if n is None else n for n in told]
    assert numbers == sorted(numbers, reverse=True) and told[-1] is not None
    # several have one in common
    keys = [_looks()[0], _blurred(_looks()[1], 3)]
    both = restoration(nets, keys, [_coded(key) for key in keys])
    assert both is None or both >= numbers[-1]


def test_restoration_is_what_is_told() -> None:
    nets, shown = encoder(weights.default(), "cpu"), _coded(_looks()[0])
    none, half, full = (restored(nets, shown, share) for share in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(none, shown.picture, atol=1e-3)
    np.testing.assert_allclose(half, (none + full) / 2, atol=1e-3)
    assert np.abs(full - none).max() > 1
    motion = np.zeros((1, MOTION), np.float32)
    usual = float(restored_share(torch.tensor(shown.size)))
    (a,), (b,), (c,) = (
        drawn(nets, [replace(shown, restored=share)], motion) for share in (None, usual, 0.0)
    )
    assert np.abs(a.astype(int) - b).max() <= 1
    assert np.square(a.astype(float) - c).mean() > 1


def test_a_soft_source_is_shown_soft() -> None:
    """Softer than the same stream without the mask, and nearer to the source."""
    clip = _clip(3)
    data = avcc.encode(clip, bitrate=RATE)
    assert 8 * len(data) <= RATE * FRAMES / 25
    stream = read(data)
    assert stream.head.sharpness < 0 and stream.head.restoration is not None
    plain = write(replace(stream, head=replace(stream.head, sharpness=0)))
    shown, drawn = (np.stack(list(avcc.decode(x).frames)) for x in (data, plain))
    true = np.stack(list(clip.frames))
    assert _detail(shown) < 0.9 * _detail(drawn)
    assert (
        np.square(shown.astype(float) - true).mean() < np.square(drawn.astype(float) - true).mean()
    )
    x = torch.from_numpy(drawn[:4]).permute(0, 3, 1, 2).float()
    wanted = unsharp(x, stream.head.sharpness / SHARPEST).permute(0, 2, 3, 1).numpy()
    # but for what was rounded twice, or cut off at black and white
    assert np.quantile(np.abs(shown[:4] - wanted), 0.999) < 1.6


def test_a_sharp_source_asks_for_less() -> None:
    found = [read(avcc.encode(_clip(n), bitrate=RATE)).head.sharpness for n in (0, 5)]
    assert found[0] > found[1]


def test_a_live_source_too() -> None:
    clip = _clip(3)
    sender = Codec("cpu").sender(RATE, sound=False)
    data = sender(np.stack(list(clip.frames)), None) + sender.close()
    plain = read(data)
    head = plain.head
    assert head.sharpness < 0 and head.restoration is not None
    receiver = Codec("cpu").receiver()
    shown = np.stack([p for part in receiver(data, True) for p in part.frames])
    drawn = avcc.decode(write(replace(plain, head=replace(head, sharpness=0))))
    assert _detail(shown) < 0.9 * _detail(np.stack(list(drawn.frames)))


def test_it_holds_where_key_frames_are_many() -> None:
    frames = np.stack(list(_clip(3).frames))
    shots = np.concatenate([frames, frames[:, ::-1, ::-1] // 2 + 60])
    data = avcc.encode(from_arrays(shots), bitrate=20_000)
    assert len(read(data).identities) > 1 and read(data).head.sharpness < 0


def test_it_holds_where_no_motion_is_sent() -> None:
    sound = 0.1 * np.sin(np.arange(640 * FRAMES) / 20).astype(np.float32)
    clip = replace(_clip(3), audio=sound)
    head = read(avcc.encode(clip, bitrate=RATE, mode="audio-driven")).head
    assert not head.point.motion_stride and head.sharpness < 0
