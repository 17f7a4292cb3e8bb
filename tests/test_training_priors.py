"""The stages that teach priors: what they learn in floats is what integers code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from avcc import weights
from avcc.entropy.count import segment_bits
from avcc.entropy.tables import Codebook
from avcc.quantise.motion import A_BIT, MotionPaths
from avcc.quantise.scalar import STEPS
from avcc.stages import MOTION, OperatingPoint, Segment
from avcc.training.acousticprior import AcousticPriorStage
from avcc.training.export import save_weights
from avcc.training.loop import Options
from avcc.training.motionprior import MotionPriorStage
from avcc.training.pack import pack, unpack
from avcc.training.priors import KINDS, PriorStage, foretelling

pytest_plugins = ("rehearsal",)
STAGES = MotionPriorStage, AcousticPriorStage


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder of today's weights, without the priors that they may have."""
    folder = tmp_path_factory.mktemp("shipped")
    unpack(weights.folder(), folder)
    arrays = load_file(folder / "codebook.safetensors")
    plain = {k: v for k, v in arrays.items() if not k.startswith("prior.")}
    save_file(plain, folder / "codebook.safetensors")
    return folder


@pytest.fixture(scope="module", params=STAGES)
def stage(cache: Path, shipped: Path, request: pytest.FixtureRequest) -> PriorStage:
    made: PriorStage = request.param(Options(cache, shipped))
    made.batch = 3
    for i in range(6):
        made.step(i)
    made.nets.eval()
    return made


def test_bits_are_those_of_the_integers(stage: PriorStage, shipped: Path) -> None:
    """Of every symbol, as training reckons and as the coder does."""
    figures = stage.validate(stage.nets)
    assert 0.5 < figures["least"] <= figures["score"] <= figures["most"] < 1.5
    save_weights(shipped / f"{stage.name}.safetensors", stage.export(stage.nets), figures)
    book = foretelling(shipped)
    prior = book.motion_prior if stage.kind == "motion" else book.acoustic_prior
    assert prior
    batch = stage.held()[0]
    with torch.no_grad():
        bits, plain = stage.spent(stage.nets, batch)
    before, now, bias, symbol, base = (x.numpy() for x in batch)
    logs = np.round(base * 256)
    for row in range(0, len(symbol), 1 + len(symbol) // 40):
        state = prior.told(before[row])
        for slot in range(symbol.shape[1]):
            table = np.flatnonzero((prior._base[slot] == logs[row, slot]).all(1))[0]
            found = prior.frequencies(state + prior.row(bias[slot]), slot, int(table))
            spent = 24 - np.log2(found[symbol[row, slot]])
            assert spent == pytest.approx(float(bits[row, slot]), abs=0.06)
            state = state + prior.row(now[row, slot])
    assert not torch.allclose(bits, plain)


def test_with_other_tables_a_prior_is_none(
    stage: PriorStage, shipped: Path, tmp_path: Path
) -> None:
    for path in shipped.glob("*.safetensors"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    exported = stage.export(stage.nets)
    save_weights(tmp_path / f"{stage.name}.safetensors", exported, {})
    name = f"prior.{stage.kind}.lookup"
    assert name in foretelling(tmp_path).arrays
    exported["of"] = exported["of"] + 1
    save_weights(tmp_path / f"{stage.name}.safetensors", exported, {})
    assert name not in foretelling(tmp_path).arrays


def test_they_are_packed_with_the_codebook(cache: Path, shipped: Path, tmp_path: Path) -> None:
    """Another model, which codes by them and gives back what was coded."""
    for made in STAGES:
        one: PriorStage = made(Options(cache, shipped))
        save_weights(shipped / f"{one.name}.safetensors", one.export(one.nets), {})
    model = pack(shipped, tmp_path)
    book = Codebook.load(tmp_path / f"codebook-{model}.safetensors")
    assert book.id.hex() == model
    assert all(f"prior.{kind}.out" in book.arrays for kind in KINDS)
    again = tmp_path / "again"
    unpack(tmp_path, again)
    assert foretelling(again).id == book.id


def test_paths_cost_less_where_a_prior_is_asked(stage: PriorStage, shipped: Path) -> None:
    """Motion's paths are chosen by what the prior asks for."""
    if stage.kind != "motion":
        pytest.skip("tokens are refined, in test_refine")
    save_weights(shipped / "motionprior.safetensors", stage.export(stage.nets), {})
    book, plain = foretelling(shipped), Codebook.load(shipped / "codebook.safetensors")
    rng = np.random.default_rng(5)
    moved = rng.normal(0, 0.4, (100, MOTION)).cumsum(0).astype(np.float32)[None]
    point = OperatingPoint(2, 1, 0, False)

    def cost(paths: MotionPaths) -> float:
        codes = paths.codes(moved, 2, 1)[0]
        seg = Segment(100, codes, np.zeros(0, np.int64), np.zeros((0, 0), np.int64))
        drawn = np.stack([np.interp(np.arange(100), np.arange(0, 100, 2), c) for c in codes.T], 1)
        away = np.square(moved[0] / STEPS[1] - drawn).sum()
        return float(away + 2 * A_BIT * segment_bits(seg, point, book)[0])

    assert cost(MotionPaths(book)) < cost(MotionPaths(plain))
