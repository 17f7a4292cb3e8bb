"""A round's weights into ``weights/``: files, and the manifest that vouches for them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from avcc.entropy.tables import ID_BYTES
from avcc.weights import MANIFEST

LICENCE = "research weights; see docs/model.md, section Licences"
DATA = (
    "clips tier P and W (train split: 51.1 min, 140 people), speech pack (train: 4.22 h, 569"
    " speakers), face stills (1,046); docs/training.md says how much of it each stage saw; none of"
    " it is in this repository"
)
DIRECTIONS = ("motion.", "shape.")
STAGES = {
    "codebook": "motion, audiomae, acoustic, tables",
    "speech": "audiomae, acoustic",
    "avdiff": "avdiff",
    "renderer": "renderer",
    "vocoder": "vocoder",
}


def pack(work: Path, weights: Path, note: str = "") -> str:
    """Write what ``work`` holds; returns the model's id.

    A codebook's file is named by the model's id and earlier ones stay, so that their streams'
    symbols can be read as long as they are kept; networks that fit no codebook but their own are
    replaced.
    """
    weights.mkdir(parents=True, exist_ok=True)
    book = (work / "codebook.safetensors").read_bytes()
    model = hashlib.sha256(book).digest()[:ID_BYTES].hex()
    sources = {"codebook": work / "codebook.safetensors"}
    sources |= {part: work / f"{part}.safetensors" for part in ("avdiff", "renderer", "vocoder")}
    _speech(work)
    sources["speech"] = work / "speech.safetensors"
    names = {part: source.name for part, source in sources.items()}
    names["codebook"] = f"codebook-{model}.safetensors"
    files: dict[str, Any] = {}
    manifest_before = weights / MANIFEST
    before = (
        json.loads(manifest_before.read_text("utf-8"))["files"] if manifest_before.exists() else {}
    )
    for part, source in sources.items():
        data = source.read_bytes()
        name = names[part]
        temporary = weights / f"{name}.part"
        temporary.write_bytes(data)
        os.replace(temporary, weights / name)
        digest = hashlib.sha256(data).hexdigest()
        if before.get(name, {}).get("sha256") == digest:  # an earlier round's, and its note
            files[name] = before[name]
            continue
        files[name] = {
            "sha256": digest,
            "bytes": len(data),
            "licence": LICENCE,
            "data": DATA,
            "stages": STAGES[part],
            "validation": _figures(source),
            "note": note,
        }
    manifest = {
        "default": model,
        "models": {model: names},
        "files": files,
    }
    temporary = weights / f"{MANIFEST}.part"
    temporary.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    os.replace(temporary, weights / MANIFEST)
    return model


def unpack(weights: Path, work: Path) -> None:
    """The way back: a work folder from which any stage can go on, as if it had been trained there.

    What only training needs (optimisers, discriminators, AudioMAE's guesser) isn't in ``weights``.
    """
    work.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((weights / MANIFEST).read_text("utf-8"))
    names = manifest["models"][manifest["default"]]
    for part, name in names.items():
        (work / f"{part}.safetensors").write_bytes((weights / name).read_bytes())
    book = load_file(work / "codebook.safetensors")
    np.save(work / "centroids.npy", book["semantic.centroids"].float().numpy())
    directions = {k: v.float().numpy() for k, v in book.items() if k.startswith(DIRECTIONS)}
    np.savez(work / "motion.npz", **directions)  # type: ignore[arg-type]
    told = _figures(work / "speech.safetensors")
    mae: dict[str, Tensor] = {}
    acoustic = {"books": book["acoustic.books"]}
    for name, tensor in load_file(work / "speech.safetensors").items():
        (mae if name.startswith("ear.mae.") else acoustic)[name.removeprefix("ear.")] = tensor
    for stage, tensors in (("audiomae", mae), ("acoustic", acoustic)):
        start = f"{stage} "
        kept = {k.removeprefix(start): v for k, v in told.items() if k.startswith(start)}
        save_file(tensors, work / f"{stage}.safetensors", metadata={"figures": json.dumps(kept)})


def _speech(work: Path) -> None:
    """Everything that listens, and the estimator, in one file."""
    found: dict[str, Tensor] = {}
    figures: dict[str, str] = {}
    for name in ("audiomae", "acoustic"):
        tensors = load_file(work / f"{name}.safetensors")
        for key, tensor in tensors.items():
            if key != "books":  # they are in the codebook
                found[key if key.startswith("estimator.") else f"ear.{key}"] = tensor
        figures |= {f"{name} {k}": v for k, v in _figures(work / f"{name}.safetensors").items()}
    save_file(found, work / "speech.safetensors", metadata={"figures": json.dumps(figures)})


def _figures(path: Path) -> dict[str, str]:
    """The validation figures that a stage left in its file."""
    with safetensors.safe_open(path, "np") as file:
        return json.loads((file.metadata() or {}).get("figures", "{}"))
