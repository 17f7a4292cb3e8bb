"""Dense flow from face meshes: a thin-plate spline through mesh points, the border pinned.

The spline needs no training and is right on the face (Bookstein 1989); the renderer's network
learns a residual on top of it for what a mesh doesn't know: hair, shoulders, background.
Coordinates are those of ``grid_sample``: -1..1, x first, pixel corners at -1 and 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avcc.mesh import EYES, INNER_LIPS, INSIDE, LIPS, OVAL

# Half of each ring is enough: the spline is smooth between them, and the solve is cubic in points.
CONTROL = (*OVAL[::2], *INSIDE, *LIPS[:20:2], *INNER_LIPS[::2], *EYES[::2])
FEW = 8  # channels: with fewer, gathering rows isn't worth it
STIFF = 1e-3  # closed lips put two targets on one place: without it the system is singular


def border(per_side: int = 4) -> Tensor:
    """Points on the picture's edge that stay where they are, float32 (4 * per_side, 2)."""
    s = torch.linspace(-1, 1, per_side + 1)[:-1]
    one = torch.ones_like(s)
    sides = [(s, -one), (one, s), (-s, one), (-one, -s)]
    return torch.cat([torch.stack(p, -1) for p in sides]) * 1.02


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """r^2 log r^2 between points (B, N, 2) and (B, M, 2): (B, N, M)."""
    # |a|^2 + |b|^2 - 2ab as one product of matrices: no (B, N, M, 2) passes through memory
    one, other = a.square().sum(-1, keepdim=True), b.square().sum(-1, keepdim=True)
    left = torch.cat([-2 * a, one, torch.ones_like(one)], -1)
    right = torch.cat([b, torch.ones_like(other), other], -1)
    square = (left @ right.transpose(1, 2)).clamp_min_(0)
    return (square + 1e-6).log_().mul_(square)


def grid(size: int, device: torch.device | str = "cpu") -> Tensor:
    """Pixel centres of a size x size picture, float32 (size, size, 2)."""
    s = (torch.arange(size, device=device) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(s, s, indexing="ij")
    return torch.stack([x, y], -1)


def mesh_flow(target: Tensor, key: Tensor, size: int = 64) -> Tensor:
    """Where in the key frame each pixel of the target frame comes from (Bookstein 1989).

    ``target``, ``key``: meshes (B, 478, 2) in units of the side, 0..1. Returns float32
    (B, size, size, 2), sampling positions in the key frame, -1..1.
    """
    chosen = torch.tensor(CONTROL, device=target.device)
    pins = border().to(target.device).expand(len(target), -1, -1)
    to = torch.cat([target[:, chosen] * 2 - 1, pins], 1)
    come = torch.cat([key[:, chosen] * 2 - 1, pins], 1)
    n = to.shape[1]
    affine = torch.cat([torch.ones_like(to[..., :1]), to], -1)
    left = torch.zeros(len(to), n + 3, n + 3, device=to.device)
    left[:, :n, :n] = _kernel(to, to) + STIFF * torch.eye(n, device=to.device)
    left[:, :n, n:] = affine
    left[:, n:, :n] = affine.transpose(1, 2)
    right = torch.zeros(len(to), n + 3, 2, device=to.device)
    right[:, :n] = come - to  # displacement: far from every point the spline keeps still
    weight = torch.linalg.solve(left, right)
    place = grid(size, to.device).view(1, -1, 2).expand(len(to), -1, -1)
    # two rows by many columns: the other way round the product takes five times as long
    bent, shift, turn = weight.transpose(1, 2).split([n, 1, 2], 2)
    moved = turn @ place.transpose(1, 2) + shift + bent @ _kernel(to, place)
    return place.view(-1, size, size, 2) + moved.transpose(1, 2).reshape(-1, size, size, 2)


def resize_flow(flow: Tensor, size: int) -> Tensor:
    """Flow (B, s, s, 2) -> (B, size, size, 2): positions interpolate like any picture."""
    if flow.shape[1] == size:
        return flow
    # displacement, not position, is interpolated: the border would otherwise be clamped inwards
    # contiguous: two channels that lie last are resized four times as slowly
    moved = (flow - grid(flow.shape[1], flow.device)).permute(0, 3, 1, 2).contiguous()
    moved = F.interpolate(moved, (size, size), mode="bilinear", align_corners=False)
    return moved.permute(0, 2, 3, 1) + grid(size, flow.device)


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Picture or features (B, C, S, S) sampled at flow (B, s, s, 2), resized to S."""
    # in float32 always: positions in bfloat16 are half a pixel off
    with torch.autocast(flow.device.type, enabled=False):
        positions = resize_flow(flow.float(), picture.shape[-1])
        if _one_for_all(picture):
            return _gathered(picture[0].float(), positions)
        return F.grid_sample(picture.float(), positions, padding_mode="border", align_corners=False)


def _one_for_all(picture: Tensor) -> bool:
    """Whether features (B, C, S, S) are one key frame's, B times, and nobody learns from them."""
    if torch.compiler.is_compiling() or picture.device.type != "cpu" or picture.requires_grad:
        return False
    return picture.stride(0) == 0 and picture.shape[1] >= FEW


def _gathered(features: Tensor, positions: Tensor) -> Tensor:
    """Features (C, S, S) sampled at positions (B, S, S, 2), as ``grid_sample`` does it.

    A pixel is a weighted sum of four rows of C numbers, which is what a bag of embeddings is; on a
    CPU that is three times as fast, and what comes is channels last, as convolutions want it.
    """
    size = features.shape[-1]
    place = positions.add(1).mul_(size / 2).sub_(0.5).clamp_(0, size - 1)
    corner = place.floor().clamp_(max=size - 2)
    right, down = place.sub_(corner).unbind(-1)
    x, y = corner.int().unbind(-1)
    first = y * size + x
    which = torch.stack([first, first + 1, first + size, first + size + 1], -1)
    left, up = 1 - right, 1 - down
    weight = torch.stack([left * up, right * up, left * down, right * down], -1)
    rows = features.permute(1, 2, 0).contiguous().view(size * size, -1)  # free if channels last
    sums = F.embedding_bag(
        which.view(-1, 4), rows, mode="sum", per_sample_weights=weight.view(-1, 4)
    )
    return sums.view(*positions.shape[:3], -1).permute(0, 3, 1, 2)


def part_maps(mesh: Tensor, size: int = 64) -> Tensor:
    """Soft maps of inner lips, outer lips, eyes and irises, float32 (B, 4, size, size) in 0..1."""
    place = (grid(size, mesh.device) + 1) / 2
    rings = (INNER_LIPS, LIPS[:20], EYES, (468, 473))
    maps = []
    for ring in rings:
        points = mesh[:, list(ring)]
        x = (place[0, :, 0] - points[..., :1]).square()  # B, P, size
        y = (place[:, 0, 1] - points[..., 1:]).square()
        spread = 2 * (1.2 / 64) ** 2
        peaks = (-y / spread).exp()[..., :, None] * (-x / spread).exp()[..., None, :]
        maps.append(peaks.amax(1))
    return torch.stack(maps, 1)
