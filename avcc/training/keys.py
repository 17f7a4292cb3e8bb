"""Decoded key frames of the training clips: the renderer must learn from what it will be given."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from avcc.analysis.identity import coded_picture, shown_picture
from avcc.training.data import Part, part

A_CLIP = 6
A_STILL = 3
HELD = 2  # of a validation clip: the middle one first


def source(cache: Path, split: str, tier: str = "PW") -> Part:
    """The part of the cache that key frames of ``split`` are taken from."""
    return part(cache, "stills" if split == "stills" else f"hi_{split}", tier)


def _one(job: tuple[np.ndarray, int, int]) -> tuple[np.ndarray, int]:
    picture, side, crf = job
    data = coded_picture(picture, side, crf, preset=4)
    return shown_picture(data, side), len(data)


def build(cache: Path, split: str, seed: int = 0, jobs: int = 1) -> None:
    """``cache/keys_<split>``: ``frames.u8`` and ``index.json`` (frame number, bytes, side).

    ``split``: train, val or stills.
    """
    clips = source(cache, split)
    rng = np.random.default_rng(seed)
    work, rows = [], []
    for row in clips.index:
        for i in range({"train": A_CLIP, "stills": A_STILL}.get(split, HELD)):
            at = 0
            if split == "train":
                at = int(rng.integers(5, row["frames"] - 5))
            elif split == "val":
                at = row["frames"] // (2 + 4 * i)
            if np.isnan(clips.mesh[row["start"] + at, 0, 0]):
                continue
            side = int(rng.choice([256, 256, 256, 192, 128])) if split != "val" else 256
            crf = int(rng.integers(28, 60 if side == 256 else 54)) if split != "val" else 46
            work.append((np.array(clips.frames[row["start"] + at]), side, crf))
            rows.append({"frame": row["start"] + at, "side": side, "clip": row["file"], "i": i})
    folder = cache / f"keys_{split}"
    folder.mkdir(exist_ok=True)
    with ProcessPoolExecutor(jobs) as pool, open(folder / "frames.u8", "wb") as out:
        for row, (picture, size) in zip(rows, pool.map(_one, work, chunksize=8), strict=True):
            picture.tofile(out)
            row["bytes"] = size
    (folder / "index.json").write_text(json.dumps(rows))
