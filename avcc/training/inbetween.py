"""Stage ``inbetween``: the mouth between sent frames, by the voice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from avcc.diffusion.inbetween import Inbetween, Lines
from avcc.diffusion.schedule import between
from avcc.evaluation.picture import correlation, mouth_openings
from avcc.quantise.scalar import STEPS
from avcc.stages import MOTION, SEGMENT_FRAMES
from avcc.training.export import grown
from avcc.training.loop import Options, Stage
from avcc.training.motion import motion_paths
from avcc.training.mouth import Mouth
from avcc.training.takes import Take, Takes, lips_off

FRAMES = 200  # two segments
STRIDES = (2, 3, 5, 8)  # learned from; more than are sent today
SHOWN = ((2, 1), (3, 1), (5, 2), (5, 3))  # strides and steps by which it is judged
MEAN = 0.1  # weight of what the mean of all speakers is off


class InbetweenStage(Stage):
    """Squared distance of the lips' shape from the true one, where nothing was sent.

    ``--apart`` teaches it without the voice, to measure what that is worth.
    """

    name = "inbetween"
    batch = 16

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.takes = Takes(options)
        self.bank, self.scale = self.takes.bank, self.takes.scale
        net = Inbetween(dropout=0.2)
        mouth = Mouth.of(self.bank, self.scale, len(net.mouth))
        net.mouth.copy_(torch.from_numpy(mouth.directions))
        net.shape.copy_(torch.from_numpy(mouth.shape))
        self.nets["inbetween"] = net
        self.optims["inbetween"] = self.adam(net, 2e-3, weight_decay=0.05)
        self.paths = motion_paths(options.work)
        self.sent = {
            how: [self.paths.received(_motion(take), *how) for take in self.takes.held]
            for how in SHOWN
        }

    def begin(self, tensors: dict[str, Tensor]) -> None:
        grown(self.nets["inbetween"], tensors, "inbetween")

    def _drawn(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A batch of cuts, all sent alike: ``motion`` as it is and as it was ``coded``."""
        every, step = int(rng.choice(STRIDES)), int(rng.integers(len(STEPS)))
        rows = [row for _, row in self.takes.cuts(rng, self.batch, FRAMES + SEGMENT_FRAMES)]
        out: dict[str, np.ndarray] = {k: np.stack([row[k] for row in rows]) for k in rows[0]}
        segments = out["motion"].reshape(-1, SEGMENT_FRAMES, MOTION)
        coded = np.zeros_like(segments)
        coded[:, ::every] = self.paths.codes(segments, every, step, draft=True) * STEPS[step]
        out["coded"] = coded.reshape(out["motion"].shape) / self.scale
        out["motion"] = out["motion"] / self.scale
        first = int(rng.integers(SEGMENT_FRAMES))
        frames = np.arange(first, first + FRAMES)
        sent = np.flatnonzero(frames % SEGMENT_FRAMES % every == 0)
        del out["key"]
        return {k: v[:, frames].astype(np.float32) for k, v in out.items()} | {"sent": sent}

    def step(self, i: int) -> dict[str, float]:
        x = {k: torch.as_tensor(v).to(self.o.device) for k, v in self.next(self._drawn).items()}
        net = self.nets["inbetween"]
        assert isinstance(net, Inbetween)
        lines = Lines.between(x["sent"], FRAMES)
        lips = lines.straight(x["coded"]) @ net.shape
        counts = x["counts"][..., None]
        left = (x["motion"] @ net.shape - lips) * counts
        with self.autocast():
            mel, silent, unsent = self._told(x["mel"], x["silent"], x["unsent"])
            signals = net.signals(mel, silent, unsent, lips, lines)
        signals = signals.float()
        # a clip counts by the root of how far its lips are off the lines
        power = left.square().sum((1, 2))
        weight = 1 / (power.sqrt() * power.sqrt().mean()).clamp(min=1e-6)
        own, of_all = (
            (weight[:, None, None] * (left - net.off(signals, how, lines) * counts).square())
            .sum((1, 2))
            .mean()
            for how in (net.followed(signals, lips, x["sent"]), net.mean)
        )
        size = signals.square().mean((0, 1))
        self.descend("inbetween", own + MEAN * of_all + 0.01 * (size - 1).square().mean())
        return {"own": own.item(), "mean": of_all.item()}

    def _told(self, *heard: Tensor) -> tuple[Tensor, ...]:
        """Mel, silent, unsent as the network is told them."""
        return tuple(0 * x for x in heard) if self.o.apart else heard

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """Of clips as they are sent, means over ``SHOWN``: the lips' distance about their own
        centre, in % of the eye distance, and the correlation of openings, beside those of straight
        lines (``line``); the score is the distance as a share of the lines'."""
        net = nets["inbetween"]
        rows = [
            self._judged(net, take, motion)
            for sent in self.sent.values()
            for take, motion in zip(self.takes.held, sent, strict=True)
        ]
        lips, alike, line, line_alike = np.nanmean(rows, 0) if rows else np.ones(4)
        figures = {"lips": lips, "correlation": alike, "line": line, "line_correlation": line_alike}
        return {"score": float(lips / line)} | {k: float(v) for k, v in figures.items()}

    def _judged(self, net: nn.Module, take: Take, sent: np.ndarray) -> list[float]:
        key, seen = int(take.keys[0]), ~np.isnan(take.size)
        line = between(sent / self.scale, np.ones(1))[0]
        heard = self._told(*_heard(take, self.o.device))
        motion = torch.from_numpy(line)[None].to(self.o.device)
        at = torch.from_numpy(np.flatnonzero(~np.isnan(sent[:, 0]))).to(self.o.device)
        moved = line + net(*heard, motion, at)[0].float().cpu().numpy()
        true = self.bank.meshes(_motion(take), take.mesh[key])[seen]
        out = []
        for made in (moved, line):
            mesh = self.bank.meshes((made * self.scale).astype(np.float32), take.mesh[key])[seen]
            alike = correlation(mouth_openings(true), mouth_openings(mesh))
            out += [lips_off(mesh, true), alike]
        return out

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"inbetween.{k}": v for k, v in nets["inbetween"].state_dict().items()}


def _motion(take: Take) -> np.ndarray:
    """A clip's motion (T, K) relative to its best key frame."""
    return take.coefficients(int(take.keys[0])).astype(np.float32)


def _heard(take: Take, device: str) -> list[Tensor]:
    """Mel as it is decoded with two layers or so, silent, unsent, each with one row."""
    mel, silent = take.mels[-2].astype(np.float32), take.silent.astype(np.float32)
    return [torch.from_numpy(x)[None].to(device) for x in (mel, silent, np.zeros_like(silent))]
