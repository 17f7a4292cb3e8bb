"""The voice: pulses and noise, their filters, and speaking whole clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avcc.analysis.mel import LEVEL, SILENCE, active_level
from avcc.noise import gaussian
from avcc.render.source import minimum_phase, pulses
from avcc.render.speak import MARGIN, NOISE_STREAM, PIECE, Speaker, pieces
from avcc.render.voice import BINS, Filters, Vocoder, filtered, inverse_stft, stft
from avcc.stages import BANDS, SAMPLES_PER_FRAME

torch.set_num_threads(1)

# -- source -----------------------------------------------------------------------------------


def test_pulses_hold_every_harmonic_alike() -> None:
    wave = pulses(torch.full((1, 100), 200.0))[0]
    assert wave.shape == (32_000,) and wave.square().mean() == pytest.approx(1, rel=0.02)
    power = torch.fft.rfft(wave[:16_000] * torch.hann_window(16_000)).abs().square()
    peaks = power[200:7601:200]  # a bin is a hertz
    assert peaks.max() < 1.02 * peaks.min()
    between = power[300:7600:200]
    assert between.max() < 1e-3 * peaks.min()
    assert power[7900:].max() < 1e-3 * peaks.min()  # nothing folds back


def test_pulses_glide() -> None:
    """From 100 to 200 Hz in octaves: one pulse whenever the integral of the pitch is whole."""
    pitch = torch.logspace(2, 2 + float(np.log10(2)), 100)[None]
    wave = pulses(pitch)[0].numpy()
    spread = np.exp(
        np.interp(np.arange(32_000), np.arange(100) * 320 + 159.5, np.log(pitch[0].numpy()))
    )
    turns = np.cumsum(spread / 16_000)
    at = np.flatnonzero(np.diff(np.floor(turns))) + 1
    heights = np.array([wave[max(0, k - 1) : k + 2].max() for k in at])
    assert len(at) in (287, 288, 289)  # 100 Hz * 2 s / ln 2
    assert heights.min() > 4 and np.median(abs(wave)) < 1
    assert np.isfinite(wave).all()


def test_the_phase_is_the_least_that_the_gain_allows() -> None:
    """A decaying exponential has all its zeros inside the circle: its own phase comes back."""
    spectrum = torch.fft.rfft(0.7 ** torch.arange(640, dtype=torch.float64))
    phase = minimum_phase(spectrum.abs().log()[None, :, None])[0, :, 0]
    torch.testing.assert_close(phase, spectrum.angle(), atol=1e-6, rtol=0)


# -- voice ------------------------------------------------------------------------------------


def _vocoder(seed: int = 0) -> Vocoder:
    torch.manual_seed(seed)
    vocoder = Vocoder(16).eval().requires_grad_(False)
    vocoder.head.bias[: 2 * BINS] -= 3  # about as loud as a voice
    return vocoder


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_a_mel_frame_becomes_320_samples(frames: int) -> None:
    pitch, noise = torch.full((2, frames), 150.0), torch.randn(2, 320 * frames)
    wave = _vocoder()(torch.randn(2, frames, BANDS), pitch, noise)
    assert wave.shape == (2, 320 * frames) and wave.isfinite().all()
    loud = _vocoder().filters(torch.full((1, frames, BANDS), 1e6))
    for gain in (loud.pulses, loud.noise):
        assert gain.shape == (1, 321, 2 * frames) and gain.max() <= 3  # whatever comes in


def test_each_source_has_its_own_filter() -> None:
    """Pulses alone, noise alone, and a band of one of them."""
    make = torch.Generator().manual_seed(0)
    pitch, noise = torch.full((1, 50), 150.0), torch.randn(1, 16_000, generator=make)
    off, on, window = torch.full((1, 321, 100), -30.0), torch.zeros(1, 321, 100), hann()
    still = torch.zeros(1, 321, 100)
    middle = slice(1000, 15_000)
    voiced = filtered(Filters(on, off, still), pitch, noise, window)
    torch.testing.assert_close(voiced[:, middle], pulses(pitch)[:, middle], atol=1e-3, rtol=1e-3)
    hissed = filtered(Filters(off, on, still), pitch, noise, window)
    torch.testing.assert_close(hissed[:, middle], noise[:, middle], atol=1e-3, rtol=1e-3)
    low = on.clone()
    low[:, 160:] = -30
    cut = torch.fft.rfft(filtered(Filters(off, low, still), pitch, noise, window)[0]).abs()
    assert cut[4400:].square().mean() < 1e-3 * cut[:3600].square().mean()


def hann() -> torch.Tensor:
    return torch.hann_window(640)


def test_inverse_stft_gives_the_wave_back() -> None:
    wave = torch.randn(2, 3200, generator=torch.Generator().manual_seed(0))
    spectrum = stft(wave, hann())
    assert spectrum.shape == (2, 321, 20)
    torch.testing.assert_close(inverse_stft(spectrum, hann()), wave, atol=1e-4, rtol=1e-4)


# -- speak ------------------------------------------------------------------------------------


def _mel(tokens: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2 * tokens, BANDS)).astype(np.float32)


@pytest.mark.parametrize("tokens", [0, 1, PIECE - 1, PIECE, PIECE + MARGIN + 1, 3 * PIECE])
def test_pieces_meet_where_it_is_quiet(tokens: int) -> None:
    mel, silent = _mel(tokens), np.zeros(tokens, bool)
    quiet = [k for k in (PIECE - 7, 2 * PIECE + 3) if k < tokens]
    mel.reshape(-1, 2, BANDS)[quiet] -= 3
    found = pieces(mel, silent)
    assert [b for _, b in found] == [a for a, _ in found[1:]] + [tokens] * (tokens > 0)
    assert all(0 < b - a <= PIECE + 2 * MARGIN for a, b in found)
    assert [a for a, _ in found[1:]] == [k for k in quiet if tokens > k + 7 + MARGIN]
    if len(found) > 1:
        silent[PIECE + 5] = True  # is quieter than anything
        assert pieces(mel, silent)[1][0] == PIECE + 5


def test_pieces_are_not_heard() -> None:
    """Whatever the pulses do, no piece begins or ends at once, and noise goes on through it."""
    tokens = 3 * PIECE
    mel, sounding = _mel(tokens), np.zeros(tokens, bool)
    vocoder = _vocoder()
    vocoder.head.bias[:BINS] = -30  # noise alone
    vocoder.head.weight[:BINS] = 0
    wave = Speaker(vocoder)(mel, sounding, LEVEL, tokens * SAMPLES_PER_FRAME, seed=7)
    noise = torch.from_numpy(gaussian(7, NOISE_STREAM, 0, tokens, SAMPLES_PER_FRAME)).view(1, -1)
    whole = vocoder(torch.from_numpy(mel)[None], torch.full((1, 2 * tokens), 99.0), noise)[0]
    whole = whole.numpy() * LEVEL / np.clip(active_level(whole.numpy()), LEVEL / 4, LEVEL * 4)
    assert wave.dtype == np.float32 and wave.shape == whole.shape and abs(wave).max() > 1e-3
    np.testing.assert_allclose(wave, whole, atol=1e-5)
    other = Speaker(vocoder)(mel, sounding, LEVEL, tokens * SAMPLES_PER_FRAME, seed=8)
    assert abs(other - wave).max() > 1e-3  # the seed is heard


def test_a_voice_comes_back_at_its_level() -> None:
    mel = _mel(100)
    for level in (LEVEL, LEVEL / 10):
        wave = Speaker(_vocoder())(mel, np.zeros(100, bool), level, 100 * SAMPLES_PER_FRAME)
        assert active_level(wave) == pytest.approx(level, rel=1e-3)


def test_silence_is_silent_and_its_edges_are_soft() -> None:
    speaker, mel = Speaker(_vocoder()), _mel(60)
    silent = np.zeros(60, bool)
    silent[[5, *range(20, 31), *range(57, 60)]] = True
    mel[np.repeat(silent, 2)] = SILENCE
    frame = SAMPLES_PER_FRAME
    wave = speaker(mel, silent, LEVEL, 60 * frame)
    loud = speaker(mel, np.zeros(60, bool), LEVEL, 60 * frame)
    assert (wave[21 * frame + frame // 2 : 29 * frame + frame // 2] == 0).all()
    assert (wave[58 * frame + frame // 2 :] == 0).all()
    # the level of the whole voice follows what sounds: alike but for one gain
    gain = np.linalg.norm(loud[: 20 * frame]) / np.linalg.norm(wave[: 20 * frame])
    wave = wave * gain
    np.testing.assert_allclose(wave[: 20 * frame], loud[: 20 * frame], atol=1e-6)
    np.testing.assert_allclose(
        wave[31 * frame : 56 * frame], loud[31 * frame : 56 * frame], atol=1e-6
    )
    ramp = slice(20 * frame + frame // 2, 21 * frame + frame // 2)
    assert (abs(wave[ramp]) <= abs(loud[ramp]) + 1e-6).all()
    assert (speaker(mel, np.ones(60, bool), LEVEL, 60 * frame) == 0).all()


def test_level_and_length_are_as_asked() -> None:
    speaker, mel, sounding = Speaker(_vocoder()), _mel(10), np.zeros(10, bool)
    whole = speaker(mel, sounding, LEVEL, 6400)
    np.testing.assert_allclose(speaker(mel, sounding, LEVEL / 4, 6400), whole / 4, atol=1e-6)
    assert (speaker(mel, sounding, 0.0, 6400) == 0).all()
    assert abs(speaker(mel, sounding, 1e4, 6400)).max() == 1
    assert (speaker(mel, sounding, LEVEL, 6001) == whole[:6001]).all()
    longer = speaker(mel, sounding, LEVEL, 7000)
    assert (longer[:6400] == whole).all() and (longer[6400:] == 0).all()


def test_a_pitch_that_was_sent_is_spoken() -> None:
    """Pulses alone, all filters flat: their spectrum tells the pitch; gaps are as without one."""
    tokens = 2 * PIECE
    mel, sounding, samples = _mel(tokens), np.zeros(tokens, bool), tokens * SAMPLES_PER_FRAME
    vocoder = _vocoder()
    vocoder.head.weight[:] = 0
    vocoder.head.bias[BINS : 2 * BINS] = -30
    vocoder.head.bias[2 * BINS :] = 0
    speaker = Speaker(vocoder)
    wave = speaker(mel, sounding, LEVEL, samples, pitch=np.full(2 * tokens, 160.0, np.float32))
    inside = wave[16_000:48_000] * np.hanning(32_000)
    power = np.square(np.abs(np.fft.rfft(inside)))  # a bin is half a hertz
    assert np.argsort(power[100:1000])[-1] + 100 in {320, 640, 960}
    assert power[480] < 1e-3 * power[320]
    found = speaker(mel, sounding, LEVEL, samples)
    unsent = np.full(2 * tokens, np.nan, np.float32)
    assert np.array_equal(found, speaker(mel, sounding, LEVEL, samples, pitch=unsent))
    unsent[2 * (PIECE + MARGIN + MARGIN) :] = 160.0  # reaches no sample of the first piece
    half = speaker(mel, sounding, LEVEL, samples, pitch=unsent)
    first = pieces(mel, sounding)[1][0] * SAMPLES_PER_FRAME
    gain = np.linalg.norm(found[:first]) / np.linalg.norm(half[:first])
    np.testing.assert_allclose(half[:first] * gain, found[:first], atol=1e-5)
    assert abs(half - found)[first + 40 * 640 :].max() > 1e-3
