"""A TensorFlow Lite graph as a torch module: a network whose mistakes can be differentiated.

MediaPipe runs its networks where no gradient comes through. This holds what its face meshes are
made of: convolutions and their like, and three operators of MediaPipe's own, which look at lips
and eyes once more where the first mesh has found them (Grishchenko et al. 2020, "Attention Mesh").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Do = Callable[..., Tensor]


class Graph(nn.Module):
    """The graph of one ``.tflite`` file: picture (B, 3, H, W) -> its outputs in order.

    Pictures are NCHW inside, points (B, N, 2 or 3). ``regions``: which points each region that is
    looked at again consists of. Raises ``ValueError`` where an operator isn't known here.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        import tflite

        model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
        graph = model.Subgraphs(0)
        names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if not k.startswith("_")}
        arrays = _arrays(model, graph)
        self.steps: list[tuple[Do, list[int], int]] = []  # what to do, with what, giving what
        self.regions: list[list[int]] = []
        for i in range(graph.OperatorsLength()):
            operator = graph.Operators(i)
            code = model.OperatorCodes(operator.OpcodeIndex())
            name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            if name == "CUSTOM":
                name = code.CustomCode().decode()
            into, out = operator.InputsAsNumpy().tolist(), int(operator.OutputsAsNumpy()[0])
            if name == "DEQUANTIZE":
                arrays[out] = arrays[into[0]].astype(np.float32)
                continue
            held = [arrays[j] for j in into if j in arrays]
            do = self._made(name, operator, held, graph.Tensors(out).ShapeAsNumpy().tolist())
            self.steps.append((do, [j for j in into if j not in arrays], out))
        self.entry = int(graph.InputsAsNumpy()[0])
        self.exits = graph.OutputsAsNumpy().tolist()
        self.layers = nn.ModuleList(f for f, _, _ in self.steps if isinstance(f, nn.Module))

    def _made(self, name: str, operator: Any, held: list[np.ndarray], shape: list[int]) -> Do:
        import tflite

        def options(kind: str) -> Any:
            found = getattr(tflite, f"{kind}Options")()
            table = operator.BuiltinOptions()
            found.Init(table.Bytes, table.Pos)
            return found

        match name:
            case "CONV_2D":
                o = options("Conv2D")
                return _Convolution(held[0].transpose(0, 3, 1, 2), held[1], o, 1)
            case "DEPTHWISE_CONV_2D":
                o = options("DepthwiseConv2D")
                return _Convolution(held[0].transpose(3, 0, 1, 2), held[1], o, len(held[1]))
            case "MAX_POOL_2D":
                o = options("Pool2D")
                return partial(F.max_pool2d, kernel_size=o.FilterHeight(), stride=o.StrideH())
            case "PRELU":
                return partial(_prelu, slope=torch.from_numpy(held[0].ravel().copy()))
            case "ADD":
                return torch.add
            case "MUL":
                return partial(_product, other=torch.from_numpy(held[0].copy()))
            case "PAD":
                _, *pixels, channels = held[0].tolist()  # N, H, W, C
                return partial(F.pad, pad=[*pixels[1], *pixels[0], *channels])
            case "RESHAPE":
                return partial(_shaped, shape=shape[1:])
            case "STRIDED_SLICE":  # of all that there is
                return nn.Identity()
            case "Landmarks2TransformMatrix":
                told = _told(operator)
                self.regions.append(told["subset_idxs"])
                return partial(_region, told=told)
            case "TransformTensorBilinear":
                return partial(_looked_at, size=shape[1])
            case "TransformLandmarks":
                return _moved
        raise ValueError(f"the operator {name} isn't known here")

    def forward(self, x: Tensor) -> list[Tensor]:
        have = {self.entry: x}
        for do, into, out in self.steps:
            have[out] = do(*(have[i] for i in into))
        return [have[i] for i in self.exits]


def _arrays(model: Any, graph: Any) -> dict[int, np.ndarray]:
    """The tensors that the file holds itself."""
    kinds = {0: np.float32, 1: np.float16, 2: np.int32}
    found: dict[int, np.ndarray] = {}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        data = model.Buffers(tensor.Buffer()).DataAsNumpy()
        if isinstance(data, np.ndarray) and len(data):
            found[i] = data.view(kinds[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
    return found


def _told(operator: Any) -> dict[str, Any]:
    from flatbuffers import flexbuffers

    return dict(flexbuffers.Loads(bytes(operator.CustomOptionsAsNumpy())))


class _Convolution(nn.Module):
    """Padded as TensorFlow does: of an odd number of pixels, the end gets one more."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, options: Any, groups: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(weight.copy()))
        self.register_buffer("bias", torch.from_numpy(bias.copy()))
        self.stride, self.valid, self.groups = options.StrideH(), bool(options.Padding()), groups
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not self.valid:
            pad: list[int] = []
            for size, kernel in zip(x.shape[:1:-1], self.weight.shape[:1:-1], strict=True):
                lack = max(0, (-(-size // self.stride) - 1) * self.stride + kernel - size)
                pad += [lack // 2, lack - lack // 2]
            x = F.pad(x, pad)
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return F.prelu(x, slope.to(x))


def _product(x: Tensor, other: Tensor) -> Tensor:
    return x * other.to(x)


def _shaped(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape(len(x), *shape)


def _region(points: Tensor, told: dict[str, Any]) -> Tensor:
    """Where a region lies, turned upright: (B, 4, 4), from its pixels to those of the whole."""
    a, b = (points[:, told[f"{side}_rotation_idx"], :2] for side in ("left", "right"))
    along = F.normalize(b - a, dim=-1)
    axes = torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], -1)], 1)  # B, axis, xy
    upright = points[:, told["subset_idxs"], :2] @ axes.transpose(1, 2)
    low, high = upright.amin(1), upright.amax(1)
    size = points.new_tensor([told["output_width"], told["output_height"]])
    scale = (high - low) * points.new_tensor([told["scale_x"], told["scale_y"]]) / size
    linear = axes.transpose(1, 2) * scale[:, None]
    centre = ((low + high) / 2)[:, None] @ axes
    shift = centre.transpose(1, 2) - linear @ (size / 2)[:, None]
    nothing = torch.zeros_like(linear)  # where the third dimension and its row would be
    return torch.cat([torch.cat([linear, nothing[..., :1], shift], 2), nothing.repeat(1, 1, 2)], 1)


def _looked_at(x: Tensor, where: Tensor, size: int) -> Tensor:
    """A region of the picture (B, C, H, W) at ``size`` x ``size``; nothing outside."""
    at = torch.arange(size, device=x.device) + 0.5
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    pixels = torch.stack([columns, rows], -1).reshape(1, -1, 2)
    there = _moved(pixels.to(where).expand(len(x), -1, -1), where).reshape(len(x), size, size, 2)
    side = there.new_tensor([x.shape[3], x.shape[2]])
    return F.grid_sample(x, (there / side * 2 - 1).to(x.dtype), align_corners=False)


def _moved(points: Tensor, where: Tensor) -> Tensor:
    """Points (B, N, 2) of a region -> of the whole."""
    return points @ where[:, :2, :2].transpose(1, 2) + where[:, None, :2, 3]
