"""The stage that teaches the estimator to make use of a pitch that was sent."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rehearsal import one_step, options
from safetensors.torch import load_file

from avcc.analysis.mel import LogMel
from avcc.diffusion.estimate import COMBS, Comb, Estimator
from avcc.entropy import glide
from avcc.entropy.glide import ESCAPED, MOVES
from avcc.pitch import Pitch
from avcc.quantise.pitch import hertz
from avcc.stages import BANDS, PITCHES
from avcc.training import contours as found_by
from avcc.training.acoustic import AcousticStage, Speech
from avcc.training.avdiff import AVDiffStage
from avcc.training.contours import contours
from avcc.training.estimator import EstimatorStage, combs
from avcc.training.export import acoustic_tensors, later_estimator, save_weights
from avcc.training.glides import counts, main, shares
from avcc.training.tokens import heard

torch.set_num_threads(1)
COMB = "estimator.comb."


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
    assert all(written[f"{COMB}{k}"].abs().max() > 0 for k in ("combs", "gate.bias"))
    before = load_file(listened / "acoustic.safetensors")
    assert all(k.startswith(COMB) for k in set(written) - set(before)) and len(before) > 20
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
    found = contours(options(cache, listened), "val", spoken.waves)
    for pitch, tokens in zip(found, spoken.tokens, strict=True):
        assert len(pitch) == 2 * len(tokens) and 59 < pitch.min() <= pitch.max() < 481
    monkeypatch.setattr(found_by, "likelihood", None)  # isn't called again
    again = contours(options(cache, listened), "val", spoken.waves)
    assert all((a == b).all() for a, b in zip(found, again, strict=True))


def test_how_pitches_move_is_counted(cache: Path, listened: Path) -> None:
    tune = np.array([0, 1, 2, 3, 3, 3, 2, 1, 1, 30])
    found = counts([hertz(tune)])
    assert found.sum() == len(tune) - 1 and found.shape == np.shape(MOVES)
    assert found[:, ESCAPED].sum() == 1  # the leap
    # up after up, and down after down, are alike
    row, turned = glide.row(1, 1, 0)
    assert found[row, glide.NEAR + 1] == 1 and not turned
    assert glide.row(-1, -1, 0) == (row, True)
    assert shares(10_000 * found).min() == 1  # nothing is impossible
    args = ["--cache", str(cache), "--work", str(listened)]
    printed = CliRunner().invoke(main, args).output.splitlines()
    assert len(printed) == len(MOVES) and printed[0].count(",") == len(MOVES[0])


def test_avdiff_starts_from_the_estimate_with_pitch(cache: Path, listened: Path) -> None:
    sings = one_step(EstimatorStage(options(cache, listened)))
    sings[f"{COMB}gate.bias"] += 1.0
    save_weights(listened / "estimator.safetensors", sings, {})
    stage = AVDiffStage(options(cache, listened))
    (talk,) = [t for t in stage.talks if t.wave is not None and len(t) > 100]
    assert talk.pitch is not None and talk.tokens is not None
    assert len(talk.pitch) == 2 * len(talk.tokens) and np.isfinite(talk.pitch).all()
    assert np.isfinite(stage._cut(np.random.default_rng(0), None)["pitch"]).any()
    cut = stage._cut(np.random.default_rng(0), talk)
    point: dict = {"stride": 1, "step": 1, "layers": 2, "audio": True}
    sent = stage._sent(np.random.default_rng(0), [cut, cut], **point)
    assert np.isfinite(sent["pitch"]).all()
    sent["pitch"][1] = np.nan
    given = stage._assembled(sent)[0].mel
    assert (given[0] - given[1]).abs().max() > 0.01
    (listened / "estimator.safetensors").unlink()


def test_combs_have_their_teeth_at_the_harmonics() -> None:
    found = combs()
    assert found.shape == (COMBS, BANDS) and found.isfinite().all()
    mel, t = LogMel(), torch.arange(16_000) / 16_000
    for row in (32, 60, 77):
        pitch = float(np.geomspace(PITCHES[0], PITCHES[-1], COMBS)[row])
        bands = []
        for k in (2, 3, 4):
            tone = mel(0.05 * torch.sin(2 * torch.pi * k * pitch * t)[None])[0, 10:-10].mean(0)
            bands.append(int(tone.argmax()))
        middles = [(a + b) // 2 for a, b in pairwise(bands)]
        assert found[row, bands].min() > found[row, middles].max()


def test_a_pitch_is_looked_up() -> None:
    comb = Comb(8)
    comb.combs.copy_(torch.arange(COMBS)[:, None].expand(-1, BANDS))
    nan = torch.nan
    low, high = PITCHES[0], PITCHES[-1]
    pitch = torch.tensor([[low, (low * PITCHES[3]) ** 0.5, PITCHES[4], nan, high, 9999.0]])
    found = comb(pitch.float())[0]
    assert found.shape == (3, 2 * BANDS)
    first, second = found[:, 0].tolist(), found[:, -1].tolist()
    assert first == [0, 8, 96] and second == [3, 0, 96]


def test_an_early_estimator_knows_no_pitch() -> None:
    torch.manual_seed(0)
    early, new = Estimator(16, 2, pitched=False), Estimator(16, 2)
    assert not any(k.startswith("comb.") for k in early.state_dict())
    new.load_state_dict(early.state_dict(), strict=False)
    for name in ("combs", "entry.weight", "gate.bias"):
        new.state_dict()[f"comb.{name}"].normal_()
    what = torch.tensor([[1, 2, 3]]), torch.zeros(1, 3, 32), torch.zeros(1, 24)
    pitch, none = torch.full((1, 6), 120.0), torch.full((1, 6), torch.nan)
    assert torch.equal(early(*what, pitch), early(*what))
    assert torch.equal(new(*what, none), early(*what))
    assert not torch.equal(new(*what, pitch), new(*what))
