"""What an encoder may be asked to leave out, and what the decoder makes of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from needs import needs_mediapipe

import avcc
from avcc import weights
from avcc.analysis.mel import active_level
from avcc.container.describe import info, lines
from avcc.container.read import read
from avcc.entropy import coder
from avcc.errors import MediaError, RateError
from avcc.evaluation.picture import face_meshes, mouth_openings
from avcc.quantise.rate import STRIDES, Costs, ranked
from avcc.quantise.scalar import STEPS
from tests.test_codec import SECONDS, places, talk
from tests.test_real_clips import CLIP, source

RATES = {"av": 3000, "audio-driven": 2000, "video-driven": 2000}


@cache
def coded(mode: str) -> bytes:
    return avcc.encode(talk(), bitrate=RATES[mode], mode=mode)


@cache
def decoded(mode: str) -> tuple[np.ndarray, np.ndarray]:
    clip = avcc.decode(coded(mode))
    assert clip.audio is not None
    return np.stack(list(clip.frames)), clip.audio


@pytest.mark.parametrize("mode", RATES)
def test_a_mode_sends_what_it_says_and_no_more(mode: str) -> None:
    data = coded(mode)
    assert 8 * len(data) <= RATES[mode] * SECONDS
    stream = read(data)
    book = weights.codebook(stream.head.model)
    symbols = coder.decode(stream, book)
    assert coder.encode(symbols, book) == stream
    point = symbols.head.point
    assert (point.motion_stride > 0) == (mode != "audio-driven")
    assert point.semantic == (mode != "video-driven")
    for seg in symbols.segments:
        assert seg is not None
        assert bool(len(seg.motion)) == (mode != "audio-driven")
        assert bool(len(seg.semantic)) == (mode != "video-driven")
    told = info(data, book)
    assert told["mode"] == mode
    assert (told["streams"]["motion"]["bytes"] > 0) == (mode != "audio-driven")
    assert (told["streams"]["audio"]["bytes"] > 0) == (mode != "video-driven")
    said = next(line for line in lines(told) if line.startswith(f"{mode}: "))
    assert ("the voice drives the picture" in said) == (mode == "audio-driven")
    assert ("motion drives the sound" in said) == (mode == "video-driven")


@needs_mediapipe
@pytest.mark.parametrize("mode", RATES)
def test_what_was_left_out_comes_back(mode: str) -> None:
    (frames, audio), source_clip = decoded(mode), talk()
    assert frames.shape == (source_clip.count, 256, 256, 3)
    assert source_clip.audio is not None
    assert audio.shape == source_clip.audio.shape
    assert np.isfinite(audio).all()
    # whatever drives it there is a face in every picture, and a sound of about the level that was
    # sent (a made-up voice may be quieter than the decoder mends)
    assert not np.isnan(face_meshes(frames)).any()
    levels = [active_level(wave) for wave in (audio, source_clip.audio)]
    assert abs(20 * np.log10(levels[0] / levels[1])) < 8


def test_motion_that_was_sent_needs_no_voice() -> None:
    there, back = places(np.stack(list(talk().frames))), places(decoded("video-driven")[0])
    assert np.corrcoef(there[:, 0], back[:, 0])[0, 1] > 0.95
    assert np.abs(there - back).mean() < 2.0  # pixels


def test_a_voice_alone_reaches_rates_that_both_cannot() -> None:
    needed = {}
    for mode in ("av", "audio-driven", "auto"):
        with pytest.raises(RateError) as told:
            avcc.encode(talk(), bitrate=100, mode=mode)
        needed[mode] = int(str(told.value).split("needs ")[1].split()[0])
    assert needed["audio-driven"] == needed["auto"] < needed["av"]
    said: list[str] = []
    data = avcc.Codec("cpu").encode(talk(), needed["auto"], warn=said.append)
    assert avcc.info(data)["mode"] == "audio-driven"
    assert any("no room for motion" in sentence for sentence in said)
    assert len(data) <= needed["auto"] * SECONDS / 8


def test_both_are_sent_where_there_is_room() -> None:
    said: list[str] = []
    data = avcc.Codec("cpu").encode(talk(), 2000, warn=said.append)
    assert avcc.info(data)["mode"] == "av"
    assert said == []


def test_without_a_sound() -> None:
    mute = replace(talk(), audio=None)
    with pytest.raises(MediaError, match="no sound"):
        avcc.encode(mute, mode="audio-driven")
    data = avcc.encode(mute, bitrate=2000, mode="video-driven")
    assert avcc.info(data)["mode"] == "video"
    assert avcc.decode(data).audio is None


def test_a_mode_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="auto, av, audio-driven, video-driven"):
        avcc.encode(talk(), mode="lips")


def test_plans_keep_to_the_mode() -> None:
    motion = {(s, q): 400 / s / (1 + q) for s in STRIDES for q in range(len(STEPS))}
    costs = Costs(motion, {n: 100.0 * (n + 1) for n in range(5)}, 60, 30, np.array([1.0, 0.5]))
    for mode, moved, heard in (
        ("auto", {True, False}, {True}),
        ("av", {True}, {True}),
        ("audio-driven", {False}, {True}),
        ("video-driven", {True}, {False}),
    ):
        plans = ranked(costs, 5000, mode)
        assert {p.point.motion_stride > 0 for p in plans} == moved
        assert {p.point.semantic for p in plans} == heard
        # a later key frame's place follows from motion
        assert all(p.keys == 1 for p in plans if not p.point.motion_stride)
        assert all(not p.point.acoustic_layers for p in plans if not p.point.semantic)


@needs_mediapipe
@pytest.mark.skipif(not CLIP.exists(), reason="the real clips (../shared/data) are not here")
def test_a_real_voice_moves_the_lips() -> None:
    data = avcc.encode(source().clip, bitrate=800, mode="audio-driven")
    frames = np.stack(list(avcc.decode(data).frames))
    opening, true = mouth_openings(face_meshes(frames)), mouth_openings(source().mesh)
    assert opening.std() > 0.2 * true.std()
    assert np.corrcoef(opening, true)[0, 1] > 0.3
