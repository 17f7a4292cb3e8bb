"""What the postfilter takes from a voice, and what it leaves."""

from __future__ import annotations

import torch

from avcc.analysis.mel import LEVEL
from avcc.render.postfilter import LEAST, postfiltered
from avcc.render.voice import WINDOW

LENGTH = 16_000
SLICE = slice(1600, -1600)
WINDOWED = torch.hann_window(WINDOW)


def harmonics(pitch: float = 150.0) -> torch.Tensor:
    """A voice-like tone at ``LEVEL``, (1, LENGTH)."""
    at = torch.arange(LENGTH) / 16_000
    wave = sum(torch.sin(2 * torch.pi * pitch * n * at + n) / n for n in range(1, 12))
    assert isinstance(wave, torch.Tensor)
    return (wave * LEVEL / wave.square().mean().sqrt())[None]


def power(wave: torch.Tensor) -> float:
    return float(wave[:, SLICE].square().mean())


def test_a_voice_stays() -> None:
    clean = harmonics()
    kept = postfiltered(clean, WINDOWED)
    assert kept.shape == clean.shape
    assert power(kept - clean) < 0.002 * power(clean)


def test_faint_noise_goes_but_not_all_of_it() -> None:
    noise = torch.randn(1, LENGTH, generator=torch.Generator().manual_seed(1)) * LEVEL * 10**-2.5
    alone = power(postfiltered(noise, WINDOWED)) / power(noise)
    assert 0.9 * LEAST**2 < alone < 0.05, "beside nothing"
    clean = harmonics()
    left = power(postfiltered(clean + noise, WINDOWED) - clean)
    assert left < 0.5 * power(noise) + 0.002 * power(clean), "beside a voice, between its harmonics"


def test_loud_noise_is_speech_too() -> None:
    """Fricatives are noise: they keep their level within a decibel or so."""
    noise = torch.randn(1, LENGTH, generator=torch.Generator().manual_seed(2)) * LEVEL
    assert 0.7 < power(postfiltered(noise, WINDOWED)) / power(noise) < 1


def test_silence_and_parts() -> None:
    assert not postfiltered(torch.zeros(2, 3200), WINDOWED).any()
    voice = harmonics(97.0) + 0.01 * torch.randn(
        1, LENGTH, generator=torch.Generator().manual_seed(3)
    )
    whole, part = postfiltered(voice, WINDOWED), postfiltered(voice[:, 3200:9600], WINDOWED)
    inner = slice(WINDOW, -WINDOW)
    assert torch.allclose(whole[:, 3200:9600][:, inner], part[:, inner], atol=1e-6)
