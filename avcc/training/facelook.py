"""Faces as the face mesh's network sees them in training: cut out, bent, in any light."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from avcc.media.facenet import SIDE


def shown(x: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Pictures uint8 (B, H, W, 3) -> what lies in the frames ``axes`` (B, 2, 2) and ``centre``
    (B, 1, 2), (B, 3, 128, 128) in -1..1, bent by ``warp`` where there is one; and the meshes
    there."""
    picture = x["picture"].permute(0, 3, 1, 2).float() / 127.5 - 1
    at = (torch.arange(SIDE, device=picture.device) + 0.5) / SIDE - 0.5
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    pixels = torch.stack([columns, rows], -1)[None]
    mesh = (x["mesh"] - x["centre"]) @ torch.linalg.inv(x["axes"])
    if "warp" in x:
        field = F.interpolate(x["warp"], (SIDE, SIDE), mode="bicubic", align_corners=True)
        there = mesh
        for _ in range(4):  # the field is smooth and small: this converges
            bent = F.grid_sample(
                field, 2 * there[:, None], padding_mode="border", align_corners=False
            )
            there = mesh - bent[:, :, 0].transpose(1, 2)
        mesh = there
        pixels = pixels + field.permute(0, 2, 3, 1)
    where = (pixels.flatten(1, 2) @ x["axes"] + x["centre"]).reshape(-1, SIDE, SIDE, 2)
    return F.grid_sample(picture, 2 * where - 1, align_corners=False), 2 * mesh


def worn(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Other light, other cameras, other coders, and things in front."""
    n, device = len(x), x.device

    def some(chance: float) -> Tensor:
        # a pair shares what its clip has
        return (torch.rand(n // 2, device=device) < chance).repeat_interleave(2)[
            :, None, None, None
        ]

    def drawn(*shape: int) -> Tensor:
        return torch.randn(n // 2, *shape, device=device).repeat_interleave(2, 0)

    x = (x + 1) / 2
    x = torch.where(some(0.1), x.mean(1, keepdim=True).expand_as(x), x)
    x = x.clamp(1e-3, 1) ** (0.25 * drawn(1, 1, 1)).exp()
    x = x * (0.25 * drawn(1, 1, 1) + 0.1 * drawn(3, 1, 1)).exp() + 0.06 * drawn(1, 1, 1)
    light = F.interpolate(0.3 * drawn(1, 3, 3), x.shape[2:], mode="bicubic", align_corners=True)
    x = torch.where(some(0.25), x * light.exp(), x)
    factor = int(rng.choice([1, 1, 1, 2, 3]))
    if factor > 1:
        small = F.interpolate(x, scale_factor=1 / factor, mode="area")
        small = F.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)
        x = torch.where(some(0.4), small, x)
    x = x + torch.randn_like(x) * (0.03 * torch.rand(n, 1, 1, 1, device=device))
    cover = F.interpolate(torch.randn(n, 4, 5, 5, device=device), x.shape[2:], mode="bilinear")
    hidden = (cover[:, 3:] > 1.1) & some(0.1)
    x = torch.where(hidden, 0.5 + 0.4 * cover[:, :3], x)
    return (2 * x - 1).clamp(-1.2, 1.2)
