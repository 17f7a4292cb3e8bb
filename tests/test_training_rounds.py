"""Training: going on from an earlier round, and what the renderer and its loss are given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import avcc
from avcc import weights
from avcc.analysis.motion import banks
from avcc.diffusion.schedule import between
from avcc.evaluation.perceptual import _Distance
from avcc.mesh import EYES, LIPS
from avcc.quantise.motion import MotionPaths
from avcc.quantise.scalar import STEPS
from avcc.training.discriminators import Period
from avcc.training.export import grown
from avcc.training.pack import pack, unpack
from avcc.training.pairs import Sent, mirrored_points

torch.set_num_threads(1)


def test_weights_unpacked_and_packed_are_the_same(tmp_path: Path) -> None:
    unpack(weights.folder(), tmp_path / "work")
    assert pack(tmp_path / "work", tmp_path / "weights") == weights.default().hex()
    for part in weights.PARTS:
        path = weights.path_of(weights.default(), part)
        again = load_file(tmp_path / "weights" / path.name)
        for name, tensor in load_file(path).items():
            assert torch.equal(again[name], tensor), (path.name, name)
    assert np.load(tmp_path / "work" / "motion.npz")["motion.directions"].shape[1] == 956
    # what a later round leaves as it was keeps what the manifest said of it
    manifest = tmp_path / "weights" / "manifest.json"
    told = json.loads(manifest.read_text())
    pack(tmp_path / "work", tmp_path / "weights", "another round")
    assert json.loads(manifest.read_text()) == told


def test_what_was_coded_once_decodes_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next model beside it, an earlier one's file is what it was, to the sample."""
    old = weights.default()
    data = (Path(__file__).parent / "vectors" / f"{old.hex()}-2k.avc").read_bytes()
    was = avcc.decode(data)
    work, place = tmp_path / "work", tmp_path / "weights"
    unpack(weights.folder(), work)
    pack(work, place)
    arrays = load_file(work / "codebook.safetensors")
    arrays["table.bit2"] = torch.tensor([[1 << 23, 1 << 23]], dtype=torch.uint32)
    save_file(arrays, work / "codebook.safetensors")
    new = pack(work, place)
    assert new != old.hex()
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(place))
    assert weights.default().hex() == new
    clip = avcc.decode(data)
    assert was.audio is not None and clip.audio is not None
    np.testing.assert_array_equal(clip.audio, was.audio)
    for a, b in zip(clip.frames, was.frames, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(k.startswith("estimator.") for k in weights.tensors(old, "speech"))
    assert len(weights.tensors(bytes.fromhex(new), "speech")) > len(weights.tensors(old, "speech"))
    known = set(json.loads((place / "manifest.json").read_text())["files"])
    assert {path.name for path in place.iterdir()} == known | {"manifest.json"}


def test_a_net_grows_around_the_old_one() -> None:
    old = nn.Conv2d(3, 4, 3)
    conv, linear = nn.Conv2d(3, 6, 3), nn.Linear(2, 2)
    net = nn.Sequential(conv, linear)
    kept = linear.weight.clone()
    grown(net, {f"old.0.{k}": v for k, v in old.state_dict().items()}, "old")
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(conv(x)[:, :4], old(x))
    assert (conv(x)[:, 4:] == 0).all() and torch.equal(linear.weight, kept)


def test_a_mirror_swaps_left_and_right() -> None:
    _, shape = banks(weights.codebook(weights.default()).arrays)
    ways = shape.directions.reshape(len(shape.directions), -1, 2)
    swapped = mirrored_points(shape.mean.reshape(-1, 2), ways)
    assert (swapped[swapped] == np.arange(478)).all()
    assert swapped[[33, 61, 0, 468]].tolist() == [263, 291, 0, 473]  # eye, mouth, middle, iris
    assert {int(swapped[i]) for i in EYES} == set(EYES)
    assert {int(swapped[i]) for i in LIPS} == set(LIPS)
    assert swapped[[80, 42, 78, 13]].tolist() == [310, 272, 308, 13]  # lips, inner and next to it


@pytest.mark.parametrize("stride", [1, 3, 5])
def test_training_sees_motion_as_the_decoder_does(stride: int) -> None:
    code = np.cumsum(np.random.default_rng(0).normal(0, 0.3, (40, 20)), 0).astype(np.float32)
    code[7] = np.nan
    paths = MotionPaths(weights.codebook(weights.default()))
    got = Sent(stride, 1).received(code, paths)
    assert got.shape == code.shape and not np.isnan(got).any()
    sent = paths.received(np.where(np.isnan(code), (code[6] + code[8]) / 2, code), stride, 1)
    np.testing.assert_allclose(between(sent, np.full(20, 0.2))[0], got, atol=1e-5)
    assert np.nanmax(abs(got - code)[::stride]) <= 2.5 * STEPS[1] + 1e-5


def test_the_distance_is_the_formula_and_so_is_its_gradient() -> None:
    torch.manual_seed(0)
    a, b = (torch.randn(2, 5, 4, 3).relu().requires_grad_() for _ in range(2))
    head = torch.rand(5)

    def unit(x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-20)

    plain = ((unit(a) - unit(b)).square() * head.view(1, 5, 1, 1)).sum(1).mean((1, 2))
    ours = _Distance.apply(a, b, head)
    torch.testing.assert_close(ours, plain)
    weigh = torch.tensor([1.0, -3.0])
    for got, wanted in zip(
        torch.autograd.grad((ours * weigh).sum(), (a, b)),
        torch.autograd.grad((plain * weigh).sum(), (a, b)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)


def test_a_period_is_looked_at_phase_by_phase() -> None:
    """What happens in one phase of the period changes that phase alone."""
    net, x = Period(3, 4), torch.randn(1, 300)
    other = x.clone()
    other[:, 1::3] += 1
    for one, two in zip(net(x), net(other), strict=True):
        changed = (one != two).flatten(1).any(1)
        assert changed.tolist() == [False, True, False]
