"""Lips that follow the voice in a way of the speaker's own, which a code says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from conditioned import conditions, features
from torch import nn

import avcc
from avcc import follower, weights
from avcc.analysis.motion import banks
from avcc.codec import Codec
from avcc.container import read as container
from avcc.container.describe import lines
from avcc.container.write import pack_lips
from avcc.diffusion.avdiff import MEL
from avcc.diffusion.conditions import MARGIN, WINDOW
from avcc.diffusion.driver import Driver
from avcc.encoder import encoder
from avcc.entropy import coder
from avcc.evaluation.picture import correlation, mouth_openings
from avcc.fitting import LED_FROM
from avcc.follower import LIVELY, SIGNALS, Follower
from avcc.stages import LIPS, LIPS_MOST, MOTION, MOUTH, Features
from tests.test_codec import SECONDS, talk
from tests.test_real_clips import CLIP, source

torch.set_num_threads(1)

RATE = 2000


def _net() -> Follower:
    """Random weights, ways to follow that don't resemble one another, lips that are the first
    axes."""
    torch.manual_seed(3)
    net = Follower(16).eval().requires_grad_(False)
    nn.init.normal_(net.basis, 0, 0.02)
    net.spread.fill_(10.0)
    net.mouth.copy_(torch.eye(MOUTH, MOTION))
    net.shape.copy_(torch.eye(MOTION, MOUTH))
    return net


def _told(tokens: int) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(tokens)
    return torch.randn(1, tokens, MEL, generator=g), torch.zeros(1, tokens), torch.zeros(1, tokens)


def test_a_token_hears_its_neighbourhood_and_no_more() -> None:
    net, (mel, silent, unsent) = _net(), _told(90)
    code = torch.arange(LIPS)[None] / LIPS
    was = net(mel, silent, unsent, code)
    assert was.shape == (1, 90, MOTION) and (was[..., MOUTH:] == 0).all()
    mel[0, 40] += 1
    changed = (net(mel, silent, unsent, code) - was).abs().amax(-1)[0] > 1e-6
    near = (torch.arange(90) - 40).abs() <= follower.REACH
    assert not changed[~near].any() and changed[40]
    assert MARGIN >= follower.REACH + 18  # of the estimator


def test_the_code_of_lips_that_follow_is_found() -> None:
    """As far as they go further than the best fit would; whatever was not seen says nothing."""
    net, told = _net(), _told(500)
    rng = np.random.default_rng(5)
    code = rng.integers(-9, 10, LIPS)
    signals = net.signals(*told)[0].numpy()
    assert signals.shape == (500, SIGNALS + 1) and (signals[:, -1] == 1).all()
    motion = net(*told, torch.from_numpy(code.astype(np.float32))[None])[0].numpy()
    seen = rng.random(500) > 0.3
    middle = motion[seen].mean(0)
    calm = middle + (motion - middle) / LIVELY
    calm[~seen] = np.nan
    net.spread.fill_(1e4)  # anything is likely
    found = net.code(signals, calm)
    assert found.dtype == np.int64 and (found == code).all()
    net.spread.fill_(1e-3)
    assert (net.code(signals, calm) == 0).all(), "no way but the mean of people is likely"
    assert (net.code(signals, np.full_like(calm, np.nan)) == 0).all(), "nobody was seen"
    net.spread.fill_(1e9)
    assert abs(net.code(signals, 1e6 * calm)).max() == LIPS_MOST


def test_conditions_let_lips_follow_where_a_code_is_there() -> None:
    """The driver moves them otherwise, and window by window they do as in the whole."""
    plain, net = features(WINDOW + 60, None), _net()
    torch.manual_seed(1)
    driver = Driver(16).eval()
    driver.mouth.copy_(torch.eye(MOUTH, MOTION))
    led = replace(plain, lips=np.arange(LIPS) - 12)

    def motion(f: Features, windows: list[tuple[int, int]], net: Follower | None) -> np.ndarray:
        made = conditions(f, driver, follower=net)
        return np.concatenate([made(*w).motion[0].numpy() for w in windows])

    whole = [(0, WINDOW + 60)]
    followed, driven = motion(led, whole, net), motion(plain, whole, net)
    assert np.abs(followed - driven).max() > 0.1
    assert (motion(led, whole, None) == driven).all(), "a model without a follower"
    parts = motion(led, [(0, 90), (90, WINDOW), (WINDOW, WINDOW + 60)], net)
    np.testing.assert_allclose(parts, followed, atol=1e-5)


@cache
def _coded() -> bytes:
    return avcc.encode(talk(), RATE, mode="audio-driven")


def test_an_encoder_sends_it_where_the_voice_alone_moves_the_picture() -> None:
    stream = container.read(_coded())
    assert len(_coded()) * 8 <= RATE * SECONDS and stream.lips is not None
    assert len(stream.lips) < 24
    book = weights.codebook(stream.head.model)
    symbols = coder.decode(stream, book)
    assert symbols.lips is not None and coder.encode(symbols, book) == stream
    told = avcc.info(_coded())
    assert told["format"] == "1.9" and told["streams"]["lips"]["bytes"] == len(stream.lips)
    assert sum(part["bytes"] for part in told["streams"].values()) == pytest.approx(
        len(_coded()), abs=0.2
    )
    assert any("lips" in line for line in lines(told))
    other = container.read(avcc.encode(talk(), 2 * RATE, mode="av"))
    assert other.lips is None, "where motion is sent, nothing is left to say"
    small = int(8 * (LED_FROM - 1) / SECONDS)
    assert container.read(avcc.encode(talk(), small, mode="audio-driven")).lips is None


def test_without_it_the_mouth_moves_as_mouths_do_on_the_mean() -> None:
    """What is lost with the chunk is the way to follow; the voice, which AVDiff hears beside, is as
    good as the same."""
    stream = container.read(_coded())
    assert stream.lips is not None
    chunk = pack_lips(stream.lips)
    assert _coded().count(chunk) == 1
    bare = avcc.decode(_coded().replace(chunk, b""))
    whole = avcc.decode(_coded())
    assert bare.audio is not None and whole.audio is not None
    # pulses may come at other times, for their pitch is made finer by the mel
    both = np.stack([bare.audio, whole.audio])
    loud = np.square(both[:, : both.shape[1] // 640 * 640]).reshape(2, -1, 640).mean(2)
    assert np.corrcoef(*np.sqrt(loud))[0, 1] > 0.98
    away = [
        np.abs(a.astype(int) - b).mean() for a, b in zip(bare.frames, whole.frames, strict=True)
    ]
    assert 0.02 < max(away) < 20


@pytest.mark.skipif(not CLIP.exists(), reason="a real clip is needed: ../shared/data")
def test_lips_of_a_real_speaker_follow() -> None:
    """Openings of the meshes that are drawn go with the true ones, more than without the code."""
    clip = source().clip
    nets = encoder(weights.default(), "cpu")
    codec = Codec("cpu")
    seen, heard = codec._analysed(clip, None, None)
    assert nets.follower is not None and heard.lips is not None
    bank, _ = banks(nets.book.arrays)
    scale = nets.book.arrays["motion.scale"]
    found = nets.follower.code(heard.lips, heard.motion / scale)
    true = mouth_openings(bank.meshes(heard.motion, seen.keys[0].mesh))
    alike = []
    for code in (found, 0 * found):
        how = nets.follower.mean + torch.einsum(
            "n,nsm->sm", torch.from_numpy(code).float(), nets.follower.basis
        )
        moved = (torch.from_numpy(heard.lips) @ how @ nets.follower.mouth).numpy() * scale
        made = bank.meshes(moved.astype(np.float32), seen.keys[0].mesh)
        alike.append(correlation(true, mouth_openings(made)))
    assert alike[0] > 0.6 and alike[0] > alike[1] + 0.05
