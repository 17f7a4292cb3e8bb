"""Renderer: decoded key frame + meshes -> pictures. Warp by the mesh, refine by a network.

Work that depends on the key frame alone (its features, and its restoration from coding damage) is
done once; what remains for each frame is about 1.5 G multiply-adds, mostly at 128x128 and below.
After LIA and FOMM (Siarohin et al. 2019) in outline: flow + occlusion, warped features, decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.render.blocks import Residual, double, plus, silu
from avcc.render.warp import grid, mesh_flow, part_maps, warp
from avcc.stages import MOTION

# What restoration adds to a key frame of so many bytes is halved, and how steeply that goes: it
# mends a small one and takes detail from a large one (docs/training.md, round 5).
HALVED, STEEP = 2100.0, 3.2
NEAR = 100.0  # how much a key frame whose mesh is nearer counts, by the side


@dataclass(frozen=True)
class KeyFeatures:
    """What the key frame gives once: the restored picture and its features at three sizes."""

    picture: Tensor  # B, 3, 256, 256 in -1..1
    mesh: Tensor  # B, 478, 2
    large: Tensor  # B, 32, 128, 128
    middle: Tensor  # B, 64, 64, 64
    small: Tensor  # B, 128, 32, 32

    def expand(self, count: int) -> KeyFeatures:
        """One key frame for ``count`` frames, without copying."""
        parts = (self.picture, self.mesh, self.large, self.middle, self.small)
        return KeyFeatures(*(p.expand(count, *p.shape[1:]) for p in parts))

    def every(self, step: int, first: int) -> KeyFeatures:
        """Of several key frames a clip, one."""
        parts = (self.picture, self.mesh, self.large, self.middle, self.small)
        return KeyFeatures(*(p[first::step] for p in parts))

    def repeat(self, times: int) -> KeyFeatures:
        """Each key frame of the batch ``times`` times in a row."""
        parts = (self.picture, self.mesh, self.large, self.middle, self.small)
        return KeyFeatures(*(p.repeat_interleave(times, 0) for p in parts))


class _View(NamedTuple):
    """What one key frame offers for B pictures."""

    seen: Tensor  # B, 96, 32, 32
    flow: Tensor  # B, 64, 64, 2
    open: Tensor  # B, 1, 32, 32 in 0..1: the key frame shows what is here
    score: Tensor  # B, 1, 32, 32, larger where it shows it better than another key frame


class Renderer(nn.Module):
    """``key`` once, then ``forward`` for any number of frames."""

    def __init__(self, code: int = 64) -> None:
        super().__init__()
        self.entry = nn.Conv2d(12, 32, 3, padding=1)
        self.large = nn.Sequential(Residual(32), Residual(32))
        self.to_middle = nn.Conv2d(32, 64, 4, 2, 1)
        self.middle = nn.Sequential(Residual(64), Residual(64))
        self.to_small = nn.Conv2d(64, 128, 4, 2, 1)
        self.small = nn.Sequential(Residual(128), Residual(128), Residual(128))
        self.restore_small = nn.Conv2d(128, 64, 1)
        self.restore_middle = nn.Sequential(Residual(64), nn.Conv2d(64, 32, 1))
        self.restore_large = nn.Sequential(Residual(32), nn.SiLU(), nn.Conv2d(32, 12, 3, padding=1))

        self.code = nn.Sequential(nn.Linear(MOTION, code), nn.SiLU(), nn.Linear(code, code))
        self.look = nn.Conv2d(64 + 3 + 2 + 4, 48, 3, padding=1)
        self.shrink = nn.Conv2d(48, 96, 3, 2, 1)
        self.think = Residual(96, code)
        self.flow = nn.Conv2d(96, 4, 3, padding=1)  # flow, occlusion, score
        self.near = nn.Parameter(torch.ones(()))

        self.join = nn.Conv2d(96, 128, 1)
        self.deep = nn.Conv2d(128, 128, 3, padding=1)
        self.deeper = Residual(128, code)
        self.up_middle = nn.Conv2d(128, 64, 1)
        self.at_middle = Residual(64, code)
        self.up_large = nn.Conv2d(64, 32, 1)
        self.at_large = Residual(32, code)
        self.exit = nn.Conv2d(32, 12, 3, padding=1)
        for last in (self.restore_large[-1], self.flow, self.exit):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def key(
        self, picture: Tensor, mesh: Tensor, size: Tensor, share: Tensor | None = None
    ) -> KeyFeatures:
        """Decoded key frame (B, 3, 256, 256) in -1..1, its mesh (B, 478, 2), its bytes (B,), and
        how much restoration counts, (B,) in 0..1, unless that follows from them."""
        # channels last, or every warp of a feature would copy it first
        x = self._typed(F.pixel_unshuffle(picture, 2)).contiguous(memory_format=torch.channels_last)
        large = self.large(self.entry(x))
        middle = self.middle(self.to_middle(large))
        small = self.small(self.to_small(middle))
        x = double(self.restore_small(small)) + middle
        x = double(self.restore_middle(x)) + large
        added = F.pixel_shuffle(self.restore_large(x), 2)
        share = restored_share(size) if share is None else share
        restored = picture + share[:, None, None, None] * added.float()
        # what is warped is float32, whatever it was made in
        return KeyFeatures(restored, mesh, large.float(), middle.float(), small.float())

    def forward(
        self,
        keys: Sequence[KeyFeatures],
        mesh: Tensor,
        motion: Tensor,
        prior: Tensor | None = None,
    ) -> Tensor:
        """Meshes (B, 478, 2) and motion codes (B, 20) -> pictures (B, 3, 256, 256) in -1..1.

        Each of ``keys`` holds one key frame for each of the B pictures; what they show is blended,
        pixel by pixel, in shares that a softmax over the keys gives, ``prior`` (keys, B) added.
        """
        with torch.autocast(mesh.device.type, enabled=False):
            splines = [mesh_flow(mesh.float(), key.mesh.float()) for key in keys]
        return self.along(splines, keys, mesh, motion, prior)

    def along(
        self,
        splines: Sequence[Tensor],
        keys: Sequence[KeyFeatures],
        mesh: Tensor,
        motion: Tensor,
        prior: Tensor | None = None,
    ) -> Tensor:
        """The same along flows (B, 64, 64, 2) that are known: no system of equations is solved."""
        with torch.autocast(mesh.device.type, enabled=False):
            maps = part_maps(mesh.float())
        code = self.code(self._typed(motion / 4))
        pairs = zip(keys, splines, strict=True)
        views = [self._view(key, spline, mesh, maps, code) for key, spline in pairs]
        shares = self._shares(views, prior)
        y = self.join(self._typed(_blend(shares, [v.seen for v in views])))
        opens = [share * v.open for share, v in zip(shares, views, strict=True)]
        flows = [v.flow for v in views]

        def warped(features: Sequence[Tensor]) -> Tensor:
            """What the key frames show of a size, where they show what is here."""
            size = features[0].shape[-1]
            seen = [warp(x, flow) for x, flow in zip(features, flows, strict=True)]
            if len(seen) == 1 and not torch.is_grad_enabled():
                return self._typed(seen[0].mul_(_sized(opens[0], size)))
            return self._typed(_blend([_sized(x, size) for x in opens], seen))

        y = plus(y, warped([key.small for key in keys]))
        y = self.deeper(self.deep(silu(y)), code)
        y = plus(double(self.up_middle(y)), warped([key.middle for key in keys]))
        y = self.at_middle(y, code)
        y = plus(double(self.up_large(y)), warped([key.large for key in keys]))
        y = self.at_large(y, code)
        shown = [warp(key.picture, flow) for key, flow in zip(keys, flows, strict=True)]
        if len(keys) > 1:
            shown = [_blend([_sized(x, 256) for x in shares], shown)]
        # contiguous: channels that lie last are shuffled twice as slowly
        return plus(shown[0], F.pixel_shuffle(self.exit(silu(y)).contiguous(), 2).float())

    def _typed(self, x: Tensor) -> Tensor:
        """In what the weights are: float32, or bfloat16 where that is drawn with."""
        return x.to(self.entry.weight.dtype)

    @staticmethod
    def _shares(views: Sequence[_View], prior: Tensor | None) -> Tensor:
        """Of each key frame, (keys, B, 1, 32, 32)."""
        scores = torch.stack([v.score for v in views])
        if prior is not None:
            scores = scores + prior[:, :, None, None, None]
        return scores.softmax(0)

    def _view(
        self, key: KeyFeatures, spline: Tensor, mesh: Tensor, maps: Tensor, code: Tensor
    ) -> _View:
        """How one key frame sees the pictures to be drawn."""
        with torch.autocast(mesh.device.type, enabled=False):
            away = (mesh - key.mesh).float().norm(dim=-1).mean(1)[:, None, None, None]
        look = [
            warp(key.middle, spline),
            F.interpolate(warp(key.picture, spline), (64, 64), mode="area"),
            (spline - grid(64, spline.device)).permute(0, 3, 1, 2) * 4,
            maps,
        ]
        x = self._typed(torch.cat(look, 1)).contiguous(memory_format=torch.channels_last)
        x = self.look(x)
        x = self.think(self.shrink(silu(x)), code)
        change = self.flow(F.silu(x)).float()
        fine = F.interpolate(change[:, :2], (64, 64), mode="bilinear", align_corners=False)
        score = change[:, 3:] - NEAR * self.near * away
        flow = spline + fine.permute(0, 2, 3, 1) * 0.2
        return _View(x, flow, torch.sigmoid(change[:, 2:3] + 3), score)


def restored_share(size: Tensor) -> Tensor:
    """How much restoration counts in key frames of ``size`` bytes (B,): nearly 1 at 500."""
    return 1 / (1 + (size.float() / HALVED) ** STEEP)


def _blend(shares: Sequence[Tensor] | Tensor, parts: Sequence[Tensor]) -> Tensor:
    """The sum of the parts, each multiplied by its share."""
    total = shares[0] * parts[0]
    for share, part in zip(shares[1:], parts[1:], strict=True):
        total = torch.addcmul(total, share, part)
    return total


def _sized(mask: Tensor, size: int) -> Tensor:
    if mask.shape[-1] == size:
        return mask
    return F.interpolate(mask, (size, size), mode="bilinear", align_corners=False)
