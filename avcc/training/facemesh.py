"""Stage ``facemesh``: our own face mesh, distilled from MediaPipe's on clips and stills."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.evaluation.picture import eye_distances
from avcc.media.facenet import MODES, MeshNet
from avcc.media.upright import frames_of
from avcc.mesh import EYES, LIPS, POINTS, point_weights
from avcc.training.data import Part, part
from avcc.training.export import restore
from avcc.training.facecuts import FaceCuts
from avcc.training.facelook import shown, worn
from avcc.training.loop import Options, Stage

SHARES = (0.3, 0.5, 1.0)  # of the loss, of every look
GAPS = ((13, 14), (82, 87), (312, 317), (159, 145), (386, 374))  # of the mouth, of the lids
OPEN = 0.6  # weight of the error of how far they are open, against the error of the points
MOVES = 0.5  # weight of how a pair's error differs, against the error itself
HELD_EVERY = 5  # of the validation frames


class FaceMeshStage(Stage):
    """Distance of the points, and of the points' moves between two frames of a clip."""

    name = "facemesh"
    batch = 64

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.cuts = FaceCuts(options)
        self.held = part(options.cache, "hi_val", teacher=True)
        self.weight = torch.from_numpy(point_weights()).to(options.device)
        upright = self.cuts.upright()
        net = MeshNet()
        net.mean.copy_(torch.from_numpy(upright.mean(0).ravel()))
        flat = (upright - upright.mean(0)).reshape(len(upright), -1)
        spread, directions = np.linalg.svd(flat, full_matrices=False)[1:]
        size = spread[:MODES, None] / np.sqrt(len(flat))
        with torch.no_grad():
            net.modes.copy_(torch.from_numpy(directions[:MODES] * size))
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.nets["mesh"] = net
        self.optims["mesh"] = self.adam(net, 2e-3, weight_decay=0.02)

    def begin(self, tensors: dict[str, Tensor]) -> None:
        restore(self.nets["mesh"], tensors, "mesh")

    def step(self, i: int) -> dict[str, float]:
        drawn = self.next(partial(self.cuts.drawn, count=self.batch))
        x = {k: torch.as_tensor(v).to(self.o.device) for k, v in drawn.items()}
        picture, mesh = shown(x)
        picture = worn(picture, self.rng)
        net, face = self.nets["mesh"], x["face"]
        assert isinstance(net, MeshNet)
        with self.autocast():
            meshes, there = net.all(picture.contiguous(memory_format=torch.channels_last))
        eyes = (mesh[:, 468] - mesh[:, 473]).norm(dim=-1).clamp_min(0.1)[:, None, None]
        counts = face[:, None, None] * self.weight[None, :, None] / self.weight.mean()
        losses = []
        for found in meshes:
            off = (found.float() - mesh) / eyes
            moved = off[0::2] - off[1::2]
            near = F.smooth_l1_loss(off, torch.zeros_like(off), reduction="none", beta=0.01)
            steady = F.smooth_l1_loss(moved, torch.zeros_like(moved), reduction="none", beta=0.01)
            gap = off[:, [a for a, _ in GAPS]] - off[:, [b for _, b in GAPS]]
            opened = F.smooth_l1_loss(gap, torch.zeros_like(gap), reduction="none", beta=0.01)
            loss = (near * counts).mean() + MOVES * (steady * counts[::2]).mean()
            losses.append(loss + OPEN * (opened * face[:, None, None]).mean())
        sure = F.binary_cross_entropy_with_logits(there.float(), face)
        total = sum(s * loss for s, loss in zip(SHARES, losses, strict=True)) + 0.05 * sure
        assert isinstance(total, Tensor)
        self.descend("mesh", total)
        with torch.no_grad():
            away = (off.norm(dim=-1) * face[:, None]).sum() / (face.sum() * POINTS + 1e-6)
        right = ((there > 0) == (face > 0)).float().mean()
        return {"away": 100 * away.item(), "sure": sure.item(), "right": right.item()}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """Distances from MediaPipe's points in % of the eye distance, on frames that are looked at
        where the face was in the frame before: all points, lips, eyes; ``moves``: of the points
        less a clip's mean error; ``missed``: frames that seem to hold no face."""
        return figures(nets["mesh"], self.held, self.o.device)

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"mesh.{k}": v for k, v in nets["mesh"].state_dict().items()}


@torch.no_grad()
def figures(net: nn.Module, held: Part, device: str) -> dict[str, float]:
    """What ``FaceMeshStage.validate`` says."""
    every, lips, eyes, moves, missed = [], [], [], [], []
    for row in held.index:
        now = row["start"] + np.arange(1, row["frames"], HELD_EVERY)
        now = now[~np.isnan(held.mesh[now, 0, 0]) & ~np.isnan(held.mesh[now - 1, 0, 0])]
        if len(now) < 2:
            continue
        axes, centre = frames_of(held.mesh[now - 1])
        made, there = [], []
        for cut in np.split(np.arange(len(now)), range(64, len(now), 64)):
            batch = {
                "picture": torch.from_numpy(np.stack([held.frames[i] for i in now[cut]])),
                "mesh": torch.from_numpy(held.mesh[now[cut]]),
                "axes": torch.from_numpy(axes[cut]),
                "centre": torch.from_numpy(centre[cut]),
            }
            picture, _ = shown({k: v.to(device) for k, v in batch.items()})
            mesh, sure = net(picture)
            made.append(mesh.float().cpu().numpy())
            there.append(sure.float().cpu().numpy())
        mesh = np.concatenate(made) / 2 @ axes + centre
        true = held.mesh[now]
        off = 100 * (mesh - true) / eye_distances(true)[:, None, None]
        every.append(np.linalg.norm(off, axis=-1).mean())
        lips.append(np.linalg.norm(off[:, list(LIPS)], axis=-1).mean())
        eyes.append(np.linalg.norm(off[:, list(EYES)], axis=-1).mean())
        moves.append(np.linalg.norm(off - off.mean(0), axis=-1).mean())
        missed.append((np.concatenate(there) < 0).mean())
    named = {"score": every, "lips": lips, "eyes": eyes, "moves": moves, "missed": missed}
    return {k: float(np.mean(v)) for k, v in named.items()}
