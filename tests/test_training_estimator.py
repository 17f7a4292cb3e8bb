"""The stage that teaches the estimator to make use of a pitch that was sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rehearsal import one_step, options
from safetensors.torch import load_file

from avcc.diffusion.estimate import Estimator, shares
from avcc.pitch import Pitch
from avcc.stages import PITCHES
from avcc.training import estimator as stages
from avcc.training.acoustic import AcousticStage, Speech
from avcc.training.estimator import EstimatorStage, contours
from avcc.training.export import acoustic_tensors, later_estimator, save_weights
from avcc.training.tokens import heard

torch.set_num_threads(1)
PITCH = "estimator.pitch.weight"


@pytest.fixture(scope="module")
def listened(cache: Path, work: Path) -> Path:
    """A work folder with untrained weights of everything that comes before."""
    acoustic = AcousticStage(options(cache, work))
    save_weights(work / "acoustic.safetensors", acoustic.export(acoustic.nets), {})
    torch.manual_seed(0)
    pitch = {f"vocoder.pitch.{k}": v for k, v in Pitch().state_dict().items()}
    save_weights(work / "vocoder.safetensors", pitch, {})
    return work


def test_a_step(cache: Path, listened: Path) -> None:
    stage = EstimatorStage(options(cache, listened))
    stage.held = stage.held[0][:2], stage.held[1][:2], stage.held[2][:2]
    wave, token, pitch = stage.held
    # before the first step a pitch changes nothing
    layers, none = torch.tensor([2, 2]), torch.full_like(pitch, torch.nan)
    errors = [stage._error(stage.nets["estimator"], wave, token, p, layers) for p in (pitch, none)]
    assert errors[0] == errors[1] and not pitch.isnan().all()
    written = one_step(stage)
    assert written[PITCH].abs().max() > 0
    before = load_file(listened / "acoustic.safetensors")
    assert set(before) - set(written) and set(written) - set(before) == {PITCH}
    # what follows takes the new one, as long as the codebooks are those that it was made for
    save_weights(listened / "estimator.safetensors", written, {})
    name = "estimator.exit.weight"
    assert torch.equal(acoustic_tensors(listened)[name], written[name].half())
    used = Speech(listened, "cpu").nets["estimator"].get_parameter("exit.weight")
    assert torch.equal(used, written[name].half().float())
    save_weights(listened / "acoustic.safetensors", before | {"books": before["books"] + 1}, {})
    assert not later_estimator(listened)
    assert torch.equal(acoustic_tensors(listened)[name], before[name])
    save_weights(listened / "acoustic.safetensors", before, {})


def test_contours_are_found_once(
    cache: Path, listened: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken = heard(options(cache, listened), "val")
    found = contours(options(cache, listened), "val", spoken)
    for pitch, tokens in zip(found, spoken.tokens, strict=True):
        assert pitch.shape == tokens.shape and 59 < pitch.min() <= pitch.max() < 481
    monkeypatch.setattr(stages, "likelihood", None)  # isn't called again
    again = contours(options(cache, listened), "val", spoken)
    assert all((a == b).all() for a, b in zip(found, again, strict=True))


def test_shares_of_pitches() -> None:
    between = float(np.sqrt(PITCHES[3] * PITCHES[4]))
    pitch = torch.tensor([[PITCHES[0], between, torch.nan, PITCHES[-1], 2000.0]])
    found = shares(pitch.float())[0]
    assert found.shape == (5, len(PITCHES))
    torch.testing.assert_close(found.sum(1), torch.tensor([1.0, 1, 0, 1, 0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1, 3:5], torch.tensor([0.5, 0.5]), atol=1e-4, rtol=0)


def test_an_early_estimator_knows_no_pitch() -> None:
    torch.manual_seed(0)
    early, new = Estimator(16, 2, pitched=False), Estimator(16, 2)
    assert "pitch.weight" not in early.state_dict()
    new.load_state_dict(early.state_dict(), strict=False)
    what = torch.tensor([[1, 2, 3]]), torch.zeros(1, 3, 32), torch.zeros(1, 24)
    pitch, none = torch.full((1, 3), 120.0), torch.full((1, 3), torch.nan)
    assert torch.equal(early(*what, pitch), early(*what))
    assert torch.equal(new(*what, none), early(*what))
    assert not torch.equal(new(*what, pitch), new(*what))
