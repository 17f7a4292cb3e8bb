"""Stage ``follower``: how lips follow the voice, and in what ways speakers differ there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from avcc.evaluation.picture import correlation, mouth_openings
from avcc.follower import SIGNALS, Follower
from avcc.stages import LIPS
from avcc.training.export import grown
from avcc.training.loop import Options, Stage
from avcc.training.mouth import Mouth
from avcc.training.takes import Take, Takes, lips_off

FRAMES = 200  # of a cut, over which one speaker's way is found
MEAN = 0.3  # weight of what the mean of all speakers is off
RIDGE = 5.0  # frames' worth of that mean, beside the frames of a cut
STEP = 0.03  # of a code's numbers, in units in which a lip is moved by one
LEAST = 100  # frames of a clip that says how speakers differ
HEARD = -2  # which of a take's mels: decoded with two layers


class FollowerStage(Stage):
    """Squared distance of the lips' shape from the true one, were each cut's own way to follow
    known."""

    name = "follower"
    batch = 16

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.takes = Takes(options)
        net = Follower(dropout=0.2)
        mouth = Mouth.of(self.takes.bank, self.takes.scale, len(net.mouth))
        net.mouth.copy_(torch.from_numpy(mouth.directions))
        net.shape.copy_(torch.from_numpy(mouth.shape))
        self.nets["follower"] = net
        self.optims["follower"] = self.adam(net, 2e-3, weight_decay=0.05)

    def begin(self, tensors: dict[str, Tensor]) -> None:
        grown(self.nets["follower"], tensors, "follower")

    def _drawn(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A batch of cuts."""
        rows = [row for _, row in self.takes.cuts(rng, self.batch, FRAMES)]
        out = {k: np.stack([row[k] for row in rows]).astype(np.float32) for k in rows[0]}
        return out | {"motion": (out["motion"] / self.takes.scale).astype(np.float32)}

    def step(self, i: int) -> dict[str, float]:
        x = {k: torch.as_tensor(v).to(self.o.device) for k, v in self.next(self._drawn).items()}
        net, counts = self.nets["follower"], x["counts"][..., None]
        assert isinstance(net, Follower)
        with self.autocast():
            signals = net.signals(x["mel"], x["silent"], x["unsent"])
        signals, lips = signals.float(), x["motion"] @ net.shape
        # a clip counts by the root of how much its lips move
        middle = (lips * counts).sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
        power = ((lips - middle) * counts).square().sum((1, 2))
        weight = 1 / (power.sqrt() * power.sqrt().mean()).clamp(min=1e-6)
        own, of_all = (
            (weight * ((lips - signals @ how) * counts).square().sum((1, 2))).mean()
            for how in (_followed(net.mean, signals * counts, lips * counts), net.mean)
        )
        size = signals[..., :SIGNALS].square().mean((0, 1))
        self.descend("follower", own + MEAN * of_all + 0.01 * (size - 1).square().mean())
        return {"own": own.item(), "mean": of_all.item()}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """By codes as an encoder sends them, and by the mean of all people (``mean``): the lips'
        distance about their own centre, in % of the eye distance, and the correlation of openings;
        ``spread`` of these as a share of the true one. The score is the distance."""
        net = self._coding(nets)
        rows = [self._judged(net, take) for take in self.takes.held]
        names = ("lips", "correlation", "spread", "mean_lips", "mean_correlation")
        found = np.nanmean(rows, 0) if rows else np.ones(len(names))
        return {"score": float(found[0])} | {k: float(v) for k, v in zip(names, found, strict=True)}

    def _judged(self, net: Follower, take: Take) -> list[float]:
        key, seen = int(take.keys[0]), ~np.isnan(take.size)
        heard = self._heard(take)
        motion = take.coefficients(key)
        signals = net.signals(*heard)[0].float().cpu().numpy()
        code = net.code(signals, motion / self.takes.scale)
        true = self.takes.bank.meshes(motion.astype(np.float32), take.mesh[key])[seen]
        opened, out = mouth_openings(true), []
        for sent in (code, 0 * code):
            told = torch.from_numpy(sent.astype(np.float32))[None].to(self.o.device)
            made = net(*heard, told)[0].float().cpu().numpy() * self.takes.scale
            mesh = self.takes.bank.meshes(made.astype(np.float32), take.mesh[key])[seen]
            opens = mouth_openings(mesh)
            spread = opens.std() / max(float(opened.std()), 1e-6)
            out += [lips_off(mesh, true), correlation(opened, opens), float(spread)]
        return out[:-1]

    def _heard(self, take: Take) -> tuple[Tensor, ...]:
        mel, silent = take.mels[HEARD].astype(np.float32), take.silent.astype(np.float32)
        told = mel, silent, np.zeros_like(silent)
        return tuple(torch.from_numpy(x)[None].to(self.o.device) for x in told)

    @torch.no_grad()
    def _coding(self, nets: nn.ModuleDict) -> Follower:
        """A copy that has learned how speakers differ: the principal components of training clips'
        ways to follow, as far as they move lips."""
        trained = nets["follower"]
        assert isinstance(trained, Follower)
        net = Follower(dropout=0.2).to(self.o.device).eval()
        net.load_state_dict(trained.state_dict())
        ways, alike = [], torch.zeros(SIGNALS + 1, SIGNALS + 1).double()
        for take in self.takes.train:
            if len(take.silent) < LEAST:
                continue
            signals = net.signals(*self._heard(take)).double().cpu()
            motion = take.coefficients(int(take.keys[0])) / self.takes.scale
            lips = (torch.from_numpy(motion).double() @ net.shape.double().cpu())[None]
            alike += signals[0].T @ signals[0] / signals.shape[1]
            ways.append(_followed(net.mean.double().cpu(), signals, lips)[0])
        if not ways:  # of a rehearsal
            return net
        # lengths of what is rooted are how far lips move, as a root mean square
        root = torch.linalg.cholesky(alike / len(ways) + 1e-6 * torch.eye(len(alike))).T
        rooted = torch.stack([root @ way for way in ways]).flatten(1)
        middle = rooted.mean(0)
        _, sizes, across = torch.linalg.svd(rooted - middle, full_matrices=False)
        count = min(LIPS, len(sizes))

        def ways_of(x: Tensor) -> Tensor:
            return torch.linalg.solve(root, x.view(-1, *net.mean.shape)).float()

        net.mean.copy_(ways_of(middle)[0])
        net.basis[:count].copy_(STEP * ways_of(across[:count]))
        net.spread[:count].copy_((sizes[:count] / len(ways) ** 0.5 / STEP).clamp(min=1e-3))
        net.spread[count:] = 1e-3
        return net

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"follower.{k}": v for k, v in self._coding(nets).state_dict().items()}


def _followed(mean: Tensor, signals: Tensor, lips: Tensor) -> Tensor:
    """How lips (B, T, M) follow signals (B, T, S): ridge regression about the ``mean`` (S, M)."""
    back = signals.transpose(1, 2)
    ridge = RIDGE * torch.eye(signals.shape[2], dtype=signals.dtype, device=signals.device)
    return mean + torch.linalg.solve(back @ signals + ridge, back @ (lips - signals @ mean))
