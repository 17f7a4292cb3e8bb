"""Perceptual distances between pictures, from two SqueezeNets that stand in a folder.

``Lpips`` is the exact LPIPS v0.1 with ``net="squeeze"`` (Zhang et al., 2018; heads BSD-2, the
network torchvision's SqueezeNet 1.1, BSD-3). ``SecondDistance`` compares the same taps of the
original Caffe SqueezeNet (forresti/SqueezeNet, BSD-2), a network from another training run that no
loss of ours has seen: a metric against overfitting to LPIPS, uncalibrated, so read it in relation
only. Neither needs torchvision. The networks aren't ours to ship: the folder is named by an
argument or by ``AVCC_PERCEPTUAL``, and ``load`` gives ``None`` and a note where it is absent.

Measured (scikit-image's astronaut[:256, 100:356]): LPIPS to its JPEG of quality 50 (4:4:4) is
0.0980, as by ``lpips`` 0.1.4.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from avcc.evaluation.digests import digest_of

FOLDER_VARIABLE = "AVCC_PERCEPTUAL"
BACKBONE = "squeezenet1_1.safetensors"
HEADS = "lpips_squeeze_lin_v0.1.safetensors"
SECOND_BACKBONE = "squeezenet1_1_caffe_fp16.safetensors"

_FIRES = {  # index in torchvision's ``features``: channels in, squeezed, expanded (each half)
    3: (64, 16, 64),
    4: (128, 16, 64),
    6: (128, 32, 128),
    7: (256, 32, 128),
    9: (256, 48, 192),
    10: (384, 48, 192),
    11: (384, 64, 256),
    12: (512, 64, 256),
}
_POOLS = (2, 5, 8)
_TAPS = (1, 4, 7, 9, 10, 11, 12)
_CHANNELS = (64, 128, 256, 384, 384, 512, 512)

_Measure = TypeVar("_Measure", "Lpips", "SecondDistance")


class _Fire(nn.Module):
    """SqueezeNet's block: squeeze 1x1, then expand 1x1 and 3x3 side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.squeeze(x))
        return functional.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class SqueezeTaps(nn.Module):
    """SqueezeNet 1.1 up to its last fire block, giving the seven activations that LPIPS reads.

    Parameters carry torchvision's names without the ``features.`` prefix.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.add_module("0", nn.Conv2d(3, 64, 3, stride=2))
        for index, sizes in _FIRES.items():
            self.add_module(str(index), _Fire(*sizes))
        prefix = "features."
        weights = {
            key.removeprefix(prefix): value.float()
            for key, value in load_file(path).items()
            if key.startswith(prefix)
        }
        self.load_state_dict(weights, strict=True)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), preprocessed -> seven (B, C, H', W') at strides 2, 4, 8 and four at 16."""
        taps = []
        x = functional.relu(self.get_submodule("0")(x))
        taps.append(x)
        for index in range(2, 13):
            if index in _POOLS:
                x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
            else:
                x = self.get_submodule(str(index))(x)
            if index in _TAPS:
                taps.append(x)
        return taps


class _Distance(torch.autograd.Function):
    """Weighted squared distance of features (B, C, H, W) of unit length over channels: (B,).

    By hand, a picture at a time, because it's a third of a training step's time otherwise: some
    twenty passes over the largest features, which fit no cache. float32 inside.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, head: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, head)
        pairs = zip(a, b, strict=True)
        return torch.stack([((_unit(x)[0] - _unit(y)[0]).square() @ head).mean() for x, y in pairs])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        a, b, head = ctx.saved_tensors
        out = [
            torch.empty_like(x) if ctx.needs_input_grad[i] else None for i, x in enumerate((a, b))
        ]
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            (u, short), (v, other) = _unit(x), _unit(y)
            back = (u - v) * (head * (2 * grad[i] / len(u)))
            for to, unit, scale, sign in ((out[0], u, short, 1), (out[1], v, other, -1)):
                if to is not None:
                    along = (back * unit).sum(1, keepdim=True)
                    moved = (back - unit * along) * (scale * sign)
                    to[i] = moved.view(*x.shape[1:], -1).permute(2, 0, 1)
        return out[0], out[1], None


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Features (C, H, W) -> unit rows float32 (H * W, C), and what they were multiplied by."""
    rows = x.permute(1, 2, 0).reshape(-1, len(x)).float()
    # gradients stay finite where a column is all zero
    scale = torch.rsqrt(rows.square().sum(1, keepdim=True) + 1e-20)
    return rows * scale, scale


def _taps(network: SqueezeTaps, x: Tensor) -> list[Tensor]:
    """Taps of ``x``; without a graph where nothing wants a gradient (the target of a loss)."""
    with torch.set_grad_enabled(torch.is_grad_enabled() and x.requires_grad):
        return network(x.contiguous(memory_format=torch.channels_last))


class Lpips(nn.Module):
    """LPIPS v0.1, ``net="squeeze"``: 0 for equal pictures, about 0.1 for JPEG of quality 50.

    A metric and a training loss: differentiable in both arguments, its own weights frozen; fit for
    ``channels_last`` and for bf16 autocast (the distance itself is taken in float32).
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        folder = Path(folder)
        self.network = SqueezeTaps(folder / BACKBONE)
        heads = load_file(folder / HEADS)
        for index, channels in enumerate(_CHANNELS):
            head = heads[f"lin{index}.model.1.weight"].float().reshape(1, channels, 1, 1)
            self.register_buffer(f"head{index}", head)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.eval()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``x``, ``y``: float RGB (B, 3, H, W) in -1..1 -> (B,)."""
        taps_x = _taps(self.network, (x - self.shift) / self.scale)
        taps_y = _taps(self.network, (y - self.shift) / self.scale)
        total = torch.zeros(x.shape[0], device=x.device)
        for index, (a, b) in enumerate(zip(taps_x, taps_y, strict=True)):
            total = total + _Distance.apply(a, b, self.get_buffer(f"head{index}").flatten())
        return total


class SecondDistance(nn.Module):
    """Mean over the taps of the squared L2 distance of unit-normalised Caffe SqueezeNet features.

    0 for equal pictures; uncalibrated, at most 2 (features are not negative).
    """

    mean: Tensor

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.network = SqueezeTaps(Path(folder) / SECOND_BACKBONE)
        self.register_buffer("mean", torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1))
        self.eval()

    def taps(self, x: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W) in -1..1 -> the network's seven activations (``SqueezeTaps``)."""
        # it was trained on BGR in 0..255, less the mean
        return _taps(self.network, (x.flip(1) + 1) * 127.5 - self.mean)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``x``, ``y``: float RGB (B, 3, H, W) in -1..1 -> (B,)."""
        taps_x, taps_y = self.taps(x), self.taps(y)
        total = torch.zeros(x.shape[0], device=x.device)
        for a, b in zip(taps_x, taps_y, strict=True):
            total = total + _Distance.apply(a, b, a.new_ones(a.shape[1], dtype=torch.float32))
        return total / len(taps_x)


def perceptual_folder(folder: str | Path | None = None) -> Path | None:
    """The folder that holds the networks: the argument, else ``AVCC_PERCEPTUAL``, else ``None``."""
    named = folder or os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else None


def load(kind: type[_Measure], folder: str | Path | None = None) -> tuple[_Measure | None, str]:
    """A distance and an empty note, or ``None`` and a sentence that says why there is none."""
    found = perceptual_folder(folder)
    if found is None:
        return None, f"{kind.__name__} absent: name a folder (--perceptual or {FOLDER_VARIABLE})"
    try:
        return kind(found), ""
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        return None, f"{kind.__name__} absent: {error}"


def identity(folder: str | Path | None = None) -> str:
    """A digest of the networks' files; empty where there are none."""
    found = perceptual_folder(folder)
    if found is None:
        return ""
    files = (found / name for name in (BACKBONE, HEADS, SECOND_BACKBONE))
    return digest_of(*(path for path in files if path.is_file()))


def distances(
    measure: Lpips | SecondDistance, a: np.ndarray, b: np.ndarray, batch: int = 16
) -> np.ndarray:
    """Distances of uint8 frames ``a`` and ``b`` (N, H, W, 3), pairwise: float64 (N,)."""
    results = []
    with torch.inference_mode():
        for start in range(0, len(a), batch):
            pair = [signed(part[start : start + batch]) for part in (a, b)]
            results.append(measure(*pair).double().cpu().numpy())
    return np.concatenate(results) if results else np.zeros(0)


def signed(frames: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in -1..1, in channels-last memory."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
