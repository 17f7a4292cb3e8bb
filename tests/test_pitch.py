"""The pitch: heard at the encoder, chosen, sent; found at the decoder where it was not."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import cast

import numpy as np
import pytest
import torch
import voices
from books import book, symbols

import avcc
from avcc import weights
from avcc.analysis.mel import LEVEL, LogMel, active_level
from avcc.analysis.pitch import likelihood, periodicity
from avcc.container import layout
from avcc.container.layout import Chunk
from avcc.container.read import chunks, read
from avcc.container.write import write
from avcc.entropy import coder
from avcc.entropy.signed import VALUE_MOST
from avcc.layers import loaded
from avcc.likeliest import likeliest
from avcc.pitch import STEPS, Pitch, contour, pitch_of, place
from avcc.quantise import rate
from avcc.quantise.pitch import between, hertz, path, sixteenths
from avcc.quantise.symbols import pitch_sent
from avcc.stages import PITCH_LEAST, PITCH_MOST, PITCHES, Symbols
from tests.test_codec import talk

torch.set_num_threads(1)

# -- the likeliest way through a network's classes ---------------------------------------------


def _likely(pitch: np.ndarray, sure: float = 0.5) -> np.ndarray:
    """Log probabilities of classes around a pitch in Hz."""
    away = np.arange(STEPS) - place(torch.from_numpy(pitch)).numpy()[:, None]
    likely = np.exp(-np.square(away) / 2) + 1e-4
    return np.log(likely / likely.sum(1, keepdims=True) * sure + (1 - sure) / STEPS)


def test_a_contour_is_the_pitch() -> None:
    pitch = 180 * 1.5 ** np.sin(np.arange(100) / 9)
    found = contour(_likely(pitch.astype(np.float32)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, pitch, rtol=0.01)


def test_an_octave_for_a_moment_is_not_followed() -> None:
    pitch = np.full(60, 110.0, np.float32)
    heard = pitch.copy()
    heard[[20, 21, 40]] *= 2
    np.testing.assert_allclose(contour(_likely(heard)), pitch, rtol=0.05)
    heard[20:40] = 220  # a leap that lasts is one
    np.testing.assert_allclose(contour(_likely(heard))[25:35], 220, rtol=0.05)


def test_a_contour_of_anything_is_a_pitch() -> None:
    for count in (1, 2, 50):
        likely = np.log(np.random.default_rng(count).dirichlet(np.ones(STEPS), count) + 1e-12)
        found = contour(likely)
        assert found.shape == (count,) and found.min() >= 60 and found.max() <= 500.01
    lost = contour(np.full((5, STEPS), -1e9))
    assert np.isfinite(lost).all()


def test_a_pitch_glides_from_frame_to_frame() -> None:
    pitch = np.array([100, 200, np.nan, 400], np.float32)
    expected = [100, 100 * 2**0.5, 200, 200, np.nan, np.nan, 400, 400]
    np.testing.assert_allclose(between(pitch), expected, rtol=1e-6)


def test_a_mel_says_where_between_two_that_can_be_sent_a_pitch_lies() -> None:
    """Near what was sent it is believed, far from it it isn't."""
    true = torch.full((1, 40), 130.0)
    known = torch.from_numpy(_likely(true[0].numpy(), 0.9))[None]
    listens = cast(Pitch, lambda mel: known)
    mel = torch.zeros(1, 40, 80)
    near, far, unsent = (torch.full_like(true, x) for x in (127.0, 260.0, torch.nan))
    found = pitch_of(listens, mel, near)
    assert ((found - true).abs() < 0.5 * (near - true).abs()).all()
    assert (pitch_of(listens, mel, far) / far).log2().abs().max() < 1 / 6
    alone = pitch_of(listens, mel)
    assert torch.equal(pitch_of(listens, mel, unsent), alone)
    half = torch.where(torch.arange(40) < 20, near, unsent)
    torch.testing.assert_close(pitch_of(listens, mel, half)[0, 25:], alone[0, 25:])


def test_the_likeliest_path_is_the_best_of_all() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        likely, cost = rng.normal(size=(5, 3)), rng.random((3, 3)).astype(np.float32) * 2
        cost[0, 2] = np.inf  # to 0 from 2

        def worth(
            path: tuple[int, ...], likely: np.ndarray = likely, c: np.ndarray = cost
        ) -> float:
            moves = sum(c[b, a] for a, b in pairwise(path))
            return float(sum(likely[t, s] for t, s in enumerate(path)) - moves)

        best = max(product(range(3), repeat=5), key=worth)
        assert tuple(likeliest(likely, cost)) == best


# -- heard ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hertz", [60.0, 97.0, 120.0, 215.0, 310.0, 480.0])
def test_a_period_is_where_a_voice_is_like_itself(hertz: float) -> None:
    t = torch.arange(16_000, dtype=torch.float64) / 16_000
    wave = sum(torch.cos(2 * torch.pi * k * hertz * t + k) for k in range(1, 9))
    assert isinstance(wave, torch.Tensor)
    found = periodicity(0.01 * wave.float())
    assert found.shape == (50, len(PITCHES)) and found.abs().max() <= 1.001
    at = int(np.abs(np.log(PITCHES / hertz)).argmin())
    inside = found[4:-4]
    assert inside[:, at].min() > 0.5
    # nothing between it and the next octave above is as good
    assert (inside[:, at + 2 :].amax(1) < inside[:, at]).all() if at + 2 < len(PITCHES) else True


def test_a_tone_of_silence_has_no_period() -> None:
    assert periodicity(torch.zeros(3200)).abs().max() == 0
    assert periodicity(torch.zeros(0)).shape == (0, len(PITCHES))


def net() -> Pitch:
    return loaded(Pitch(), weights.tensors(weights.default(), "vocoder"), "vocoder.pitch.", "cpu")


@torch.no_grad()
def heard(wave: np.ndarray) -> np.ndarray:
    """The codes that the encoder would send for a voice."""
    level = torch.from_numpy(wave * (LEVEL / active_level(wave)))[None]
    likely = likelihood(level, LogMel()(level), net())
    assert likely.dtype == np.float32 and likely.shape == (len(wave) // 320, len(PITCHES))
    return path(likely)


@pytest.mark.parametrize("pitch", [75.0, 85.0, 120.0, 210.0, 330.0])
def test_a_voice_has_its_pitch(pitch: float) -> None:
    wave = voices.vowels(3.0, pitch, pause=(1.2, 1.8))
    true = pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * np.arange(150) / 50))
    off = np.abs(np.log2(hertz(heard(wave)) / true))
    sounds = np.r_[4:58, 92:146]
    assert (off[sounds] < 1.5 / 16).mean() > 0.9
    assert np.abs(np.diff(heard(wave)[64:88])).sum() <= 12  # in a pause it waits, or goes on


# -- chosen -----------------------------------------------------------------------------------


def _around(codes: np.ndarray, sure: float = 6.0) -> np.ndarray:
    away = np.arange(PITCH_LEAST, PITCH_MOST + 1) - codes[:, None]
    return np.maximum(-np.square(away) / 2, -sure).astype(np.float32)


def test_a_clear_contour_is_kept() -> None:
    codes = np.rint(12 * np.sin(np.arange(120) / 12)).astype(np.int64)
    found = path(_around(codes))
    assert found.dtype == np.int64 and np.abs(found - codes).max() <= 1


def test_what_nobody_hears_costs_nothing() -> None:
    codes = np.full(90, 5)
    likely = _around(codes)
    likely[30:60] = 0  # a pause
    likely[40] = _around(np.array([30]), 2.0)  # and a click in it
    likely[10] = _around(np.array([21]))  # an octave for a moment
    assert (path(likely) == 5).all()
    assert np.abs(np.diff(path(np.zeros((50, len(PITCHES)), np.float32)))).sum() == 0


def test_hertz_of_codes() -> None:
    np.testing.assert_allclose(hertz(np.array([0, 16, -16, 32])), [120, 240, 60, 480])
    np.testing.assert_allclose(hertz(np.array([-(1 << 40), 1 << 40])), [60, 480])
    assert (sixteenths(hertz(np.arange(-16, 33))) == np.arange(-16, 33)).all()


# -- sent -------------------------------------------------------------------------------------


def without_pitch(data: bytes) -> bytes:
    """What a decoder of version 1.0 makes of a file."""
    found = [c for c in chunks(data) if isinstance(c, Chunk) and c.type != layout.FINER]
    return data[: layout.START] + b"".join(data[c.start : c.end] for c in found)


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rate control takes the pitch, whatever it costs."""
    monkeypatch.setattr(rate, "PITCH_WORTH", (9.0,) * len(rate.PITCHED_LAYERS))


@pytest.mark.usefixtures("wanted")
def test_a_file_with_pitch_and_the_same_without() -> None:
    data = avcc.encode(talk(), bitrate=3000)
    told, bare = avcc.info(data), without_pitch(data)
    assert (told["format"], data[9]) == ("1.9", 9) and told["streams"]["pitch"]["bytes"] > 0
    assert sum(part["bytes"] for part in told["streams"].values()) == pytest.approx(len(data))
    assert "pitch" not in avcc.info(bare)["streams"] and avcc.info(bare)["damage"] == []
    one, two = avcc.decode(data), avcc.decode(bare)
    assert one.audio is not None and two.audio is not None
    assert not np.array_equal(one.audio, two.audio)
    # what is known of the voice reaches the motion, by cross-modal attention, but hardly
    shown = [next(iter(clip.frames)).astype(int) for clip in (one, two)]
    assert np.abs(shown[0] - shown[1]).mean() < 1
    mute = replace(talk(), audio=None)
    for clip, mode in ((mute, "auto"), (talk(), "video-driven")):
        data = avcc.encode(clip, bitrate=4000, mode=mode)
        assert "pitch" not in avcc.info(data)["streams"]


@pytest.mark.usefixtures("wanted")
def test_a_spoilt_pitch_is_told_and_found_instead() -> None:
    data = avcc.encode(talk(), bitrate=3000)
    part = next(c for c in chunks(data) if isinstance(c, Chunk) and c.type == layout.FINER)
    bad = layout.pack_chunk(layout.FINER, 0, part.payload + b"!")
    said: list[str] = []
    clip = avcc.Codec().decode(data[: part.start] + bad + data[part.end :], warn=said.append)
    assert said == ["The pitch from frame 0 on was left out: its bytes make no sense."]
    plain = avcc.decode(without_pitch(data)).audio
    assert clip.audio is not None and plain is not None
    np.testing.assert_array_equal(clip.audio, plain)


@pytest.mark.usefixtures("wanted")
def test_the_pitch_that_is_heard_is_the_one_that_was_sent() -> None:
    """Shipped weights: the decoded voice has the source's pitch, more so than without."""
    clip = replace(talk(), audio=voices.vowels(2.0, 170.0))
    data = avcc.encode(clip, bitrate=3000)
    assert "pitch" in avcc.info(data)["streams"]
    true = 170 * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * np.arange(100) / 50))
    off = []
    for file in (data, without_pitch(data)):
        audio = avcc.decode(file).audio
        assert audio is not None
        off.append(np.abs(np.log2(hertz(heard(audio)) / true)[6:-6]).mean())
    assert off[0] < 1 / 16 and off[0] <= off[1]


def test_parts_are_due_and_fit() -> None:
    stream = coder.encode(voice_of(1500), book())
    assert len(stream.pitch) == 2 and not stream.finer
    short = replace(voice_of(1500), pitch=voice_of(1500).pitch[:1])
    with pytest.raises(avcc.FormatError, match="1 parts"):
        coder.encode(short, book())
    with pytest.raises(avcc.FormatError, match=r"\(999,\) values"):
        first, second = voice_of(1500).pitch
        assert first is not None
        coder.encode(replace(short, pitch=(first[:-1], second)), book())


def voice_of(frames: int, finer: bool = False) -> Symbols:
    return symbols(1, frames, picture=9, pitch=1.0, finer=finer)


def alike(a: tuple[np.ndarray | None, ...], b: tuple[np.ndarray | None, ...]) -> bool:
    """Parts of a pitch."""
    pairs = list(zip(a, b, strict=True))
    return all(x is not None and y is not None and np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("reach", [1, 30, VALUE_MOST // 2])
def test_a_finer_pitch_comes_back(reach: int) -> None:
    """Whatever it does, and in parts of both kinds."""
    rng = np.random.default_rng(reach)
    for steady in (0.0, 0.9):
        moves = np.rint(rng.uniform(-reach, reach, 3000)).astype(np.int64)
        moves[rng.random(3000) < steady] = 0
        tune = np.cumsum(moves) if reach < 99 else moves
        clip = replace(voice_of(1500), pitch=(tune[:2000], tune[2000:]))
        stream = coder.encode(clip, book())
        assert len(stream.finer) == 2 and not stream.pitch
        found = coder.decode(stream, book()).pitch
        assert alike(found, clip.pitch)
        # what stands still costs little, and so does what goes on as it went
        mixed = replace(clip, pitch=(tune[:1000], tune[2000:]))
        stream = coder.encode(mixed, book())
        assert [p is None for p in stream.pitch] == [False, True]
        assert [p is None for p in stream.finer] == [True, False]
        found = coder.decode(read(write(stream)), book()).pitch
        assert alike(found, mixed.pitch)
    still = replace(voice_of(1000), pitch=(np.full(2000, 7),))
    (payload,) = coder.encode(still, book()).finer
    assert payload is not None and len(payload) < 30


def test_the_finer_of_two_counts_where_it_makes_sense() -> None:
    plain, fine = voice_of(300), voice_of(300, finer=True)
    both = replace(coder.encode(fine, book()), pitch=coder.encode(plain, book()).pitch)
    assert read(write(both)).finer and read(write(both)).pitch
    (found,) = coder.decode(read(write(both)), book()).pitch
    assert found is not None and len(found) == 600
    (payload,) = both.finer
    assert payload is not None
    spoilt = replace(both, finer=(payload + b"!",))
    symbols = coder.decode(spoilt, book())
    (found,) = symbols.pitch
    assert found is not None and len(found) == 300 and not coder.damage(spoilt, symbols)
    alone = replace(spoilt, pitch=())
    assert "pitch" in coder.damage(alone, coder.decode(alone, book()))[0]


def test_mel_frames_have_what_was_sent_of_them() -> None:
    coarse, fine = np.arange(1000), np.arange(1000)[::-1].copy()
    clip = replace(voice_of(2100), pitch=(coarse % 30, None, np.repeat(fine[:100] % 30, 2)))
    found = pitch_sent(clip)
    assert found.shape == (4200,) and found.dtype == np.float32
    np.testing.assert_allclose(found[:2000:2], hertz(coarse % 30))
    middle = np.sqrt(found[:1998:2] * found[2:2000:2])
    np.testing.assert_allclose(found[1:1999:2], middle, rtol=1e-5)
    assert np.isnan(found[2000:4000]).all()
    np.testing.assert_allclose(found[4000:], hertz(np.repeat(fine[:100] % 30, 2)))
