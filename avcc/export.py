"""Renderer and vocoder as ONNX files, each compared with PyTorch by ONNX Runtime as it is written.

What ONNX has no operators for stays outside of the graphs: the thin-plate spline's system of
equations (``render.warp.mesh_flow`` gives what ``spline`` wants) and the vocoder's inverse STFT
(``render.voice.filtered`` takes what the vocoder gives). docs/onnx.md has the shapes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from avcc import weights
from avcc.errors import AvccError
from avcc.layers import loaded
from avcc.media.safe import temporary
from avcc.mesh import POINTS
from avcc.render.face import KeyFeatures, Renderer
from avcc.render.voice import Vocoder
from avcc.render.warp import grid
from avcc.stages import BANDS, MOTION, SIDE

OPSET = 20
TOLERANCE = 5e-4  # largest difference from PyTorch, of pictures in -1..1 and of log magnitudes


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how far its graph is off PyTorch at most."""

    path: Path
    size: int
    off: float

    def __str__(self) -> str:
        return f"{self.path}: {self.size / 1e6:.1f} MB, at most {self.off:.1e} off PyTorch"


class _Key(nn.Module):
    """Once a key frame: (1, 3, 256, 256) in -1..1 and its bytes (1,) -> what drawing wants."""

    def __init__(self, renderer: Renderer) -> None:
        super().__init__()
        self.renderer = renderer

    def forward(self, decoded: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        key = self.renderer.key(decoded, decoded, size)  # its mesh is passed on only
        return key.picture, key.large, key.middle, key.small


class _DrawOne(nn.Module):
    """B pictures from one key frame."""

    def __init__(self, renderer: Renderer) -> None:
        super().__init__()
        self.renderer = renderer

    def forward(
        self, mesh: Tensor, motion: Tensor, spline: Tensor, key_mesh: Tensor,
        picture: Tensor, large: Tensor, middle: Tensor, small: Tensor,
    ) -> Tensor:  # fmt: skip
        key = KeyFeatures(picture, key_mesh, large, middle, small).expand(mesh.shape[0])
        return self.renderer.along([spline], [key], mesh, motion)


class _DrawTwo(nn.Module):
    """B pictures from two key frames; ``prior`` (2, B): logarithms of their shares."""

    def __init__(self, renderer: Renderer) -> None:
        super().__init__()
        self.renderer = renderer

    def forward(
        self, mesh: Tensor, motion: Tensor, prior: Tensor, spline_1: Tensor, spline_2: Tensor,
        key_mesh_1: Tensor, picture_1: Tensor, large_1: Tensor, middle_1: Tensor, small_1: Tensor,
        key_mesh_2: Tensor, picture_2: Tensor, large_2: Tensor, middle_2: Tensor, small_2: Tensor,
    ) -> Tensor:  # fmt: skip
        one = KeyFeatures(picture_1, key_mesh_1, large_1, middle_1, small_1)
        two = KeyFeatures(picture_2, key_mesh_2, large_2, middle_2, small_2)
        keys = [key.expand(mesh.shape[0]) for key in (one, two)]
        return self.renderer.along([spline_1, spline_2], keys, mesh, motion, prior)


class _Filters(nn.Module):
    """Mel (1, T, 80) -> the vocoder's filters, (1, 321, 2 T) each, and log probabilities of the
    pitch (1, T, 96)."""

    def __init__(self, vocoder: Vocoder) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, mel: Tensor) -> tuple[Tensor, ...]:
        return *self.vocoder.filters(mel), self.vocoder.pitch(mel)


@dataclass(frozen=True)
class _Graph:
    """``axis``: of which inputs which axis may be of any size; ``inputs``: of that size."""

    name: str
    net: nn.Module
    inputs: Callable[[int], dict[str, Tensor]]
    outputs: tuple[str, ...]
    axes: dict[str, int]


def export(folder: Path, overwrite: bool = False) -> Iterator[Exported]:
    """Write the graphs of the model that encodes into ``folder``, and check each.

    Raises ``AvccError`` where the packages aren't there, a file is, or a graph is further off
    PyTorch than ``TOLERANCE``; that graph isn't written.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise AvccError(f"{error.name} isn't installed here: pip install 'avcc[onnx]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    for graph in _graphs():
        target = folder / f"{graph.name}.onnx"
        with temporary(target, overwrite=overwrite) as work:
            _write(graph, work)
            session = onnxruntime.InferenceSession(work, providers=["CPUExecutionProvider"])
            off = max(_difference(graph, session, count) for count in (1, 3))
            if not off <= TOLERANCE:
                raise AvccError(f"{target} isn't written: its graph is {off:.1e} off PyTorch")
            size = work.stat().st_size
        yield Exported(target, size, off)


def _graphs() -> Iterator[_Graph]:
    model = weights.default()
    renderer = loaded(Renderer(), weights.tensors(model, "renderer"), "renderer.", "cpu")
    vocoder = loaded(Vocoder(), weights.tensors(model, "vocoder"), "vocoder.", "cpu")
    made = ("picture", "large", "middle", "small")
    yield _Graph("renderer-key", _Key(renderer), _coded, made, {})
    moving = {"mesh": 0, "motion": 0, "spline": 0}
    yield _Graph("renderer-draw", _DrawOne(renderer), partial(_drawing, renderer, 1),
                 ("drawn",), moving)  # fmt: skip
    moving = {"mesh": 0, "motion": 0, "prior": 1, "spline_1": 0, "spline_2": 0}
    yield _Graph("renderer-draw-two", _DrawTwo(renderer), partial(_drawing, renderer, 2),
                 ("drawn",), moving)  # fmt: skip
    filters = ("pulses", "noise", "phase", "pitch")
    yield _Graph("vocoder", _Filters(vocoder), _mel, filters, {"mel": 1})


def _write(graph: _Graph, path: Path) -> None:
    inputs = graph.inputs(2)
    free = Dim("count", min=1, max=100_000)
    shapes = tuple({graph.axes[name]: free} if name in graph.axes else None for name in inputs)
    # It tells at length which other packages aren't there.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.net, tuple(inputs.values()), path, dynamo=True, verbose=False,
            opset_version=OPSET, dynamic_shapes=shapes, external_data=False,
            input_names=list(inputs), output_names=list(graph.outputs),
        )  # fmt: skip


@torch.inference_mode()
def _difference(graph: _Graph, session: Any, count: int) -> float:
    """The largest between PyTorch and the graph, over all outputs."""
    inputs = graph.inputs(count)
    wanted = graph.net(*inputs.values())
    found = session.run(list(graph.outputs), {k: v.numpy() for k, v in inputs.items()})
    pairs = zip(wanted if isinstance(wanted, tuple) else (wanted,), found, strict=True)
    return max(float(np.abs(a.numpy() - b).max()) for a, b in pairs)


def _picture(seed: int) -> Tensor:
    """float32 (1, 3, 256, 256): soft waves, as a key frame that was decoded."""
    phase = torch.arange(3)[:, None, None] + seed
    place = torch.linspace(0, 9, SIDE)
    return (0.8 * torch.sin(place[:, None] + phase) * torch.cos(2 * place + phase))[None]


def _coded(seed: int) -> dict[str, Tensor]:
    return {"decoded": _picture(seed), "size": torch.tensor([300.0 + 400 * seed])}


@torch.inference_mode()
def _drawing(renderer: Renderer, keys: int, count: int) -> dict[str, Tensor]:
    """What ``count`` pictures are drawn from: meshes near those of the key frames."""
    make = torch.Generator().manual_seed(count)
    still = 0.3 + 0.4 * torch.rand(1, POINTS, 2, generator=make)
    mesh = still + 0.01 * torch.randn(count, POINTS, 2, generator=make)
    out = {"mesh": mesh, "motion": torch.randn(count, MOTION, generator=make)}
    if keys == 2:
        out["prior"] = torch.rand(2, count, generator=make).log()
    ends = [""] if keys == 1 else ["_1", "_2"]
    for end in ends:
        out[f"spline{end}"] = grid(64) + 0.02 * torch.randn(count, 64, 64, 2, generator=make)
    for number, end in enumerate(ends):
        out[f"key_mesh{end}"] = still + 0.01 * number
        coded = _coded(number)
        key = renderer.key(coded["decoded"], still, coded["size"])
        for name in ("picture", "large", "middle", "small"):
            out[f"{name}{end}"] = getattr(key, name)
    return out


def _mel(count: int) -> dict[str, Tensor]:
    make = torch.Generator().manual_seed(count)
    return {"mel": torch.randn(1, 20 * count, BANDS, generator=make)}
