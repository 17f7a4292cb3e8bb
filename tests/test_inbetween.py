"""In-betweens: the mouth between sent frames, by the voice and by what was sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conditioned import conditions, features
from torch import nn

from avcc import weights
from avcc.analysis.mel import LEVEL, SILENCE, LogMel, active_level
from avcc.analysis.motion import banks
from avcc.analysis.speech import silent_frames
from avcc.diffusion.avdiff import MEL
from avcc.diffusion.conditions import MARGIN, WINDOW
from avcc.diffusion.inbetween import DEPTH, KERNEL, SIGNALS, Inbetween, Lines
from avcc.diffusion.schedule import between
from avcc.evaluation import bench
from avcc.layers import loaded
from avcc.media.mesh import FaceMesh
from avcc.quantise.motion import MotionPaths
from avcc.span import REACH
from avcc.stages import MOTION, MOUTH, UNSENT
from avcc.training.takes import lips_off

torch.set_num_threads(1)

CLIP = Path(__file__).parents[2] / "shared/data/clips/hi/latentsync-3_d64051b5.mp4"
NEARER = 0.99  # of what straight lines are off


def _net() -> Inbetween:
    """Random weights, and lips that are the first axes."""
    torch.manual_seed(3)
    net = Inbetween(16).eval().requires_grad_(False)
    nn.init.normal_(net.mean, 0, 0.5)
    net.mouth.copy_(torch.eye(MOUTH, MOTION))
    net.shape.copy_(torch.eye(MOTION, MOUTH))
    return net


def test_lines_go_straight_from_one_sent_frame_to_the_next() -> None:
    sent = torch.tensor([2, 5, 6, 10])
    lines = Lines.between(sent, 13)
    x = torch.randn(1, 13, 3, generator=torch.Generator().manual_seed(0))
    made = lines.straight(x)[0].numpy()
    for column, true in zip(made.T, x[0].numpy().T, strict=True):
        np.testing.assert_allclose(column, np.interp(np.arange(13), sent, true[sent]), atol=1e-6)
    alone = Lines.between(torch.tensor([4]), 9).straight(x)
    torch.testing.assert_close(alone, x[:, 4:5].expand_as(alone[:, :9]))


def test_how_lips_follow_is_found_in_what_was_sent() -> None:
    """Lips that follow the signals in a way of their own, on a pose that drifts: known from every
    fourth frame, they are foretold between them."""
    g = torch.Generator().manual_seed(1)
    signals = torch.randn(1, 400, SIGNALS, generator=g).cumsum(1) * 0.3
    how = torch.randn(SIGNALS, MOUTH, generator=g)
    lips = signals @ how + torch.linspace(0, 3, 400)[:, None]
    sent = torch.arange(1, 400, 4)
    lines, net = Lines.between(sent, 400), _net()
    net.gain.fill_(1.0)
    net.ridge.fill_(-9.0)
    found = net.followed(signals, lines.straight(lips), sent)
    torch.testing.assert_close(found[0], how, atol=1e-3, rtol=0)
    made = lines.straight(lips) + net.off(signals, found, lines)
    torch.testing.assert_close(made[:, 1:398], lips[:, 1:398], atol=0.02, rtol=0)
    # where little was sent, or all the rest was lost, it's as with everyone
    for few in (sent[:2], torch.tensor([0, 150, 399])):
        assert (net.followed(signals, lips, few) == net.mean).all()


def test_what_was_sent_stays_and_the_rest_hears_its_neighbourhood() -> None:
    net, g = _net(), torch.Generator().manual_seed(2)
    mel, motion = torch.randn(1, 90, MEL, generator=g), torch.randn(1, 90, MOTION, generator=g)
    nothing, sent = torch.zeros(1, 90), torch.arange(0, 90, 3)
    motion = Lines.between(sent, 90).straight(motion)
    made = net(mel, nothing, nothing, motion, sent)
    assert made.shape == (1, 90, MOTION) and (made[:, sent].abs() < 1e-5).all()
    assert (made[..., MOUTH:] == 0).all() and made[..., :MOUTH].abs().mean() > 0.01
    lines, lips = Lines.between(sent, 90), motion @ net.shape
    was = net.signals(mel, nothing, nothing, lips, lines)
    mel[0, 40] += 1
    moved = (net.signals(mel, nothing, nothing, lips, lines) - was).abs().amax(-1)[0] > 1e-6
    near = (torch.arange(90) - 40).abs() <= KERNEL // 2 * DEPTH
    assert not moved[~near].any() and moved[40]
    assert MARGIN >= KERNEL // 2 * DEPTH + 18  # of the estimator


def test_a_part_is_what_it_is_in_the_whole() -> None:
    f, net = features(3 * WINDOW + 90, 3), _net()
    whole = conditions(f, inbetween=net)(0, len(f.motion)).motion[0]
    straight = conditions(f, inbetween=None)(0, len(f.motion)).motion[0]
    assert (whole - straight)[1::3].abs().mean() > 0.01
    assert (whole - straight)[::3].abs().max() < 1e-5
    first, last = 2 * WINDOW - 20, 2 * WINDOW + 30
    rest = np.ones(len(f.motion), bool)
    rest[first - REACH : last + REACH] = False
    f.motion[rest], f.semantic[rest] = np.nan, UNSENT
    part = conditions(f, inbetween=net)(first, last).motion[0]
    assert (part == whole[first:last]).all()


def test_where_the_voice_or_more_is_missing_lines_stay_straight() -> None:
    f, net = features(300, 3), _net()
    f.semantic[100:200] = UNSENT
    f.motion[240:270] = np.nan
    made, straight = (conditions(f, inbetween=n)(0, 300).motion[0] for n in (net, None))
    assert (made == straight)[100:200].all() and (made == straight)[238:271].all()
    assert (made != straight)[np.r_[1:90:3, 211:236:3]].any(-1).all()
    f.semantic[:] = UNSENT
    made, straight = (conditions(f, inbetween=n)(0, 300).motion for n in (net, None))
    assert (made == straight).all()
    f.motion[:] = np.nan
    assert (conditions(f, inbetween=net)(0, 300).motion == 0).all()


@pytest.mark.skipif(not CLIP.exists(), reason="the real clips (../shared/data) are not here")
def test_the_shipped_ones_bring_lips_nearer() -> None:
    """On a person that no training saw: nearer than straight lines between every fifth frame, and
    with the clip's own voice nearer than with one that says something else."""
    clip = bench.source_of(CLIP, 8.0).clip
    assert clip.audio is not None
    count, finder = clip.count, FaceMesh()
    found = [finder.points(np.asarray(frame)) for frame in clip.frames]
    mesh = np.stack([m for m in found if m is not None])
    assert len(mesh) == count
    model = weights.default()
    arrays = weights.codebook(model).arrays
    bank, _ = banks(arrays)
    scale = arrays["motion.scale"].astype(np.float32)
    true = bank.coefficients(mesh, mesh[0])
    sent = MotionPaths(weights.codebook(model)).received(true, 5, 2)
    line = between(sent / scale, np.ones(1))[0]
    net = loaded(Inbetween(), weights.tensors(model, "avdiff"), "inbetween.", "cpu")
    wave = clip.audio * np.float32(LEVEL / active_level(clip.audio))
    silent = silent_frames(wave)[:count]
    mel = LogMel()(torch.from_numpy(wave)[None]).reshape(1, -1, MEL)[:, :count]
    mel[0, silent] = SILENCE
    told = torch.from_numpy(silent.astype(np.float32))[None]
    at, motion = torch.from_numpy(np.arange(count)[~np.isnan(sent[:, 0])]), torch.from_numpy(line)
    lips = {}
    for name, heard in ("own", mel), ("another", mel.roll(count // 2, 1)):
        made = line + net(heard, told, 0 * told, motion[None], at)[0].numpy()
        lips[name] = lips_off(bank.meshes(made * scale, mesh[0]), mesh)
    straight = lips_off(bank.meshes(line * scale, mesh[0]), mesh)
    assert lips["own"] < NEARER * straight and lips["own"] < lips["another"]


def test_the_shipped_ones_hear() -> None:
    """They move no lips where nobody speaks and nothing moves, and where somebody does it isn't by
    what was sent alone."""
    tensors = weights.tensors(weights.default(), "avdiff")
    net = loaded(Inbetween(), tensors, "inbetween.", "cpu")
    assert 0 < float(net.gain) < 1.5
    g = torch.Generator().manual_seed(4)
    nothing, sent = torch.zeros(1, 120), torch.arange(0, 120, 5)
    motion = Lines.between(sent, 120).straight(torch.randn(1, 120, MOTION, generator=g))
    one, other = (
        net(torch.randn(1, 120, MEL, generator=g), nothing, nothing, motion, sent) for _ in range(2)
    )
    assert (one - other).abs().max() > 0.05
    rest = net(torch.full((1, 120, MEL), -1.0), nothing + 1, nothing, 0 * motion, sent)
    assert rest.abs().max() < 0.1
