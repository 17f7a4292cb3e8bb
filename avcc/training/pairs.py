"""What the renderer learns from: key frames as decoded, frames of their clip, motion as sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.quantise.motion import MotionPaths
from avcc.quantise.rate import STRIDES
from avcc.quantise.scalar import SHAPE_STEPS, STEPS, rounded
from avcc.training.data import mapped, part
from avcc.training.keys import source

KEYS = 2  # key frames at most that a picture is drawn from
TARGETS = 4  # frames drawn from them
NEIGHBOURS = 0.3  # of the batches draw frames that follow each other: pictures mustn't flicker
EDGE = 5  # frames at a clip's start and end that aren't drawn


class Pairs:
    """Key frames and targets by number, with their meshes and motion, quantised as sent."""

    def __init__(
        self,
        cache: Path,
        split: str,
        bank: MotionBank,
        shape: ShapeBank,
        paths: MotionPaths,
        tier: str,
    ) -> None:
        self.clips = part(cache, f"hi_{split}", tier)
        self.rows = json.loads((cache / f"keys_{split}" / "index.json").read_text())
        self.bank, self.shape, self.paths = bank, shape, paths
        self.by_clip: list[tuple[dict, list[int]]] = []
        for row in self.clips.index:
            keys = [i for i, k in enumerate(self.rows) if k["clip"] == row["file"]]
            if keys and row["frames"] > 2 * EDGE:
                self.by_clip.append((row, keys))
        length = np.array([r["frames"] for r, _ in self.by_clip]) ** 0.5
        self.chance = length / length.sum()
        ways = shape.directions.reshape(len(shape.directions), -1, 2)
        self.mirror = mirrored_points(shape.mean.reshape(-1, 2), ways)

    def one(
        self, clip: int, keys: list[int], frames: np.ndarray, how: Sent, flip: bool = False
    ) -> dict[str, np.ndarray]:
        """Arrays of some key frames and their targets (clip-relative frame numbers).

        ``key`` numbers decoded key frames, ``true_key`` and ``frames`` number frames of the cache.
        """
        row, _ = self.by_clip[clip]
        first = row["start"]
        mesh = self.clips.mesh[first : first + row["frames"]]
        at = [self.rows[key]["frame"] - first for key in keys]
        if flip:
            mesh = mesh[:, self.mirror] * np.array([-1, 1], np.float32) + np.array(
                [1, 0], np.float32
            )
        vector = rounded(self.shape.vector(mesh[at[0]]), SHAPE_STEPS) * SHAPE_STEPS
        mesh_key = self.shape.mesh(vector.astype(np.float32))
        code = how.received(self.bank.coefficients(mesh, mesh[at[0]]), self.paths)
        # a later key frame's mesh is what the motion says of its frame
        others = self.bank.meshes(code[at[1:]], mesh_key)
        return {
            "key": np.array(keys),
            "size": np.array([self.rows[key]["bytes"] for key in keys]),
            "key_mesh": np.concatenate([mesh_key[None], others]),
            "true_key": first + np.array(at),
            "frames": first + np.asarray(frames),
            "mesh": self.bank.meshes(code[frames], mesh_key),
            "code": code[frames],
            "flip": np.array([flip]),
        }

    def batch(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Random key frames and targets, of one clip each, one clip after the other; every clip of
        as many key frames. Frames whose mesh is missing are never drawn."""
        out: list[dict[str, np.ndarray]] = []
        some = int(rng.integers(1, KEYS + 1))
        while len(out) < count:
            clip = int(rng.choice(len(self.by_clip), p=self.chance))
            row, keys = self.by_clip[clip]
            frames = rng.integers(EDGE, row["frames"] - EDGE, TARGETS)
            if rng.random() < NEIGHBOURS:
                frames[1::2] = frames[::2] + 1
            found = ~np.isnan(self.clips.mesh[row["start"] + frames, 0, 0])
            if not found.all() or len(keys) < some:
                continue
            how = Sent(int(rng.choice(STRIDES)), int(rng.integers(len(STEPS))))
            chosen = [int(k) for k in rng.choice(keys, some, replace=False)]
            out.append(self.one(clip, chosen, frames, how, bool(rng.integers(2))))
        return {name: np.concatenate([one[name] for one in out]) for name in out[0]}


class Stills:
    """Key frames of many people who don't move: for what coding takes from a face."""

    def __init__(self, cache: Path, tier: str) -> None:
        known = {row["start"] for row in source(cache, "stills", tier).index}
        rows = json.loads((cache / "keys_stills" / "index.json").read_text())
        self.rows = [
            (i, row["frame"], row["bytes"]) for i, row in enumerate(rows) if row["frame"] in known
        ]

    def batch(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Numbers of random key frames and of the pictures that they show; none if there are no
        stills."""
        count = min(count, len(self.rows))
        chosen = np.array([self.rows[i] for i in rng.integers(len(self.rows), size=count)], int)
        key, true, size = chosen.reshape(-1, 3).T
        flip = rng.integers(2, size=count).astype(bool)
        return {"key": key, "true_key": true, "size": size, "flip": flip}


class Pictures:
    """The pixels of ``Pairs`` and ``Stills``: read from disk when wanted, or held on a GPU."""

    def __init__(self, cache: Path, split: str, device: str) -> None:
        self.device = device
        keys = mapped(cache / f"keys_{split}" / "frames.u8", np.uint8)
        self.keys = self._held(keys.reshape(-1, 256, 256, 3))
        self.frames = self._held(source(cache, split).frames)

    def _held(self, frames: np.ndarray) -> np.ndarray | Tensor:
        if not self.device.startswith("cuda"):
            return frames
        out = torch.empty(frames.shape, dtype=torch.uint8, device=self.device)
        for a in range(0, len(frames), 1024):
            out[a : a + 1024] = torch.from_numpy(np.array(frames[a : a + 1024]))
        return out

    def shown(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch on the device, pixels for numbers."""
        out = {name: x.to(self.device) for name, x in batch.items()}
        for name, frames in (
            ("key", self.keys),
            ("true_key", self.frames),
            ("frames", self.frames),
        ):
            if name not in batch:
                continue
            flip = out["flip"].repeat_interleave(len(batch[name]) // len(batch["flip"]))
            if isinstance(frames, np.ndarray):
                x = torch.from_numpy(frames[batch[name].numpy()]).to(self.device)
            else:
                x = frames[out[name]]
            x = torch.where(flip[:, None, None, None], x.flip(2), x)
            x = x.permute(0, 3, 1, 2).float() / 127.5 - 1
            out[name] = x.contiguous(memory_format=torch.channels_last)
        return out


@dataclass(frozen=True)
class Sent:
    """How motion is sent: every so many frames, in which of ``STEPS``."""

    stride: int
    step: int

    def received(self, code: np.ndarray, paths: MotionPaths) -> np.ndarray:
        """Codes (T, K), NaN where there is no face -> what the decoder's estimate makes of them."""
        frames = np.arange(len(code))
        seen = np.flatnonzero(~np.isnan(code[:, 0]))
        code = np.stack([np.interp(frames, seen, column[seen]) for column in code.T], 1)
        sent = paths.received(code, self.stride, self.step)
        at = np.flatnonzero(~np.isnan(sent[:, 0]))
        full = [np.interp(frames, at, column) for column in sent[at].T]
        return np.stack(full, 1).astype(np.float32)


def mirrored_points(mesh: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Which point of a mean mesh (478, 2) each point becomes in a mirror, int64 (478,).

    ``moves``: (n, 478, 2), how faces differ from the mean, each way even or odd in the mirror; lips
    have points that nearly meet, and differ in how far they move alone.
    """
    far = np.abs(moves).transpose(1, 0, 2).reshape(len(mesh), -1)
    there = np.concatenate([mesh * np.array([-1, 1], np.float32), far], 1)
    here = np.concatenate([mesh, far], 1)
    away = np.linalg.norm(there[:, None] - here[None], axis=-1)
    return linear_sum_assignment(away + away.T)[1]
