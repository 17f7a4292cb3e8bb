"""The loop that every stage of training shares: time budget, EMA, checkpoints, a progress line."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from avcc.training import ranks
from avcc.training.ahead import Make, ahead
from avcc.training.export import save_weights

PARTS = ("semantic", "acoustic", "voice")  # what a voice is sent as


@dataclass
class Options:
    """What the command line gives to every stage."""

    cache: Path
    work: Path
    minutes: float = 10.0
    batch: int = 0  # 0: the stage's own
    threads: int = 1
    device: str = "cpu"
    tier: str = "PW"  # "P": permissive clips alone
    seed: int = 0
    dry: bool = False  # a few steps and a validation, to rehearse a round
    perceptual: Path | None = None
    judge_from: int = 3000
    rate: float = 1.0  # of the stage's learning rates
    hours: float = 0  # of voice that is turned into tokens, 0: all
    start: Path | None = None  # weights to begin with, where there is no checkpoint
    workers: int = 0  # processes that make batches, 0: the training one
    steps: int = 0  # of training, whatever time they take; 0: as many as the minutes hold
    apart: bool = False  # AVDiff without cross-modal attention, to measure what that is worth
    without: tuple[str, ...] = ()  # PARTS of a voice to train without, to measure the same of them
    compile: bool = False
    scenes: Path | None = None  # a folder of photographs without faces, for the finder


def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where it is faster than float32: GPUs, and the CPUs with matrix units for it.

    Measured, not looked up: on CPUs without such units bfloat16 convolutions are 10 to 90 times
    slower than float32, on those with them five times faster.
    """
    if device.startswith("cuda"):
        return torch.bfloat16
    if device != "cpu":
        return torch.float32
    spent = {}
    for dtype in (torch.float32, torch.bfloat16):
        conv = nn.Conv2d(64, 64, 3, padding=1).to(dtype)
        x = torch.randn(1, 64, 32, 32, dtype=dtype)
        with torch.no_grad():
            conv(x)
            start = time.perf_counter()
            for _ in range(3):
                conv(x)
            spent[dtype] = time.perf_counter() - start
    return min(spent, key=lambda d: spent[d])


class Stage:
    """One part of training. A subclass sets ``name``, ``nets``, ``optims``, fills the methods."""

    name = ""
    batch = 16
    ema_decay = 0.999

    def __init__(self, options: Options) -> None:
        self.o = options
        self.batch = options.batch or self.batch
        self.dtype = fast_dtype(options.device)
        self.nets = nn.ModuleDict()
        self.optims: dict[str, torch.optim.Optimizer] = {}
        self.rng = np.random.default_rng(options.seed)
        self._batches: Iterator[Any] | None = None

    def next(self, make: Make) -> Any:
        """The next batch that ``make`` makes, on the CPU; it is the same ``make`` at each step."""
        if self._batches is None:
            self._batches = ahead(make, self.o.workers, int(self.rng.integers(1 << 31)))
        return next(self._batches)

    def autocast(self) -> torch.autocast:
        """Context in which forward passes run."""
        kind = self.o.device.split(":")[0]
        return torch.autocast(kind, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def begin(self, tensors: dict[str, Tensor]) -> None:
        """Take over an earlier round's exported weights."""
        raise ValueError(f"the stage {self.name} can't begin with earlier weights")

    def step(self, i: int) -> dict[str, float]:
        """One optimiser step; the losses for the progress line."""
        raise NotImplementedError

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """Figures on validation data with averaged weights; ``score`` decides, less is better."""
        raise NotImplementedError

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        """Tensors of the weight file."""
        return {f"{k}.{n}": v for k, net in nets.items() for n, v in net.state_dict().items()}

    def descend(self, which: str, loss: Tensor, clip: float = 1.0) -> None:
        """One step of one optimiser down its gradient, whose norm is clipped."""
        optim = self.optims[which]
        optim.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in optim.param_groups for p in g["params"]], clip)
        optim.step()

    def adam(self, net: nn.Module, rate: float, **kw: Any) -> torch.optim.Optimizer:
        """AdamW whose rate the loop warms up and lets fall along a half cosine."""
        rate *= self.o.rate
        chosen: dict[str, Any] = {"betas": (0.9, 0.98), "weight_decay": 0.01} | kw
        optim = torch.optim.AdamW(net.parameters(), lr=rate, **chosen)
        for group in optim.param_groups:
            group["base"] = rate
        optim.register_step_pre_hook(ranks.average_gradients)
        return optim


def _line(stage: str, i: int, rate: float, left: float, mean: dict[str, float]) -> str:
    figures = " ".join(f"{k} {v:.4f}" for k, v in mean.items())
    return f"{stage} step {i} {rate:.1f} samples/s {left / 60:.1f} min left {figures}"


def _done(state: dict[str, Any], steps: int, total: float) -> float:
    """Share of the training that is done: of its steps, where those are given, or of seconds."""
    if steps:
        return state["step"] / steps
    return state["seconds"] / total if total else 1.0


def _averaging(stage: Stage) -> Callable[..., None]:
    """Moving average of the weights over the last tenth of the steps, ``ema_decay`` at most."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        weight = max(1 - stage.ema_decay, 10 / (float(count) + 10))
        for a, b in zip(averages, current, strict=True):
            if a.is_floating_point():
                a.lerp_(b, weight)
            else:
                a.copy_(b)

    return update


def run(stage: Stage, every: float = 30.0, check: float = 600.0) -> dict[str, float]:
    """Train until the budget is spent or a signal comes; the best averaged weights are kept.

    Resumes from ``work/<stage>.ckpt``; writes the exported weights of the best validation to
    ``work/<stage>.safetensors``. SIGINT and SIGTERM end it after the step in hand. A dry run writes
    no checkpoint, and leaves the weights of a real one alone.
    """
    with _signals() as stop:
        return _run(stage, every, check, stop)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM are added to, instead of what they do otherwise."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in numbers}
    try:
        yield came
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def _run(stage: Stage, every: float, check: float, stop: list[int]) -> dict[str, float]:
    o = stage.o
    torch.set_num_threads(o.threads)
    o.work.mkdir(parents=True, exist_ok=True)
    path = o.work / f"{stage.name}.ckpt"
    if o.start:
        stage.begin(load_file(o.start))
    stage.nets.to(o.device)
    average = torch.optim.swa_utils.AveragedModel(stage.nets, multi_avg_fn=_averaging(stage))
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "best": math.inf}
    if path.exists() and not o.dry:
        saved = torch.load(path, map_location=o.device, weights_only=True)
        stage.nets.load_state_dict(saved["nets"])
        average.load_state_dict(saved["average"])
        for k, optim in stage.optims.items():
            optim.load_state_dict(saved["optims"][k])
        state = saved["state"]
        print(f"{stage.name}: resumed at step {state['step']}", flush=True)
    # not the batches of the first steps over again, and other ones than another process
    torch.manual_seed(o.seed + state["step"] + 1_000_003 * ranks.rank())
    stage.rng = np.random.default_rng([o.seed, state["step"], ranks.rank()])
    ranks.share(stage.nets, parameters=True)
    if o.compile:
        for net in stage.nets.values():
            net.compile()
    total = 20.0 if o.dry else o.minutes * 60

    def save() -> None:
        if ranks.rank():
            return
        nets = average.module
        assert isinstance(nets, nn.ModuleDict)
        nets.eval()
        with torch.no_grad():
            figures = stage.validate(nets)
        print(f"{stage.name} validation " + " ".join(f"{k} {v:.4f}" for k, v in figures.items()))
        if figures["score"] < state["best"]:
            state["best"] = figures["score"]
            if not (o.dry and path.exists()):
                save_weights(o.work / f"{stage.name}.safetensors", stage.export(nets), figures)
        if o.dry:
            return
        temporary = path.with_suffix(".tmp")
        parts = {
            "nets": stage.nets.state_dict(),
            "average": average.state_dict(),
            "optims": {k: v.state_dict() for k, v in stage.optims.items()},
            "state": state,
        }
        torch.save(parts, temporary)
        os.replace(temporary, path)

    shown = checked = time.monotonic()
    mean: dict[str, float] = {}
    since = 0
    while True:
        ended = bool(stop) or _done(state, o.steps, total) >= 1 or (o.dry and state["step"] >= 4)
        state["seconds"], ended = ranks.shared([state["seconds"], ended], o.device)
        if ended:
            break
        began = time.monotonic()
        done = _done(state, o.steps, total)  # of the time that all processes agree on
        rate = min(1.0, (state["step"] + 1) / 200) * max(0.02, 0.5 + 0.5 * math.cos(math.pi * done))
        for optim in stage.optims.values():
            for group in optim.param_groups:
                group["lr"] = group["base"] * rate
        stage.nets.train()
        losses = stage.step(state["step"])
        ranks.share(stage.nets)
        average.update_parameters(stage.nets)
        for k, v in losses.items():
            mean[k] = v if k not in mean else 0.95 * mean[k] + 0.05 * v
        state["step"] += 1
        since += 1
        now = time.monotonic()
        state["seconds"] += now - began
        if not ranks.rank() and (now - shown > every or state["step"] == 1):
            speed = since * stage.batch / (now - shown + 1e-9)
            left = state["seconds"] * (o.steps / state["step"] - 1)
            left = left if o.steps else total - state["seconds"]
            print(_line(stage.name, state["step"], speed, left, mean), flush=True)
            shown, since = now, 0
        if now - checked > check:
            save()
            checked = shown = time.monotonic()
            since = 0
    save()
    return {"best": state["best"], "steps": state["step"], "minutes": state["seconds"] / 60}
