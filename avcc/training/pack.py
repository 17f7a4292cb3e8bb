"""A round's weights into ``weights/``: files, and the manifest that vouches for them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from avcc.entropy.tables import ID_BYTES, dump
from avcc.training.export import acoustic_tensors, later_estimator
from avcc.training.priors import foretelling
from avcc.weights import MANIFEST

LICENCE = "research weights; see docs/model.md, section Licences"
DATA = (
    "clips tier P and W (train split: 51.1 min, 140 people), speech pack (train: 4.22 h, 569"
    " speakers), face stills (1,046); docs/training.md says how much of it each stage saw; none of"
    " it is in this repository"
)
MORE = {
    "faces": "; photographs without faces, of Debian's packages of wallpapers and of scikit-learn"
    " (docs/training.md, round 10)"
}
DIRECTIONS = ("motion.", "shape.")
# Stages whose networks lie in AVDiff's file, where there are any.
BESIDE = "driver", "inbetween", "follower"
STAGES = {
    "codebook": "motion, acoustic, tables, motionprior, acousticprior",
    "speech": "audiomae, acoustic, estimator",
    "avdiff": "avdiff, driver, inbetween, follower",
    "renderer": "renderer",
    "vocoder": "vocoder",
    "faces": "facemesh, finder",
}


def pack(work: Path, weights: Path, note: str = "") -> str:
    """Write what ``work`` holds; returns the model's id.

    What belongs to one codebook carries the model's id in its name, and stays with it when another
    model comes: what was coded once decodes for good. Of an earlier model's networks that listen
    only the estimator is kept, for nothing is encoded with it, unless it has semantic tokens and
    the new one has none (``AVCC_MODEL``). Renderer, vocoder and what finds faces serve all.
    """
    weights.mkdir(parents=True, exist_ok=True)
    model = hashlib.sha256(_of(work, "codebook")).digest()[:ID_BYTES].hex()
    _speech(work)
    names = _names(model)
    before = _manifest(weights)
    whole = not _has_words(load_file(work / "speech.safetensors"))
    models = {
        other: _kept(weights, other, of, whole)
        for other, of in before["models"].items()
        if other != model
    }
    models[model] = names
    for part, name in names.items():
        _write(weights / name, _of(work, part))
    files = {}
    for one, of in models.items():
        for part, name in of.items():
            was = before["files"].get(before["models"].get(one, of).get(part), {})
            said = note if name in names.values() else was.get("note", "")
            files[name] = _entry(weights / name, part, was, said)
    manifest = {"default": model, "models": models, "files": files}
    _write(weights / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    for path in weights.glob("*.safetensors"):
        if path.name not in files:
            path.unlink()
    return model


def _of(work: Path, part: str) -> bytes:
    """A part's file; what several stages make of it in one."""
    match part:
        case "avdiff":
            there = (stage for stage in BESIDE if (work / f"{stage}.safetensors").exists())
            return _joined(work, "avdiff", *there)
        case "codebook":
            return dump(foretelling(work).arrays)
        case "faces":
            return _joined(work, "facemesh", "finder")
    return (work / f"{part}.safetensors").read_bytes()


def _joined(work: Path, first: str, *others: str) -> bytes:
    """What several stages left, in one file; the figures of all but the first carry their names."""
    figures = _figures(work / f"{first}.safetensors")
    tensors = load_file(work / f"{first}.safetensors")
    for stage in others:
        path = work / f"{stage}.safetensors"
        figures |= {f"{stage} {k}": v for k, v in _figures(path).items()}
        tensors |= load_file(path)
    return save(tensors, {"figures": json.dumps(figures)})


def _names(model: str) -> dict[str, str]:
    own = {part: f"{part}-{model}.safetensors" for part in ("codebook", "speech", "avdiff")}
    return own | {part: f"{part}.safetensors" for part in ("renderer", "vocoder", "faces")}


def _has_words(speech: Mapping[str, Tensor]) -> bool:
    """Whether a model has semantic tokens."""
    return any(name.startswith("ear.mae.") for name in speech)


def _kept(weights: Path, model: str, names: dict[str, str], whole: bool) -> dict[str, str]:
    """The files of a model that was packed before, under the names that they keep. ``whole``: with
    all that encodes, if it has semantic tokens."""
    kept = _names(model)
    for part, name in kept.items():
        if name != names.get(part, name):
            _write(weights / name, (weights / names[part]).read_bytes())
    path = weights / kept["speech"]
    speech = load_file(path)
    if not (whole and _has_words(speech)):
        speech = {k: v.clone() for k, v in speech.items() if k.startswith("estimator.")}
        _write(path, save(speech, {"figures": json.dumps(_figures(path))}))
    return kept


def _manifest(weights: Path) -> dict[str, Any]:
    path = weights / MANIFEST
    return json.loads(path.read_text("utf-8")) if path.exists() else {"models": {}, "files": {}}


def _entry(path: Path, part: str, was: dict[str, Any], note: str) -> dict[str, Any]:
    """What the manifest says of a file; what it ``was`` said of one that is what it was."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if was.get("sha256") == digest:
        return was
    return {
        "sha256": digest,
        "bytes": len(data),
        "licence": LICENCE,
        "data": DATA + MORE.get(part, ""),
        "stages": STAGES[part],
        "validation": _figures(path),
        "note": note,
    }


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_bytes(data)
    os.replace(temporary, path)


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
    _apart(work, "avdiff", "avdiff", *BESIDE)
    _apart(work, "faces", "facemesh", "finder")
    told = _figures(work / "speech.safetensors")
    mae: dict[str, Tensor] = {}
    acoustic = {"books": book["acoustic.books"]}
    for name, tensor in load_file(work / "speech.safetensors").items():
        (mae if name.startswith("ear.mae.") else acoustic)[name.removeprefix("ear.")] = tensor
    later = {k: v for k, v in acoustic.items() if k.startswith("estimator.")}
    later["books"] = acoustic["books"]
    parts = [("audiomae", mae)] if mae else []
    parts += [("acoustic", acoustic)]
    parts += [("estimator", later)] if "estimator.comb.combs" in later else []
    for stage, tensors in parts:
        start = f"{stage} "
        kept = {k.removeprefix(start): v for k, v in told.items() if k.startswith(start)}
        save_file(tensors, work / f"{stage}.safetensors", metadata={"figures": json.dumps(kept)})


def _apart(work: Path, part: str, first: str, *others: str) -> None:
    """What ``_joined`` put into one file, a file a stage again."""

    def owner(name: str, mark: str) -> str:
        return next((stage for stage in others if name.startswith(stage + mark)), first)

    path = work / f"{part}.safetensors"
    tensors, told = load_file(path), _figures(path)
    for stage in (first, *others):
        own = {k: v for k, v in tensors.items() if owner(k, ".") == stage}
        kept = {k.removeprefix(f"{stage} "): told[k] for k in told if owner(k, " ") == stage}
        if own:
            save_file(own, work / f"{stage}.safetensors", {"figures": json.dumps(kept)})


def _speech(work: Path) -> None:
    """Everything that listens, and the estimator, in one file."""
    found: dict[str, Tensor] = {}
    figures: dict[str, str] = {}
    mae = work / "audiomae.safetensors"
    tensors = acoustic_tensors(work) | (load_file(mae) if mae.exists() else {})
    for key, tensor in tensors.items():
        if key != "books":  # they are in the codebook
            found[key if key.startswith("estimator.") else f"ear.{key}"] = tensor
    stages = ["audiomae"] if mae.exists() else []
    stages += ["acoustic", "estimator"] if later_estimator(work) else ["acoustic"]
    for name in stages:
        figures |= {f"{name} {k}": v for k, v in _figures(work / f"{name}.safetensors").items()}
    save_file(found, work / "speech.safetensors", metadata={"figures": json.dumps(figures)})


def _figures(path: Path) -> dict[str, str]:
    """The validation figures that a stage left in its file."""
    with safetensors.safe_open(path, "np") as file:
        return json.loads((file.metadata() or {}).get("figures", "{}"))
