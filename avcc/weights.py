"""The models: which there are, where their files lie, and their bytes, checked before use.

``manifest.json`` names each model by the id that streams carry (the start of the SHA-256 of its
codebook file) and gives SHA-256, size, licence, data and figures of each of its files. The
folder is ``AVCC_WEIGHTS`` if that is set, else the one inside the installed package, else the one
beside a checkout. No torch here: ``info`` reads codebooks.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avcc.entropy.tables import Codebook
from avcc.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

FOLDER_VARIABLE = "AVCC_WEIGHTS"
MODEL_VARIABLE = "AVCC_MODEL"
MANIFEST = "manifest.json"
NETWORKS = ("speech", "avdiff", "renderer", "vocoder")  # that decode
PARTS = ("codebook", *NETWORKS, "faces")


def folder() -> Path:
    """Where the weights lie. Raises ``ModelError`` where there is no manifest anywhere."""
    named = os.environ.get(FOLDER_VARIABLE)
    package = Path(__file__).resolve().parent
    places = [Path(named)] if named else [package / "_weights", package.parent / "weights"]
    for place in places:
        if (place / MANIFEST).is_file():
            return place
    raise ModelError(f"no weights: there is no {MANIFEST} in {' or '.join(map(str, places))}")


@lru_cache(maxsize=4)
def _manifest(place: Path) -> dict[str, Any]:
    try:
        told = json.loads((place / MANIFEST).read_text("utf-8"))
        if not all(isinstance(told[key], kind) for key, kind in _KEYS.items()):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the manifest {place / MANIFEST} can't be read") from error
    return told


_KEYS: dict[str, type] = {"default": str, "models": dict, "files": dict}


def default() -> bytes:
    """The id (4 bytes) of the model that encodes: ``AVCC_MODEL`` if that is set, else the one that
    the manifest says. Raises ``ModelError`` where there is no such model."""
    told = _manifest(folder())
    named = os.environ.get(MODEL_VARIABLE) or told["default"]
    if named not in told["models"]:
        raise ModelError(f"there is no model {named}; there are {', '.join(told['models'])}")
    return bytes.fromhex(named)


def models() -> list[bytes]:
    """The ids of all models that the manifest names."""
    return [bytes.fromhex(model) for model in _manifest(folder())["models"]]


def path_of(model: bytes, part: str) -> Path:
    """The file of one part of a model. Raises ``ModelError`` that names what is missing."""
    place = folder()
    files = _manifest(place)["models"].get(model.hex())
    if files is None:
        raise ModelError(f"the stream needs the model {model.hex()}, which isn't in {place}")
    if part not in files:
        raise ModelError(f"the model {model.hex()} in {place} has no part {part}")
    path = place / files[part]
    if not path.is_file():
        raise ModelError(f"the model {model.hex()} needs the file {path}, which isn't there")
    return path


def data_of(model: bytes, part: str) -> bytes:
    """The bytes of one part. Raises ``ModelError`` where they aren't what the manifest says."""
    path = path_of(model, part)
    data = path.read_bytes()
    wanted = _manifest(folder())["files"].get(path.name, {}).get("sha256")
    if hashlib.sha256(data).hexdigest() != wanted:
        raise ModelError(f"{path} is damaged: its SHA-256 isn't the one in {MANIFEST}")
    return data


@lru_cache(maxsize=4)
def _codebook(path: Path) -> Codebook:
    return Codebook.load(path)


def codebook(model: bytes) -> Codebook:
    """The codebook of a model. Raises ``ModelError`` where it is missing or another's."""
    book = _codebook(path_of(model, "codebook"))
    if book.id != model:
        raise ModelError(f"{path_of(model, 'codebook')} is the codebook of {book.id.hex()}")
    return book


def tensors(model: bytes, part: str) -> dict[str, Tensor]:
    """The tensors of one part as float32 on the CPU. Raises ``ModelError``."""
    import safetensors.torch
    from safetensors import SafetensorError

    try:
        found = safetensors.torch.load(data_of(model, part))
    except SafetensorError as error:
        raise ModelError(f"{path_of(model, part)} isn't a safetensors file") from error
    return {k: v.float() if v.is_floating_point() else v for k, v in found.items()}
