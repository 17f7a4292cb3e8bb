"""The peers of ``avcc.evaluation``: what each makes of few bytes, and how its bits are parted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from avcc.evaluation import bench, enhanced, peers, voices
from avcc.evaluation.picture import psnr
from avcc.evaluation.sound import lag_samples
from avcc.evaluation.split import Judge, Material
from tests.clips import picture


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    """uint8 (4, 128, 128, 3): a head that moves right and back."""
    moves = (lambda t: (0.2 * t, 0.5, 1.1),)
    forth = [picture(0, i / 25, (128, 128), moves) for i in range(2)]
    return np.stack(forth + forth[::-1])


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    """float32, 0.6 s at 16 kHz: three bursts of noise."""
    noise = np.random.default_rng(0).normal(0, 0.1, 9600)
    beats = np.repeat([0, 1, 0.1, 0.7, 0, 0.4], 1600)
    return (noise * np.convolve(beats, np.ones(160) / 160, "same")).astype(np.float32)


@pytest.mark.parametrize("name", bench.PEERS)
def test_peers_keep_to_their_bytes(
    small: np.ndarray, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := peers.absence(name):
        pytest.skip(why)
    # Where a program codes each try is a process.
    step = 2 if peers.PEERS[name].program else 1
    monkeypatch.setattr(peers, "SHAPES", peers.SHAPES[:3:step])
    pictures = peers.Pictures(name, small)
    coarse, fine = (list(pictures.within(most)) for most in (1000, 4000))
    assert len(coarse) == len(fine) == len(peers.SHAPES)
    for low, high in zip(coarse, fine, strict=True):
        assert low.size <= 1000 and low.size < high.size <= 4000
        assert low.frames.shape == high.frames.shape == small.shape
        assert 17 < psnr(small, low.frames) < psnr(small, high.frames)
        assert low.encode_seconds > 0 and low.decode_seconds > 0
    told = {shape: drawn for shape, drawn in zip(peers.SHAPES, fine, strict=True)}
    slow = told[2, 2]
    assert "128x128 at 25 Hz" in fine[0].setting and "64x64 at 12.5 Hz" in slow.setting
    assert psnr(small, fine[0].frames) > psnr(small, fine[1].frames)
    assert (slow.frames[0] == slow.frames[1]).all(), "every other picture is shown twice"
    assert list(pictures.within(30)) == []


def test_peers_that_are_absent_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    peers.absence.cache_clear()
    assert "vvencapp isn't on the path" in bench.why_absent("vvenc")
    assert bench.why_absent("avcc") == bench.why_absent("x264") == ""
    assert "no coder is called 'mpeg1'" in bench.why_absent("mpeg1")
    peers.absence.cache_clear()


@pytest.mark.parametrize("most", [0, 99, 100, 512, 5000])
def test_the_finest_quality_that_fits(most: int) -> None:
    sizes = {quality: 100 + 3 * (63 - quality) ** 2 for quality in range(20, 64)}
    found = peers.finest(lambda q: ([bytes(sizes[q] - 7), bytes(7)], 0.0), 20, 63, most)
    fitting = [quality for quality, size in sizes.items() if size <= most]
    if not fitting:
        assert found is None
        return
    assert found is not None and found[0] == min(fitting)
    assert sum(map(len, found[1])) == sizes[min(fitting)]


class Pictures:
    """Made-up pictures: the more bytes the nearer; a smaller shape needs fewer and is poorer."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames

    def within(self, most: int) -> Iterator[peers.Drawn]:
        for name, least, grey in (("large", 300, most // 3), ("small", 50, 60)):
            if most >= least:
                frames = np.full_like(self.frames, min(grey, 200))
                yield peers.Drawn(min(most, 600), frames, f"{name} {most}", 1.0, 2.0)


def test_bits_are_parted_to_a_peers_advantage(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, sound = np.full((25, 8, 8, 3), 200, np.uint8), np.ones(16_000, np.float32)
    offered = [(90, 0.3), (150, 0.2), (160, 0.5), (700, 0.9)]  # bytes, how intelligible
    made = [voices.Voice(size, sound * x, f"voice {size}", 0.1, 0.2) for size, x in offered]
    monkeypatch.setattr("avcc.evaluation.split.voices", lambda _: made)
    near = lambda a, b: 1 - float(np.abs(a.astype(int) - b).mean()) / 255  # noqa: E731
    material = Material(frames, sound, Judge(near, lambda _, heard: float(heard[0])))
    assert [voice.size for _, voice in material.voices] == [90, 160, 700], "one is no better"
    pictures = Pictures(frames)

    def best(size: int) -> tuple[str, int]:
        found = material.best("peer", lambda: pictures, 8 * size)
        assert found is not None and found.size <= size and found.audio is not None
        assert (found.encode_seconds, found.decode_seconds) == (1.1, 2.2)
        return found.setting.split()[0], round(10 * float(found.audio[0]))

    assert material.best("peer", lambda: pictures, 8 * 139) is None
    assert best(140) == ("small", 3), "only the cheapest voice leaves enough for any picture"
    assert best(220) == ("small", 5), "the better voice, though its picture is no better"
    assert best(780) == ("large", 5), "the best voice would leave only the small picture"
    assert best(1400) == ("large", 9)
    monkeypatch.undo()
    found = Material(frames, None, material.judge).best("peer", lambda: pictures, 8 * 90)
    assert found is not None and found.audio is None and "no sound" in found.setting


def test_all_voices_cheapest_first(tone: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    found = voices.voices(tone)
    sizes = [voice.size for voice in found]
    assert sizes == sorted(sizes) and len({voice.setting for voice in found}) == len(found)
    with_codec2 = 3 if voices.codec2_found() else 0
    with_network = 0 if enhanced.absence() else len(enhanced.RATES)
    assert len(found) == len(voices.OPUS_RATES) + with_codec2 + with_network
    monkeypatch.setenv("PATH", "")
    assert all("libopus" in voice.setting for voice in voices.voices(tone))
    assert [(v.size, v.sound) for v in voices.voices(None)] == [(0, None)]


def test_opus_keeps_time_and_length(tone: np.ndarray) -> None:
    sizes = []
    for rate in (6_000, 32_000):
        voice = voices.opus(tone, rate)
        sizes.append(voice.size)
        assert voice.sound is not None and voice.sound.shape == tone.shape
        assert abs(lag_samples(tone, voice.sound)) <= 32
    assert 0 < sizes[0] < sizes[1] < 32_000 / 8
    sound = voices.opus(tone, 64_000).sound
    assert sound is not None
    loud = slice(2000, 3000)
    scores = [np.dot(sound[loud], np.roll(tone, k)[loud]) for k in range(-20, 21)]
    assert abs(int(np.argmax(scores)) - 20) <= 2, "to two samples where the waveform is kept"


@pytest.mark.skipif(not voices.codec2_found(), reason="c2enc and c2dec are not on the path")
@pytest.mark.parametrize("mode", voices.CODEC2_MODES)
def test_codec2_keeps_length(tone: np.ndarray, mode: str) -> None:
    voice = voices.codec2(tone, mode)
    assert voice.sound is not None and voice.sound.shape == tone.shape
    assert 8 * voice.size / 0.6 == pytest.approx(voices.CODEC2_MODES[mode], rel=0.3)
