"""Driver: lips from what is heard, alone and in the gaps of what was sent."""

from __future__ import annotations

import numpy as np
import torch
from conditioned import SCALE, conditions, features
from torch import nn

from avcc import weights
from avcc.analysis.mel import LEVEL, SILENCE, LogMel, active_level
from avcc.analysis.motion import MotionBank, banks
from avcc.analysis.speech import silent_frames
from avcc.diffusion import driver as driving
from avcc.diffusion.avdiff import MEL
from avcc.diffusion.conditions import MARGIN, WINDOW
from avcc.diffusion.driver import FADES, ONSET, Driver, audible, filled
from avcc.diffusion.schedule import GAP
from avcc.evaluation.picture import mouth_openings
from avcc.layers import loaded
from avcc.stages import MOTION, MOUTH, SHAPE, UNSENT
from avcc.training.mouth import STILL, Mouth
from tests.voices import vowels

torch.set_num_threads(1)


def _driver() -> Driver:
    """Random weights, and mouth directions that are the first axes."""
    torch.manual_seed(3)
    net = Driver(16).eval()
    nn.init.normal_(net.key.weight, 0, 0.2)
    net.mouth.copy_(torch.eye(MOUTH, MOTION))
    for p in net.parameters():
        p.requires_grad_(False)
    return net


def _told(tokens: int) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(tokens)
    mel = torch.randn(1, tokens, MEL, generator=g)
    return mel, torch.zeros(1, tokens), torch.zeros(1, tokens), torch.randn(1, SHAPE, generator=g)


def test_a_token_hears_its_neighbourhood_and_no_more() -> None:
    net, (mel, silent, unsent, shape) = _driver(), _told(90)
    was = net(mel, silent, unsent, shape)
    assert was.shape == (1, 90, MOTION) and (was[..., MOUTH:] == 0).all()
    mel[0, 40] += 1
    changed = (net(mel, silent, unsent, shape) - was).abs().amax(-1)[0] > 1e-6
    near = (torch.arange(90) - 40).abs() <= driving.REACH
    assert not changed[~near].any() and changed[40]
    assert MARGIN >= driving.REACH + 18  # of the estimator


def test_in_silence_the_mouth_stays_where_it_is() -> None:
    net, (mel, silent, unsent, shape) = _driver(), _told(90)
    mel[0, 20:80], silent[0, 20:80] = SILENCE, 1
    made = net(mel, silent, unsent, shape)[0]
    at_rest = made[20 + driving.REACH : 80 - driving.REACH]
    torch.testing.assert_close(at_rest, at_rest[:1].expand_as(at_rest), atol=1e-5, rtol=0)
    assert made[:20].std(0)[:MOUTH].max() > 1e-3


def test_another_key_face_moves_the_same() -> None:
    net, (mel, silent, unsent, shape) = _driver(), _told(60)
    one, other = (net(mel, silent, unsent, s)[0] for s in (shape, -shape))
    assert (one - other).abs().max() > 0.1
    torch.testing.assert_close(one.diff(dim=0), other.diff(dim=0), atol=1e-5, rtol=1e-4)


def test_audible() -> None:
    unsent = np.zeros(40, bool)
    assert (audible(unsent) == 1).all() and (audible(~unsent) == 0).all()
    unsent[10:13] = True
    share = audible(unsent)
    assert (share[10:13] == 0).all() and (share[:4] == 1).all() and (share[19:] == 1).all()
    assert abs(np.diff(share)).max() <= 1 / ONSET + 1e-6
    np.testing.assert_allclose(share[13:], share[:10][::-1][0] + np.minimum(np.arange(27), 5) / 6)


def test_gaps_are_filled_without_a_jump() -> None:
    rng = np.random.default_rng(0)
    count, mouth = 120, np.eye(2, 4, dtype=np.float32)
    driven = np.zeros((count, 4), np.float32)
    driven[:, 0] = np.sin(np.arange(count) / 3)
    true = driven + np.array([0.5, -1, 2, 3], np.float32)
    sent = np.ones(count, bool)
    sent[40:90] = False
    motion = np.stack([np.interp(np.arange(count), np.flatnonzero(sent), c[sent]) for c in true.T])
    full = np.ones(count, np.float32)
    out = filled(motion.T, sent, driven, full, mouth)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, true, atol=1e-5)  # whatever the driver is off by throughout
    # off at the border alone: what is near it follows, the rest goes by the frames nearby
    odd = motion.T.copy()
    odd[39, 1] += 1
    moved = filled(odd, sent, driven, full, mouth) - out
    assert moved[40, 1] > 0.7 and abs(moved[39 + int(4 * FADES) : 90, 1]).max() < 0.12
    # the head, which the driver doesn't move, stays where it was estimated
    odd[60:, 2] += rng.normal()
    np.testing.assert_allclose(filled(odd, sent, driven, full, mouth)[:, 2], odd[:, 2], rtol=1e-5)
    assert (filled(odd, sent, driven, 0 * full, mouth) == odd.astype(np.float32)).all()
    assert (filled(odd, sent, driven, full, mouth)[sent] == odd[sent].astype(np.float32)).all()
    alone = filled(0 * odd, np.zeros(count, bool), driven, full / 2, mouth)
    np.testing.assert_allclose(alone, driven / 2)


def test_windows_cannot_be_told_from_the_whole() -> None:
    f = features(2 * WINDOW + 90, None)
    made = conditions(f, net := _driver())(0, len(f.motion))
    silent, unsent = torch.zeros(2, 1, len(f.motion))
    whole = net(made.mel, silent, unsent, made.shape)
    torch.testing.assert_close(made.motion, whole, atol=1e-5, rtol=1e-4)
    part = conditions(f, net)(WINDOW - 20, WINDOW + 30)
    torch.testing.assert_close(part.motion, made.motion[:, WINDOW - 20 : WINDOW + 30])
    assert made.motion.std() > 1e-3 and (conditions(f, None)(0, 90).motion == 0).all()


def test_where_no_voice_was_sent_nothing_moves() -> None:
    f = features(120, None)
    f.semantic[40:80] = UNSENT
    made = conditions(f, _driver())(0, 120).motion[0]
    assert (made[40:80] == 0).all() and made.isfinite().all()
    assert made[80].norm() < made[90:].norm(dim=-1).mean()
    f.semantic[:] = UNSENT
    assert (conditions(f, _driver())(0, 120).motion == 0).all()


def test_lost_motion_is_driven_and_the_rest_is_left_alone() -> None:
    f, net = features(300, 3), _driver()
    straight = conditions(f, net)(0, 300).motion
    assert (straight == conditions(f, None)(0, 300).motion).all()  # gaps of a stride
    f.motion[100:200] = np.nan
    made, held = (conditions(f, d)(0, 300).motion[0] for d in (net, None))
    outside = np.r_[:97, 201 + GAP : 300]
    assert (made[outside] == held[outside]).all()
    assert (made - held)[110:190, :MOUTH].abs().mean() > 0.02
    torch.testing.assert_close(made[:, MOUTH:], held[:, MOUTH:], atol=1e-4, rtol=1e-3)


def test_mouth_directions_move_lips_alone() -> None:
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(956, MOTION)))[0].T.astype(np.float32)
    # of which three move lips alone, as the real ones nearly do together
    weight = np.zeros((478, 2), bool)
    weight[list(STILL)] = True
    directions[:3, weight.ravel()] = 0
    bank = MotionBank(directions)
    mouth = Mouth.of(bank, SCALE, 3)
    assert mouth.directions.shape == (3, MOTION) and mouth.gap.shape == (MOTION, 3, 2)
    np.testing.assert_allclose(mouth.directions @ mouth.shape, np.eye(3), atol=1e-4)
    assert abs(mouth.directions[:, 3:]).max() < 0.05 * abs(mouth.directions[:, :3]).max()


def _shipped_openings(pitch: float) -> np.ndarray:
    """Of a mean face's mouth, driven by four seconds of made-up vowels with a pause: (100,)."""
    model = weights.default()
    net = loaded(Driver(), weights.tensors(model, "avdiff"), "driver.", "cpu")
    arrays = weights.codebook(model).arrays
    bank, shape = banks(arrays)
    wave = vowels(4.0, pitch, pause=(1.5, 2.5))
    wave = wave * np.float32(LEVEL / active_level(wave))
    silent = silent_frames(wave)
    mel = LogMel()(torch.from_numpy(wave)[None]).reshape(1, 100, MEL)
    mel[0, silent] = SILENCE
    told = torch.from_numpy(silent.astype(np.float32))[None]
    motion = net(mel, told, torch.zeros(1, 100), torch.zeros(1, SHAPE))[0].numpy()
    key = shape.mesh(np.array([0.5, 0.5, np.log(0.2), *np.zeros(SHAPE)], np.float32))
    return mouth_openings(bank.meshes(motion * arrays["motion.scale"], key))


def test_the_shipped_driver_speaks_in_vowels_and_rests_in_pauses() -> None:
    low, high = _shipped_openings(110), _shipped_openings(200)
    for opening in (low, high):
        spoken, pause = np.r_[opening[:35], opening[65:]], opening[44:56]
        assert spoken.std() > SPREAD
        assert pause.std() < 0.1 * spoken.std()  # a mouth at rest doesn't jitter
        assert pause.mean() < np.quantile(spoken, 0.7)
        # the same vowels a second later: the same mouth
        assert np.corrcoef(opening[0:25], opening[75:100])[0, 1] > SAME
    # another voice that says the same
    assert np.corrcoef(low, high)[0, 1] > ALIKE


SPREAD, SAME, ALIKE = 0.015, 0.9, 0.9
