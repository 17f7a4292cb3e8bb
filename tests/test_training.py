"""Training: the loop that all stages share, weight files, residual codebooks."""

from __future__ import annotations

import json
import math
import os
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from avcc.quantise import scalar
from avcc.quantise.codebook import residual_sum, residual_tokens
from avcc.stages import LATENT
from avcc.training import acoustic
from avcc.training.acoustic import CODES, LAYERS, Residuals
from avcc.training.export import restore, save_weights
from avcc.training.loop import Options, Stage, run

torch.set_num_threads(1)
AGES = 1e6  # minutes: a budget that no test ever spends


class Tiny(Stage):
    """Learns one line. ``scores``: what validations find, one after the other; ``last``: the step
    in which a signal comes."""

    name = "tiny"
    batch = 4

    def __init__(self, work: Path, last: int, scores: tuple[float, ...] = (1.0,), **o) -> None:
        super().__init__(Options(cache=work, work=work, minutes=o.pop("minutes", AGES), **o))
        torch.manual_seed(0)
        self.nets["line"] = nn.Linear(3, 1)
        self.optims["all"] = self.adam(self.nets, 1e-2)
        self.last, self.scores = last, list(scores)
        self.steps: list[int] = []
        self.drawn: list[float] = []
        self.weights: list[Tensor] = []  # before each step
        self.averages: list[Tensor] = []  # as each validation saw them
        self.rates: list[float] = []

    def step(self, i: int) -> dict[str, float]:
        assert self.nets.training and torch.is_grad_enabled()
        self.steps.append(i)
        self.weights.append(_weight(self.nets))
        self.rates.append(self.optims["all"].param_groups[0]["lr"])
        x = self.next(self._made)
        self.drawn.append(float(x[0, 0]))
        loss = (self.nets["line"](x)[:, 0] - x.sum(1)).square().mean()
        self.optims["all"].zero_grad()
        loss.backward()
        self.optims["all"].step()
        if i == self.last:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"loss": loss.item()}

    def _made(self, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(size=(self.batch, 3)).astype(np.float32)

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        assert not nets.training and not torch.is_grad_enabled()
        self.averages.append(_weight(nets))
        return {"score": self.scores.pop(0) if len(self.scores) > 1 else self.scores[0]}


def _weight(nets: nn.ModuleDict) -> Tensor:
    return nets["line"].get_parameter("weight").detach().clone()


def _written(work: Path) -> Tensor:
    return load_file(work / "tiny.safetensors")["line.weight"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_step_in_hand(number: signal.Signals, tmp_path: Path) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    stage = Tiny(tmp_path, -1)
    step = stage.step

    def hit(i: int) -> dict[str, float]:
        if i == 2:
            os.kill(os.getpid(), number)
        return step(i)

    stage.step = hit  # type: ignore[method-assign]
    found = run(stage)
    assert stage.steps == [0, 1, 2] and found["steps"] == 3 and found["best"] == 1.0
    assert (tmp_path / "tiny.ckpt").exists() and (tmp_path / "tiny.safetensors").exists()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_failing_step_gives_the_signals_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    stage = Tiny(tmp_path, 0)
    stage.optims["all"].step = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        run(stage)
    assert signal.getsignal(signal.SIGINT) == before and not [*tmp_path.iterdir()]


def test_so_many_steps_whatever_the_minutes(tmp_path: Path) -> None:
    """And the rate falls with the steps: the last one is small."""
    long = Tiny(tmp_path, 10**6, minutes=0.0, steps=700)
    assert run(long)["steps"] == 700 and len(long.steps) == 700
    assert max(long.rates) > 0.8 * 1e-2 and long.rates[-1] < 0.03 * 1e-2
    again = Tiny(tmp_path, 10**6, minutes=0.0, steps=701)
    run(again)
    assert again.steps == [700]


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = Tiny(tmp_path, 4, (0.5,))
    run(first)
    (tmp_path / "tiny.tmp").write_bytes(b"left by a run that was killed while writing")
    second = Tiny(tmp_path, 9, (0.7, 0.4))
    run(second)
    assert second.steps == [5, 6, 7, 8, 9]
    assert (second.weights[0] == _weight(first.nets)).all()
    moments = second.optims["all"].state_dict()["state"][0]
    assert int(moments["step"]) == 10  # the optimiser goes on too
    assert not set(first.drawn) & set(second.drawn)  # and on other data
    assert (_written(tmp_path) == first.averages[0].half()).all()  # 0.5 is better than 0.7
    third, fourth = Tiny(tmp_path, 10, (0.3,)), Tiny(tmp_path, 99, minutes=0.0)
    run(third)
    assert run(fourth)["best"] == 0.3 and not fourth.steps
    assert (fourth.averages[0] == third.averages[0]).all()


def test_the_best_is_kept(tmp_path: Path) -> None:
    stage = Tiny(tmp_path, 3, (3.0, 1.0, math.nan, 2.0, 9.0))
    found = run(stage, check=-1.0)  # a validation after every step
    assert len(stage.averages) == 5 and found["best"] == 1.0
    assert (_written(tmp_path) == stage.averages[1].half()).all()
    assert any((stage.averages[1] != a).any() for a in stage.averages[2:])
    with safe_open(tmp_path / "tiny.safetensors", "pt") as file:
        assert json.loads(file.metadata()["figures"]) == {"score": "1"}


def test_a_score_that_is_no_number_is_never_best(tmp_path: Path) -> None:
    run(Tiny(tmp_path, 1, (math.nan,)))
    assert not (tmp_path / "tiny.safetensors").exists() and (tmp_path / "tiny.ckpt").exists()


@pytest.mark.parametrize(("decay", "lag"), [(0.999, 100 / 11), (0.5, 1.0), (0.0, 0.0)])
def test_weights_are_averaged(tmp_path: Path, decay: float, lag: float) -> None:
    """Weights that grow by one a step: the average is as many behind as the steps it spans."""
    stage = Tiny(tmp_path, 99)
    stage.ema_decay = decay
    step = stage.step

    def counted(i: int) -> dict[str, float]:
        out = step(i)
        nn.init.constant_(stage.nets["line"].get_parameter("weight"), float(i))
        return out

    stage.step = counted  # type: ignore[method-assign]
    run(stage)
    assert float(stage.averages[0].mean()) == pytest.approx(99 - lag, abs=0.15 * lag + 1e-4)


def test_rates_warm_up_from_nothing(tmp_path: Path) -> None:
    stage = Tiny(tmp_path, 250)
    run(stage)
    assert stage.rates[0] == pytest.approx(1e-2 / 200, rel=1e-3)
    assert all(a <= b + 1e-9 for a, b in pairwise(stage.rates)) and stage.rates[-1] <= 1e-2
    assert abs(stage.weights[-1] - 1).mean() < abs(stage.weights[0] - 1).mean() / 2  # it learns


def test_a_rehearsal_leaves_no_trace_on_the_real_thing(tmp_path: Path) -> None:
    first = Tiny(tmp_path, 99, dry=True)
    run(first)
    assert 1 <= len(first.steps) <= 4 and [p.name for p in tmp_path.iterdir()] == [
        "tiny.safetensors"
    ]
    run(Tiny(tmp_path, 6, (0.5,)))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    run(Tiny(tmp_path, 99, (0.1,), dry=True))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# -- weight files -----------------------------------------------------------------------------


def test_weight_files_hold_what_was_saved(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    tensors = {f"a.{k}": v for k, v in net.state_dict().items()}
    turned = {"ab.other": torch.randn(5, 7).t()}  # not contiguous, and of another network
    save_weights(tmp_path / "w.safetensors", tensors | turned, {"score": 0.123456789})
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    found = load_file(tmp_path / "w.safetensors")
    assert found["a.0.weight"].dtype == torch.float16
    assert found["a.1.num_batches_tracked"].dtype == torch.int64
    torch.testing.assert_close(found["ab.other"].float(), turned["ab.other"], atol=1e-2, rtol=1e-3)
    other = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    restore(other, found, "a")
    for k, v in other.state_dict().items():
        assert v.dtype == net.state_dict()[k].dtype
        torch.testing.assert_close(v, net.state_dict()[k], atol=1e-3, rtol=1e-3)
    for wrong in ("ab", "b", "a.0"):
        with pytest.raises(RuntimeError):
            restore(other, found, wrong)


# -- residual codebooks -----------------------------------------------------------------------


def _latents(seed: int) -> tuple[Tensor, Tensor]:
    """Points (8, 100, 32) near forty places, and which of them sound; the others are far off."""
    places = torch.randn(40, LATENT, generator=torch.Generator().manual_seed(9))
    g = torch.Generator().manual_seed(seed)
    near = places[torch.randint(40, (8, 100), generator=g)]
    x = near + 0.1 * torch.randn(8, 100, LATENT, generator=g)
    heard = torch.rand(8, 100, generator=g) < 0.8
    return torch.where(heard[..., None], x, 100.0), heard


def _learned() -> Residuals:
    torch.manual_seed(0)
    net = Residuals()
    rng = np.random.default_rng(0)
    for i in range(60):
        latent, heard = _latents(i)
        net(latent, torch.from_numpy(rng.integers(0, LAYERS + 1, 8)), heard)
    return net.eval()


def test_residual_codebooks_learn_clusters() -> None:
    net, (latent, heard) = _learned(), _latents(1000)
    books = net.books.clone()
    left = []
    for n in range(LAYERS + 1):
        out, commitment = net(latent, torch.full((8,), n), heard)
        assert (out[~heard] == 0).all() and commitment >= 0
        left.append(float((latent - out)[heard].square().mean()))
    assert left[0] > 0.5 and left[1] < 0.02  # the spread inside a cluster is 0.01
    assert left == sorted(left, reverse=True) and left[-1] < 0.6 * left[1]
    assert (net.books == books).all()  # what isn't trained doesn't learn
    # what the codec does with the books is what training did
    flat = latent[heard].numpy()
    for n in (1, 3, LAYERS):
        out, _ = net(latent, torch.full((8,), n), heard)
        coded = residual_sum(residual_tokens(flat, books.numpy(), n, beam=1), books.numpy())
        np.testing.assert_allclose(coded, out[heard].numpy(), atol=1e-4)


def test_gradients_pass_straight_through_what_was_used() -> None:
    net, (latent, heard) = _learned(), _latents(1001)
    latent.requires_grad_()
    layers = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])
    out, commitment = net(latent, layers, heard)
    used = ((layers > 0)[:, None] & heard)[..., None].expand_as(latent)
    (gradient,) = torch.autograd.grad(out.sum(), latent, retain_graph=True)
    assert (gradient == used.float()).all()
    (gradient,) = torch.autograd.grad(commitment, latent)
    assert (gradient[~used] == 0).all() and gradient[used].abs().max() > 0


def test_codebooks_wait_for_enough_to_start_from() -> None:
    net = Residuals()
    latent, heard = _latents(0)
    few = heard & (torch.arange(100) < 3)
    assert 0 < few.sum() < CODES
    out, _ = net(latent, torch.full((8,), LAYERS), few)
    assert out.isfinite().all() and net.books.isfinite().all()
    net(latent, torch.full((8,), LAYERS), heard & False)  # a batch of silence alone
    net(latent, torch.full((8,), LAYERS), heard)
    out, _ = net.eval()(latent, torch.full((8,), LAYERS), heard)
    assert (latent - out)[heard].square().mean() < 0.05


def test_voice_codes_are_quantised_as_the_codec_does() -> None:
    code = torch.linspace(-1.2, 1.2, 999)
    levels = acoustic.voice_levels(code)
    assert (levels.numpy() == scalar.voice_levels(code.numpy())).all()
    values = acoustic.voice_values(levels)
    np.testing.assert_allclose(values.numpy(), scalar.voice_values(levels.numpy()), atol=1e-6)
