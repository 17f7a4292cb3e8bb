"""Cuts of voices that are made faster, slower, and coloured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")

from avcc.stages import SAMPLE_RATE, SAMPLES_PER_FRAME
from avcc.training import varied as module
from avcc.training.varied import LEAST, MOST, PARTS, longer, varied

FRAMES, HERTZ = 50, 400.0


def cut(count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """A tone in the first half of what is needed, silence behind it; the tokens are numbers."""
    length = longer(FRAMES)
    at = torch.arange(length * SAMPLES_PER_FRAME) / SAMPLE_RATE
    wave = torch.sin(2 * torch.pi * HERTZ * at) * (at < length / 2 / 25)
    return wave.repeat(count, 1), torch.arange(length).repeat(count, 1)


def test_higher_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pitch, and how far one gets in a cut, go with what is told."""
    monkeypatch.setattr(module, "COLOURED", 0.0)
    wave, token = cut()
    halves = (token * 0.5).repeat_interleave(2, 1)
    sound, moved, pitch, higher = varied(np.random.default_rng(5), FRAMES, wave, token, halves)
    assert sound.shape == (12, FRAMES * SAMPLES_PER_FRAME) and sound.dtype == torch.float32
    assert moved.shape == (12, FRAMES) and higher.shape == (12, 1)
    assert pitch.shape == (12, 2 * FRAMES) and ((pitch[:, 1::2] * 2 - moved).abs() < 2).all()
    assert len(set(higher.ravel().tolist())) > 4
    assert higher.min() >= LEAST / PARTS and higher.max() <= MOST / PARTS
    for one, tokens, ratio in zip(
        sound.numpy(), moved.numpy(), higher.ravel().tolist(), strict=True
    ):
        peak = np.abs(np.fft.rfft(one)).argmax() * SAMPLE_RATE / len(one)
        assert peak == pytest.approx(HERTZ * ratio, abs=3)
        assert (np.abs(tokens - (np.arange(FRAMES) + 0.5) * ratio) <= 1).all()
        half = longer(FRAMES) / 2 / ratio  # where silence begins now, in tokens
        assert np.abs(one[int((half + 1) * SAMPLES_PER_FRAME) :]).max() < 0.02
        assert np.abs(one[: int((half - 1) * SAMPLES_PER_FRAME)]).max() > 0.9


def test_a_colour_changes_the_level_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHANGED", 0.0)
    monkeypatch.setattr(module, "COLOURED", 1.0)
    wave, token = cut(4)
    sound, moved, higher = varied(np.random.default_rng(6), FRAMES, wave, token)
    assert (higher == 1).all() and (moved == torch.arange(FRAMES)).all()
    inside = slice(2 * SAMPLES_PER_FRAME, 20 * SAMPLES_PER_FRAME)
    for one, other in zip(sound.numpy(), wave.numpy(), strict=True):
        a, b = one[inside], other[inside]
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999
        assert 0.1 < np.linalg.norm(a) / np.linalg.norm(b) < 10
