"""Weight files: safetensors, float16 where that loses nothing that matters, written atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def save_weights(path: Path, tensors: dict[str, Tensor], figures: dict[str, float]) -> None:
    """Write ``tensors`` with the validation figures in the header; floats become float16."""
    half = {
        k: (v.detach().half() if v.is_floating_point() else v.detach()).cpu().contiguous()
        for k, v in tensors.items()
    }
    temporary = path.with_suffix(".part")
    note = {k: f"{v:.6g}" for k, v in figures.items()}
    save_file(half, temporary, metadata={"figures": json.dumps(note)})
    os.replace(temporary, path)


def acoustic_tensors(work: Path) -> dict[str, Tensor]:
    """What the stage acoustic left, with the estimator that was trained after it, if there is."""
    return load_file(work / "acoustic.safetensors") | later_estimator(work)


def later_estimator(work: Path) -> dict[str, Tensor]:
    """What the stage estimator left; nothing if that was for other codebooks than those of the
    stage acoustic."""
    path = work / "estimator.safetensors"
    found = load_file(path) if path.exists() else {}
    books = load_file(work / "acoustic.safetensors")["books"]
    return found if "books" in found and torch.equal(found["books"], books) else {}


def restore(net: torch.nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    """Load the tensors whose names start with ``prefix.`` into ``net``, exactly."""
    start = prefix + "."
    own = {k.removeprefix(start): v.float() for k, v in tensors.items() if k.startswith(start)}
    net.load_state_dict(own)


def grown(net: torch.nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    """Start ``net`` from a smaller one's tensors, whose names start with ``prefix.``.

    A parameter that is larger now takes the old one as its first corner and zeros elsewhere; one
    that is new stays as it is.
    """
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            old = tensors.get(f"{prefix}.{name}")
            if old is None:
                continue
            parameter.zero_()
            parameter[tuple(slice(n) for n in old.shape)] = old.to(parameter.dtype)
