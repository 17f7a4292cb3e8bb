"""Training clips as AVDiff learns from them: meshes, voices, their tokens and pitches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from avcc.analysis.mel import LEVEL, LogMel, active_level
from avcc.quantise.codebook import nearest
from avcc.stages import SILENT
from avcc.training.contours import audible, contours
from avcc.training.data import part
from avcc.training.loop import Options
from avcc.training.semantic import features_of, load_mae
from avcc.training.tokens import made_by


@dataclass(frozen=True)
class Talk:
    """One clip: mesh (T, 478, 2) with NaN gaps or None, waveform (640 T,) or None, tokens (T,), and
    the pitch (2 T,) in Hz as it would be sent, or None."""

    mesh: np.ndarray | None
    wave: np.ndarray | None
    tokens: np.ndarray | None
    pitch: np.ndarray | None = None

    def __len__(self) -> int:
        return 0 if self.mesh is None else len(self.mesh)


@torch.no_grad()
def talks(cache: Path, work: Path, split: str, tier: str, device: str = "cpu") -> list[Talk]:
    """Every clip of a split with picture and, if there is one, voice; tokens go to a file."""
    centroids = np.load(work / "centroids.npy")
    saved = work / f"talks_{split}_{tier}.npz"
    known = dict(np.load(saved)) if saved.exists() else {}
    if known.pop("made by", None) != made_by(work):
        known = {}
    mae, mel = load_mae(work, device), LogMel().to(device)
    out = []
    for size in ("hi", "lo"):
        clips = part(cache, f"{size}_{split}", tier)
        for row in clips.index:
            mesh = clips.mesh[row["start"] : row["start"] + row["frames"]]
            if np.isnan(mesh[:, 0, 0]).mean() > 0.3:
                continue
            wave = clips.voice(row)
            level = active_level(wave)
            if not row["sound"] or level < 1e-4:
                out.append(Talk(mesh, None, None))
                continue
            wave = wave * (LEVEL / level)
            if row["file"] not in known:
                features, silent = features_of(wave, mae, mel)
                known[row["file"]] = np.where(silent, SILENT, nearest(features, centroids))
            out.append(Talk(mesh, wave, known[row["file"]]))
    np.savez(saved, **known | {"made by": np.array(made_by(work))})
    return out


def sung(options: Options, split: str, clips: list[Talk]) -> list[Talk]:
    """The same with their pitch, where ``work`` has the network that finds it."""
    if not audible(options.work):
        return clips
    heard_in = [k for k, talk in enumerate(clips) if talk.wave is not None]
    waves = [clips[k].wave for k in heard_in]
    found = contours(options, split, [w for w in waves if w is not None], "talks_pitch")
    pitch = dict(zip(heard_in, found, strict=True))
    return [replace(talk, pitch=pitch.get(k)) for k, talk in enumerate(clips)]
