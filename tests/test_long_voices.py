"""Hours of a voice: memory follows the sound that is given back, and little else."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from avcc.analysis.mel import active_level, powers
from avcc.analysis.speech import silent_frames
from avcc.media import write
from avcc.media.sound import read_sound
from avcc.pitch import STEPS
from avcc.quantise.codebook import nearest
from avcc.render.speak import Speaker
from avcc.render.voice import Vocoder
from avcc.stages import BANDS, SAMPLES_PER_FRAME

TOKENS = 15_000  # ten minutes
SAMPLES = TOKENS * SAMPLES_PER_FRAME
SIZE = 4 * SAMPLES  # bytes of the sound
SHORT = SAMPLES // 10  # reading and writing cost more


def peak(what: Callable[[], Any]) -> int:
    """Bytes that numpy and Python took at most, beyond what was there before."""
    tracemalloc.start()
    try:
        what()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _humming() -> Vocoder:
    """A vocoder that costs nothing."""

    def hum(mel: Tensor, pitch: Tensor, noise: Tensor) -> Tensor:
        assert noise.shape == (1, 320 * pitch.shape[1])
        return torch.full((1, mel.shape[1] * 320), 0.05)

    def level(mel: Tensor) -> Tensor:
        return torch.zeros(*mel.shape[:2], STEPS)

    return cast(Vocoder, _Callable(hum, window=torch.zeros(1), pitch=level))


class _Callable(SimpleNamespace):
    def __init__(self, function: Callable[..., Tensor], **kw: Any) -> None:
        super().__init__(function=function, **kw)

    def __call__(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self.function(*inputs)
        return found


def test_speaking() -> None:
    mel, silent = np.zeros((2 * TOKENS, BANDS), np.float32), np.zeros(TOKENS, bool)
    speaker = Speaker(_humming())
    assert peak(lambda: speaker(mel, silent, 0.05, SAMPLES)) < 1.25 * SIZE


def test_finding_codes() -> None:
    """Of hours the table of all distances would be far larger than the sound."""
    rng = np.random.default_rng(0)
    centroids = rng.normal(0, 1, (1024, 2)).astype(np.float32)
    right = rng.integers(0, 1024, TOKENS)
    vectors = centroids[right]
    assert peak(lambda: nearest(vectors, centroids)) < 0.5 * SIZE
    assert (nearest(vectors, centroids) == right).all()
    assert nearest(vectors[:0], centroids).shape == (0,)


def test_measuring_levels() -> None:
    wave = np.full(SAMPLES + 7, 0.25, np.float32)
    assert peak(lambda: active_level(wave)) < 0.25 * SIZE
    assert peak(lambda: silent_frames(wave[:SAMPLES])) < 0.25 * SIZE
    assert powers(wave).shape == (TOKENS,) and (powers(wave) == 0.0625).all()
    assert powers(wave[:639]).shape == (0,) and active_level(wave[:639]) == 0


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
        ramp = (np.arange(16_000) % 1000).astype(np.int16)
        for second in range(SHORT // 16_000):
            frame = av.AudioFrame.from_ndarray(ramp[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 16_000 * second
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    found: list[np.ndarray | None] = []
    most = peak(lambda: found.append(read_sound(path, "voice.wav", 0.0, SHORT, print)))
    assert most < 1.25 * 4 * SHORT
    assert found[0] is not None
    np.testing.assert_allclose(found[0][:16_000], ramp / 32768, atol=1e-6)
    np.testing.assert_allclose(found[0].reshape(-1, 1000).std(0), 0, atol=1e-6)


def test_writing() -> None:
    audio = np.full(SHORT, 0.25, np.float32)

    def all_of_it() -> None:
        for frame in write._pieces(audio, TOKENS):
            assert frame.samples == write.PIECE

    assert peak(all_of_it) < 0.2 * 4 * SHORT


@pytest.mark.parametrize("samples", [SAMPLES_PER_FRAME * 300 - 100, SAMPLES_PER_FRAME * 300 + 50])
def test_sound_that_ends_beside_a_frame(samples: int) -> None:
    mel, silent = np.zeros((600, BANDS), np.float32), np.zeros(300, bool)
    wave = Speaker(_humming())(mel, silent, 0.05, samples)
    assert wave.shape == (samples,)
    np.testing.assert_allclose(wave[: 300 * SAMPLES_PER_FRAME], 0.05, rtol=1e-5)
    assert (wave[300 * SAMPLES_PER_FRAME :] == 0).all()
