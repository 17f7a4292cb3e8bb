"""The stage that trains the vocoder: pitches, cuts, losses, a step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rehearsal import one_step, options

from avcc.pitch import STEPS, place
from avcc.training import discriminators, voiced
from avcc.training.acoustic import AcousticStage
from avcc.training.export import save_weights
from avcc.training.vocoder import VocoderStage, pitch_loss, spectral_loss

torch.set_num_threads(1)


def _hum(wave: np.ndarray) -> np.ndarray:
    """A pitch that rises slowly, without the package that finds the true one; none at first."""
    pitch = np.linspace(100, 200, len(wave) // 320, dtype=np.float32)
    pitch[:3] = 0
    return pitch


def test_a_step(cache: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voiced, "pitch_of", _hum)
    acoustic = AcousticStage(options(cache, work))
    save_weights(work / "acoustic.safetensors", acoustic.export(acoustic.nets), {})
    stage = VocoderStage(options(cache, work))
    stage.held = (stage.held[0][:1, :16_000], stage.held[1][:1, :25], stage.held[2][:1, :50])
    written = one_step(stage)
    assert all(k.startswith("vocoder.") for k in written) and "vocoder.pitch.exit.bias" in written


def test_pitches_are_found_once(cache: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voiced, "pitch_of", _hum)
    found = voiced.voiced(options(cache, work), "val")
    assert [len(p) for p in found.pitch] == [2 * len(t) for t in found.spoken.tokens]
    monkeypatch.setattr(voiced, "pitch_of", None)  # isn't called again
    again = voiced.voiced(options(cache, work), "val")
    assert all((a == b).all() for a, b in zip(found.pitch, again.pitch, strict=True))
    wave, token, pitch = again.batch(np.random.default_rng(0), 3, 50)
    assert wave.shape == (3, 32_000) and token.shape == (3, 50) and pitch.shape == (3, 100)
    places = again.spoken.places(np.random.default_rng(0), 3, 50)
    for row, (k, a) in zip(pitch.numpy(), places, strict=True):
        part = again.pitch[k][2 * a : 2 * a + 100]
        assert (row[: len(part)] == part).all() and not row[len(part) :].any()


def test_gaps_in_the_pitch_are_filled_in_octaves() -> None:
    pitch = torch.tensor([[0.0, 100, 0, 400, 0, 0], [0, 0, 0, 0, 0, 0]])
    wanted = torch.tensor([[100.0, 100, 200, 400, 400, 400], [voiced.MIDDLE] * 6])
    torch.testing.assert_close(voiced.filled(pitch), wanted)
    found = torch.tensor([[1.0, 104, 1, 300, 1, 1], [1, 1, 1, 1, 1, 1]])
    assert voiced.share_right(found, pitch) == 0.5


def test_the_pitch_of_a_hum() -> None:
    for package in ("pyworld", "scipy"):
        pytest.importorskip(package, reason=f"{package} isn't installed: pip install 'avcc[train]'")
    time = np.arange(16_000) / 16_000
    wave = np.sum([np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20)], 0) * 0.1
    pitch = voiced.pitch_of(wave.astype(np.float32))
    assert pitch.shape == (50,) and pitch.dtype == np.float32
    np.testing.assert_allclose(pitch[5:45], 150, rtol=0.01)
    assert voiced.pitch_of(wave[:400].astype(np.float32)).shape == (1,)


def test_what_a_wrong_pitch_costs() -> None:
    pitch = torch.tensor([[0.0, 120.0]])
    at = int(place(pitch[0, 1:]).round())
    right, wrong = (torch.full((1, 2, STEPS), -9.0) for _ in range(2))
    right[0, 1, at], wrong[0, 1, at + 20] = 0, 0
    losses = [pitch_loss(x.log_softmax(-1), pitch) for x in (right, wrong)]
    assert losses[0] < losses[1]
    assert pitch_loss(right, torch.zeros(1, 2)) == 0  # nobody speaks


def test_discriminators_hear_a_voice() -> None:
    """As loud as voices are, it differs from silence by more than biases differ from nothing."""
    torch.manual_seed(0)
    judges, voice = discriminators.VoiceJudges(), 0.05 * torch.randn(2, 3000)
    with torch.no_grad():
        pairs = zip(judges(voice), judges(torch.zeros(2, 3000)), strict=True)
        assert all((a[-2] - b[-2]).norm() > 0.25 * b[-2].norm() for a, b in pairs)


def test_losses_of_the_voice() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(2, 2, 3000)
    assert spectral_loss(real, real) == 0 and spectral_loss(fake, real) > 0.1
    assert spectral_loss(real + 0.01 * fake, real) < spectral_loss(real + 0.3 * fake, real)
    judges = discriminators.VoiceJudges()
    seen, told = judges(real), judges(fake)
    assert len(seen) == 8 and all(s[-1].isfinite().all() and len(s) == 5 for s in seen)
    assert discriminators.matching_loss(seen, seen) == 0 < discriminators.matching_loss(seen, told)
    sure = [[torch.full((2, 1), 2.0)]], [[torch.full((2, 1), -2.0)]]
    assert discriminators.judge_loss(*sure) == 0 == discriminators.fooling_loss(sure[0])
    assert discriminators.judge_loss(sure[1], sure[0]) == 6
