"""Our own face mesh: a network that looks at an upright face and says where its 478 points are.

Distilled from MediaPipe's mesh (Grishchenko et al. 2020, "Attention Mesh"). A first guess comes
from the whole face at a low resolution; then the network looks, twice, at what lies under the
points that it has guessed, as cascaded regression does (Xiong and De la Torre 2013, "Supervised
Descent"), at twice the pixel's size of the input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from avcc.mesh import EYES, INSIDE, IRISES, LIPS, OVAL, POINTS

SIDE = 128  # pixels of the upright face that the network sees
MODES = 96  # of a mesh: every mesh is a mean and so many directions
LOOKS = 2  # how often it looks again
UNDER = 16  # features under a point
WATCHED = tuple(dict.fromkeys((*LIPS, *EYES, *IRISES, *OVAL, *INSIDE)))


class Conv(nn.Module):
    """Convolution, batch norm and, unless told otherwise, ReLU."""

    def __init__(self, into: int, out: int, size: int = 3, step: int = 1, last: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(into, out, size, step, size // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return x.relu_() if self.last else x

    def fuse(self) -> None:
        """Put the norm's scales into the convolution, for inference."""
        assert isinstance(self.norm, nn.BatchNorm2d)
        self.conv = fuse_conv_bn_eval(self.conv, self.norm)
        self.norm = nn.Identity()


class Block(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.a, self.b = Conv(width, width), Conv(width, width, last=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.b(self.a(x))).relu_()


class MeshNet(nn.Module):
    """Upright faces (B, 3, 128, 128) in -1..1 -> meshes (B, 478, 2) in -1..1 over the picture's
    width and height, and how sure it is that a face is there at all (B,), a logit."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(Conv(3, 24, 5, 2), Conv(24, 24))
        self.middle = nn.Sequential(Conv(24, 48, 3, 2), Block(48))
        self.coarse = nn.Sequential(Conv(48, 72, 3, 2), Block(72), Block(72))
        self.whole = nn.Sequential(Conv(72, 96, 3, 2), Block(96), Block(96))
        self.narrow = Conv(96, 20, 1)
        self.guess = nn.Linear(20 * (SIDE // 16) ** 2, MODES)
        self.there = nn.Linear(96, 1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in ((96, 72), (72, 32), (32, UNDER)))
        self.across = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in ((48, 32), (24, UNDER)))
        self.mix = nn.ModuleList([Conv(32, 32), Conv(UNDER, UNDER)])
        self.look = nn.ModuleList(nn.Linear(UNDER * len(WATCHED), MODES) for _ in range(LOOKS))
        self.step = nn.ModuleList(nn.Linear(MODES, MODES) for _ in range(LOOKS))
        self.modes = nn.Parameter(torch.zeros(MODES, POINTS * 2))
        self.register_buffer("mean", torch.zeros(POINTS * 2))
        for layer in (self.guess, *self.step):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        meshes, there = self.all(x)
        return meshes[-1], there

    def all(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """As ``forward``, with the meshes of every look, the last one last."""
        fine = self.fine(x)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        whole = self.whole(coarse)
        code = self.guess(self.narrow(whole).flatten(1))
        there = self.there(whole.mean((2, 3)))[:, 0]
        y = coarse + _double(self.down[0](whole))
        y = self.mix[0](self.across[0](middle) + _double(self.down[1](y)))
        y = self.mix[1](self.across[1](fine) + _double(self.down[2](y)))
        meshes = [self._mesh(code)]
        for look, step in zip(self.look, self.step, strict=True):
            at = meshes[-1][:, None, list(WATCHED)].detach()
            seen = F.grid_sample(y.float(), at, padding_mode="border", align_corners=False)
            code = code + step(look(seen.flatten(1)).relu())
            meshes.append(self._mesh(code))
        return meshes, there

    def _mesh(self, code: Tensor) -> Tensor:
        with torch.autocast(code.device.type, enabled=False):  # a point needs all its digits
            return (self.mean + code.float() @ self.modes).reshape(-1, POINTS, 2)


def fused(net: nn.Module) -> nn.Module:
    """The network for inference: norms inside their convolutions."""
    net.eval()
    for part in net.modules():
        if isinstance(part, Conv):
            part.fuse()
    return net


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
